//! A rolling restart under load: what the database notices of it.

use std::time::{Duration, Instant};

use freshet_client::{Client, Options};
use rand::Rng as _;
use tokio::time::{interval, sleep};
use tokio_util::task::AbortOnDropHandle;

use crate::harness::{Redis, TestDatabase, ThreeNodes, database, until};

/// Records that are read. Each node's L1 has room for all of them.
const HOT: i64 = 3_000;
const READERS: usize = 2;
/// Records changed each second, so that there are reads of the database when all is well, too.
const CHANGES: u64 = 100;
/// How long the database is looked at, at least.
const WINDOW: Duration = Duration::from_secs(6);

/// One of the records, the first ones far more often than the last ones.
fn key() -> String {
    format!("k{}", (HOT as f64 * rand::rng().random::<f64>().powi(3)) as u64)
}

/// What PostgreSQL has counted of the tables of products.
#[derive(Clone, Copy)]
struct Counts {
    /// Index scans, but those by which records are changed.
    reads: i64,
    changes: i64,
}

async fn count(database: &TestDatabase) -> Counts {
    let sums = "SELECT coalesce(sum(idx_scan - n_tup_upd), 0)::bigint, coalesce(sum(n_tup_upd), 0)::bigint
                  FROM pg_stat_user_tables WHERE relname LIKE 'products%'";
    let (reads, changes) = sqlx::query_as(sums).fetch_one(database.pool()).await.expect("sums");
    Counts { reads, changes }
}

impl Counts {
    fn since(self, before: Self) -> Self {
        Counts { reads: self.reads - before.reads, changes: self.changes - before.changes }
    }

    /// Reads for each change. Changes are made at one rate, so it tells of reads a second, and not of a busy machine.
    fn rate(self) -> f64 {
        self.reads as f64 / self.changes as f64
    }
}

/// Clients that read through the balancer, and a program that changes records, until this is dropped.
async fn load(nodes: &ThreeNodes, database: &TestDatabase) -> Vec<AbortOnDropHandle<()>> {
    let mut load = Vec::new();
    for _ in 0..READERS {
        let client = nodes.client().await;
        load.push(tokio::spawn(async move {
            let mut ticks = interval(Duration::from_millis(20));
            loop {
                ticks.tick().await;
                let keys: Vec<_> = (0..20).map(|_| key()).collect();
                client.get_many("products", &keys).await.expect("answered by one node or another");
            }
        }));
    }
    let pool = database.pool().clone();
    load.push(tokio::spawn(async move {
        let mut ticks = interval(Duration::from_secs(1) / CHANGES as u32);
        loop {
            ticks.tick().await;
            let update = sqlx::query("UPDATE products SET price = price + 1 WHERE sku = $1").bind(key());
            update.execute(&pool).await.expect("update");
        }
    }));
    load.into_iter().map(AbortOnDropHandle::new).collect()
}

/// Reads every record through each node itself.
async fn read_all(nodes: &ThreeNodes) {
    for node in &nodes.nodes.all {
        let url = format!("ws://{}/v1/ws", node.public);
        let client = Client::connect(&url, Options::new()).await.expect("connect");
        let keys: Vec<_> = (0..HOT).map(|n| format!("k{n}")).collect();
        for keys in keys.chunks(50) {
            client.get_many("products", keys).await.expect("read");
        }
        client.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_under_load_costs_the_database_little_because_redis_is_warm() {
    let (database, redis) = (database().await, Redis::start().await);
    let last = HOT - 1;
    let fill =
        format!("INSERT INTO products (sku, name, price) SELECT 'k' || n, 'x', n FROM generate_series(0, {last}) n");
    database.run(&fill).await;
    let mut nodes = ThreeNodes::start(&["serve"], &database, Some(&redis.url())).await;
    read_all(&nodes).await;
    until("the first reads are counted", async || count(&database).await.reads >= HOT).await;
    let load = load(&nodes, &database).await;
    // Until what the load itself does is counted, and no more.
    sleep(WINDOW / 2).await;

    let before = count(&database).await;
    sleep(WINDOW).await;
    let (begun, at) = (count(&database).await, Instant::now());
    nodes.nodes.restart_in_turn(|_| {}).await.expect("restart");
    // Each of them has all records in L1 again.
    read_all(&nodes).await;
    sleep(WINDOW.saturating_sub(at.elapsed())).await;
    let ended = count(&database).await;
    drop(load);

    let (usual, meanwhile) = (begun.since(before), ended.since(begun));
    let more = meanwhile.reads as f64 - usual.rate() * meanwhile.changes as f64;
    let said = format!(
        "{:.2} reads for each change before, {:.2} meanwhile, {more:.0} more in all",
        usual.rate(),
        meanwhile.rate()
    );
    assert!(usual.rate() >= 0.5, "the load reads the database: {said}");
    assert!(meanwhile.rate() <= usual.rate() * 2.0, "{said}");
    // Cold nodes read each record once each. As there are so few, they cannot come in a burst either.
    assert!(more <= HOT as f64 / 5.0, "{said}");
    nodes.nodes.stop().await;
}
