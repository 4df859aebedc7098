//! Redis stands still while clients read.

use std::time::{Duration, Instant};

use tokio::{
    task::{JoinSet, spawn_blocking},
    time::{MissedTickBehavior, interval, sleep},
};

use super::{
    client::{Report, bench},
    figure::{Figure, Goal, Samples},
    node::Node,
    pace::Pace,
    service::{NODES, Service, Tier, connect, get},
};

/// L1 has room for the records that are read from it, and for few of the others.
const CACHE: &str = "4 MiB";
/// Records in L1, and the gets of them a second.
const CACHED: &str = "500";
const RATE: &str = "2000";
/// Records of which L1 has few.
const OTHERS: u32 = 20_000;
/// Between gets of these, on each node.
const PAUSE: Duration = Duration::from_millis(4);
/// Between looks at the database's sessions.
const LOOK: Duration = Duration::from_millis(15);
/// After the load has begun, its warm-up behind it.
const FREEZE: Duration = Duration::from_millis(1_500);
/// `read_connections`, the default.
const STATEMENTS_MAX: f64 = 9.0;

/// Cached reads and the database's load before and during the outage.
pub async fn run(service: &Service) -> Result<Vec<Figure>, String> {
    let seconds = service.in_full(30.0, 6.0);
    service.redis.flush()?;
    let nodes = service.nodes(Tier::Shared, CACHE).await?;
    warm_up(service, &nodes)?;
    let mut before = Measured::default();
    let mut during = Measured::default();
    for _ in 0..service.in_full(3, 1) {
        before.add(window(service, &nodes, seconds, false).await?);
        during.add(window(service, &nodes, seconds, true).await?);
        for node in &nodes {
            service.wait_for_redis(node).await?;
        }
    }
    Ok(figures(before, during, seconds))
}

/// What windows came to.
#[derive(Default)]
struct Measured {
    cached_p99_ms: Samples,
    other_p99_ms: Samples,
    statements: Samples,
    usage: String,
}

struct Window {
    cached: Report,
    /// Times of the other gets, in milliseconds.
    others: Vec<f64>,
    statements: u64,
}

impl Measured {
    fn add(&mut self, window: Window) {
        let Window { cached, mut others, statements } = window;
        others.sort_by(f64::total_cmp);
        self.cached_p99_ms.0.push(cached.number("/latency/p99_us") / 1e3);
        self.other_p99_ms.0.push(others[others.len() * 99 / 100]);
        self.statements.0.push(statements as f64);
        self.usage = cached.usage();
    }
}

fn figures(before: Measured, during: Measured, seconds: f64) -> Vec<Figure> {
    let figure = |id, title, unit, freshet, before, goal| Figure {
        id,
        title,
        unit,
        freshet,
        yardstick: Some(("before".into(), before)),
        goal,
        costs_us: None,
        usage: during.usage.clone(),
    };
    let outage = format!("Redis stopped for {seconds:.0} s");
    let limit = STATEMENTS_MAX * NODES as f64;
    vec![
        figure(
            "outage-cached",
            format!("{outage}: {RATE} gets/s of records in L1, p99"),
            "ms",
            during.cached_p99_ms,
            before.cached_p99_ms,
            Goal::RatioAtMost(1.2, 1.2),
        ),
        figure(
            "outage-statements",
            format!("{outage}: read statements in the database at once, of three nodes, the most seen"),
            "statements",
            during.statements,
            before.statements,
            Goal::AtMost(limit, limit),
        ),
        figure(
            "outage-others",
            format!("{outage}: {} gets/s on each node of records that L1 has not, p99", 1_000 / PAUSE.as_millis()),
            "ms",
            during.other_p99_ms,
            before.other_p99_ms,
            Goal::None,
        ),
    ]
}

/// Fills Redis, and L1 with the records that are to be in it.
fn warm_up(service: &Service, nodes: &[Node]) -> Result<(), String> {
    let others = OTHERS.to_string();
    // A few may have come too late for their slots, and are in L1.
    while service.redis.len()? < u64::from(OTHERS) * 9 / 10 {
        bench(&nodes[1].url(), &["get", "--in-flight", "16", "--keys", &others], &[], &Pace::QUICK)?;
    }
    bench(&nodes[0].url(), &["get", "--in-flight", "16", "--keys", CACHED], &[], &Pace::QUICK).map(drop)
}

/// One window of all loads.
async fn window(service: &Service, nodes: &[Node], seconds: f64, is_frozen: bool) -> Result<Window, String> {
    let (url, pids) = (nodes[0].url(), [nodes[0].pid(), service.database.pid()]);
    let pace = Pace { rounds: 1, seconds, warm_up_seconds: 1.0 };
    let cached = spawn_blocking(move || {
        bench(&url, &["get", "--in-flight", "16", "--keys", CACHED, "--rate", RATE], &pids, &pace)
    });
    let until = Instant::now() + FREEZE + Duration::from_secs_f64(seconds);
    let mut others = JoinSet::new();
    for node in nodes {
        others.spawn(gets(connect(node).await?, until));
    }
    sleep(FREEZE).await;
    let frozen = if is_frozen { Some(service.redis.freeze()?) } else { None };
    let statements = most_statements(service, until).await?;
    let cached = cached.await.map_err(|error| error.to_string())??;
    let times: Result<Vec<Vec<f64>>, String> = others.join_all().await.into_iter().collect();
    drop(frozen);
    Ok(Window { cached, others: times?.concat(), statements })
}

/// Gets of records at their moments, one at a time; their times in milliseconds.
async fn gets(client: freshet::client::Client, until: Instant) -> Result<Vec<f64>, String> {
    let mut ticks = interval(PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut times = Vec::new();
    while Instant::now() < until {
        let due = ticks.tick().await;
        get(&client, &format!("K{:05}", rand::random_range(0..OTHERS))).await?;
        times.push(due.elapsed().as_secs_f64() * 1e3);
    }
    client.close().await;
    Ok(times)
}

/// The most statements of the nodes' reads that the database had at once, of all looks.
async fn most_statements(service: &Service, until: Instant) -> Result<u64, String> {
    let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'freshet reads' AND state = 'active'";
    let (mut session, mut most) = (service.database.session().await?, 0);
    while Instant::now() < until {
        let now: i64 = sqlx::query_scalar(count).fetch_one(&mut session).await.map_err(|error| error.to_string())?;
        most = most.max(now.unsigned_abs());
        sleep(LOOK).await;
    }
    Ok(most)
}
