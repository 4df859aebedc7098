//! How often nodes ask a database what has changed, with what keepers tell them in Redis and without.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use freshet::client::{Client, Subscription};
use sqlx::AssertSqlSafe;
use tokio::time::{interval, sleep};

use super::{
    node::Node,
    service::{DEFAULT, NODES, Service, Tier, connect},
};

/// Between changes, where some come.
const CHANGE: Duration = Duration::from_millis(5);
/// Nodes settle into their pace.
const SETTLE: Duration = Duration::from_secs(3);
/// Between looks at followers' sessions.
const LOOK: Duration = Duration::from_millis(10);

/// What nodes do meanwhile.
#[derive(Clone, Copy)]
pub struct Use {
    pub name: &'static str,
    is_watched: bool,
    is_changed: bool,
}

pub const USES: [Use; 3] = [
    Use { name: "idle", is_watched: false, is_changed: false },
    Use { name: "a record is watched, nothing changes", is_watched: true, is_changed: false },
    Use { name: "a record is watched, 200 others a second change", is_watched: true, is_changed: true },
];

/// Polls a second of one database.
pub struct Polls {
    pub what: Use,
    pub tier: Tier,
    /// Of all of the service's nodes.
    pub all: f64,
    /// Of one node's follower.
    pub of_a_node: f64,
}

impl Polls {
    /// The rest, of which a database has one: the keeper's.
    pub fn of_the_keeper(&self) -> f64 {
        (self.all - self.of_a_node * NODES as f64).max(0.0)
    }

    /// With so many nodes.
    pub fn with(&self, nodes: usize) -> f64 {
        self.of_the_keeper() + nodes as f64 * self.of_a_node
    }
}

/// All uses, with Redis and without.
pub async fn run(service: &Service) -> Result<Vec<Polls>, String> {
    let mut polls = Vec::new();
    for tier in [Tier::None, Tier::Shared] {
        let nodes = service.nodes(tier, DEFAULT).await?;
        for what in USES {
            polls.push(measure(service, &nodes, what, tier).await?);
        }
    }
    Ok(polls)
}

async fn measure(service: &Service, nodes: &[Node], what: Use, tier: Tier) -> Result<Polls, String> {
    let mut watchers = Vec::new();
    for node in nodes.iter().filter(|_| what.is_watched) {
        watchers.push(watch(node).await?);
    }
    let changes = async { if what.is_changed { change(service).await } else { std::future::pending().await } };
    let seconds = service.in_full(15.0, 5.0);
    let rates = async {
        sleep(SETTLE).await;
        let (before, begun) = (polls(service).await?, Instant::now());
        let followers = polls_of_followers(service, begun + Duration::from_secs_f64(seconds)).await?;
        let all = (polls(service).await? - before) as f64 / begun.elapsed().as_secs_f64();
        let of_a_node = match tier {
            Tier::None => all,
            Tier::Shared => followers as f64 / seconds,
        } / NODES as f64;
        Ok(Polls { what, tier, all, of_a_node })
    };
    tokio::select! {
        rates = rates => rates,
        Err(error) = changes => Err(error),
    }
}

/// Polls so far: each adds up the shards' generations once, and nothing else looks into them while no record is read.
async fn polls(service: &Service) -> Result<u64, String> {
    let scans =
        "SELECT (seq_scan + idx_scan)::bigint FROM pg_stat_user_tables WHERE relid = 'feed.shard_state'::regclass";
    service.database.number(scans).await
}

/// Polls of the nodes' followers until then, by the moments at which their sessions began a statement. Those that follow each
/// other faster than looks do are missed; with Redis, a follower's are a second apart.
async fn polls_of_followers(service: &Service, until: Instant) -> Result<usize, String> {
    let looks = "SELECT pid, query_start::text FROM pg_stat_activity WHERE application_name = 'freshet tail'";
    let (mut session, mut begun) = (service.database.session().await?, HashSet::new());
    let mut at_first = None;
    while Instant::now() < until {
        let sessions: Vec<(i32, Option<String>)> =
            sqlx::query_as(looks).fetch_all(&mut session).await.map_err(|error| error.to_string())?;
        begun.extend(sessions);
        at_first.get_or_insert(begun.len());
        sleep(LOOK).await;
    }
    Ok(begun.len() - at_first.unwrap_or_default())
}

async fn watch(node: &Node) -> Result<(Client, Subscription), String> {
    let client = connect(node).await?;
    let subscription = client.subscribe("products", &["K00000"], []).await.map_err(|error| error.to_string())?;
    Ok((client, subscription))
}

/// Changes records that no node has in its cache, until it is dropped.
async fn change(service: &Service) -> Result<(), String> {
    let (mut session, mut ticks) = (service.database.session().await?, interval(CHANGE));
    for n in (1_000..super::database::ROWS).cycle() {
        ticks.tick().await;
        let update = format!("UPDATE products SET stock = stock - 1 WHERE sku = 'K{n:05}'");
        sqlx::raw_sql(AssertSqlSafe(update)).execute(&mut session).await.map_err(|error| error.to_string())?;
    }
    Err("there are always more records to change".into())
}
