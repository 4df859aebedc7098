//! Which tier answers on real access traces, spread over three nodes.

use std::collections::HashMap;

use freshet::cli::demo::sales::Sales;
use futures_util::{StreamExt as _, TryStreamExt as _, future::try_join_all, stream};
use sqlx::{AssertSqlSafe, PgConnection};
use tokio::sync::Mutex;

use super::{
    counters::over,
    node::Node,
    service::{DEFAULT, Service, Tier, connect, get},
    trace::Trace,
};

/// Room in each node's L1, as shares of a trace's keys.
const SHARES: [(&str, f64); 2] = [("1 %", 0.01), ("5 %", 0.05)];
/// Gets at once on each node.
const IN_FLIGHT: usize = 8;
/// Of the shop's sales: more take longer, and show no more.
const SALES: usize = 100_000;
/// In the shop, one record is changed for so many reads.
const READS_A_CHANGE: usize = 10;
/// Accesses of a trace in the short form.
const SAMPLE: usize = 20_000;

/// The tiers, as counters and the table call them.
pub const TIERS: [(&str, &str); 4] =
    [("local", "L1"), ("filter", "filter"), ("shared", "Redis"), ("store", "database")];

/// What is replayed.
struct Course {
    name: &'static str,
    trace: Trace,
    /// A record is changed with every so many reads.
    reads_a_change: Option<usize>,
}

/// What a replay came to.
pub struct Replayed {
    pub trace: &'static str,
    pub accesses: usize,
    pub distinct: usize,
    pub room: &'static str,
    pub tier: Tier,
    /// The share of each of [`TIERS`], in percent.
    pub shares: [f64; 4],
}

/// Replays all traces with both rooms, with Redis and without.
pub async fn run(service: &Service) -> Result<Vec<Replayed>, String> {
    let weight = weight(service).await?;
    let mut replayed = Vec::new();
    for course in courses(service)? {
        let (accesses, distinct) = (course.trace.accesses.len(), course.trace.distinct);
        for (room, share) in SHARES {
            for tier in [Tier::None, Tier::Shared] {
                let capacity = (share * distinct as f64 * weight) as u64;
                let shares = replay(service, &course, tier, &format!("{capacity} B")).await?;
                replayed.push(Replayed { trace: course.name, accesses, distinct, room, tier, shares });
            }
        }
    }
    Ok(replayed)
}

fn courses(service: &Service) -> Result<Vec<Course>, String> {
    let mut courses = Vec::new();
    for name in ["web07", "web12"] {
        let trace = Trace::shipped(name).map_err(|error| format!("read the trace {name}: {error}"))?;
        courses.push(Course { name, trace, reads_a_change: None });
    }
    courses.push(Course { name: "the shop's sales", trace: sales()?, reads_a_change: Some(READS_A_CHANGE) });
    if service.is_quick() {
        for course in &mut courses {
            course.trace = Trace::new(course.trace.accesses.iter().copied().take(SAMPLE));
        }
    }
    Ok(courses)
}

/// The products in the order in which a shop sold them.
fn sales() -> Result<Trace, String> {
    let mut numbers = HashMap::new();
    let mut keys = Vec::new();
    for sale in Sales::embedded().map_err(|error| error.to_string())?.take(SALES) {
        let next = numbers.len() as u32;
        keys.push(*numbers.entry(sale.map_err(|error| error.to_string())?.sku).or_insert(next));
    }
    Ok(Trace::new(keys))
}

/// What a record counts for in L1.
async fn weight(service: &Service) -> Result<f64, String> {
    let node = service.node(Tier::None, DEFAULT).await?;
    let client = connect(&node).await?;
    for key in 0..1_000 {
        get(&client, &format!("K{key:05}")).await?;
    }
    loop {
        // They are counted in the background.
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let counters = node.counters().await?;
        let [entries, bytes] =
            ["freshet_tiers_local_entries", "freshet_tiers_local_bytes"].map(|name| counters.sum(name) as f64);
        if entries >= 900.0 {
            return Ok(bytes / entries);
        }
    }
}

/// The share of each tier in a replay that begins with empty caches.
async fn replay(service: &Service, course: &Course, tier: Tier, cache: &str) -> Result<[f64; 4], String> {
    service.redis.flush()?;
    let nodes = service.nodes(tier, cache).await?;
    let before = answers(&nodes).await?;
    let writer = Mutex::new(service.database.session().await?);
    let replays = nodes.iter().enumerate().map(|(at, node)| replay_on(node, (at, nodes.len()), course, &writer));
    try_join_all(replays).await?;
    let mut answers = answers(&nodes).await?;
    answers.iter_mut().zip(before).for_each(|(after, before)| *after -= before);
    let all: u64 = answers.iter().sum();
    if all != course.trace.accesses.len() as u64 {
        return Err(format!("{} accesses, of which the tiers have counted {all}", course.trace.accesses.len()));
    }
    Ok(answers.map(|answered| 100.0 * answered as f64 / all as f64))
}

/// Each `of`th access, from the one at `first` on.
async fn replay_on(
    node: &Node,
    (first, of): (usize, usize),
    course: &Course,
    writer: &Mutex<PgConnection>,
) -> Result<(), String> {
    let client = &connect(node).await?;
    let own = course.trace.accesses.iter().enumerate().skip(first).step_by(of);
    let accesses = stream::iter(own).map(|(now, number)| async move {
        let key = format!("K{number:05}");
        get(client, &key).await?;
        match course.reads_a_change {
            Some(every) if now.is_multiple_of(every) => sell(&mut *writer.lock().await, &key).await,
            _ => Ok(()),
        }
    });
    accesses.buffer_unordered(IN_FLIGHT).try_for_each(async |()| Ok(())).await
}

/// Another program changes the record.
async fn sell(session: &mut PgConnection, key: &str) -> Result<(), String> {
    let update = format!("UPDATE products SET stock = stock - 1 WHERE sku = '{key}'");
    let updated = sqlx::raw_sql(AssertSqlSafe(update)).execute(session).await.map_err(|error| error.to_string())?;
    if updated.rows_affected() == 1 { Ok(()) } else { Err(format!("{key} is not there to be sold")) }
}

/// Answers of each tier, of all nodes.
async fn answers(nodes: &[Node]) -> Result<[u64; 4], String> {
    let mut answers = [0; 4];
    for ((source, _), answers) in TIERS.iter().zip(&mut answers) {
        *answers = over(nodes, |counters| counters.labelled("freshet_tiers_answers_total", "source", source)).await?;
    }
    Ok(answers)
}
