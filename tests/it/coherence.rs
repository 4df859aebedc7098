//! No node answers a key with an older state than it answered before, whatever is evicted, delayed or rebuilt.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use freshet::{
    record::Stamp,
    service::{Conditions, Service},
    tiers::ReadOptions,
};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use sqlx::{AssertSqlSafe, Executor as _};
use tokio::task::JoinSet;

use crate::harness::{Kind, Link, Node, Proxy, TestDatabase, database, node::config, until};

const KEYS: usize = 12;
const TIME: Duration = Duration::from_secs(5);

/// The newest stamp that a node has answered of each key.
type Answered = Arc<Mutex<HashMap<String, Stamp>>>;

/// A node with room for a handful of records, whose filter wears out at once and whose reads come late.
async fn hasty_node(database: &TestDatabase) -> (Node, Proxy) {
    let proxy = Proxy::to(&database.url()).await;
    let mut config = config();
    config.tiers.local.capacity = bytesize::ByteSize::b(1_500);
    config.tiers.local.absent_ttl = Duration::from_millis(20);
    config.tiers.filter.keys_min = 4;
    let node = Node::over(&proxy.url(), config).await;
    (node, proxy)
}

async fn read(service: Service, answered: Answered, seed: u64, until: Instant) -> usize {
    let (mut random, mut reads) = (SmallRng::seed_from_u64(seed), 0);
    while Instant::now() < until {
        let key = format!("k{}", random.random_range(0..KEYS));
        let id = service.record("products", &key).expect("a key");
        let before = answered.lock().expect("sound").get(&key).copied();
        let answer = service.get(&id, &ReadOptions::default()).await.expect("the database answers");
        let stamp = answer.state.stamp;
        assert!(before.is_none_or(|before| before <= stamp), "{key} fell from {before:?} to {answer:?}");
        answered.lock().expect("sound").entry(key).and_modify(|newest| *newest = stamp.max(*newest)).or_insert(stamp);
        reads += 1;
        if random.random_range(0..4) == 0 {
            tokio::task::yield_now().await;
        }
    }
    reads
}

async fn write(service: Service, answered: Answered, seed: u64, until: Instant) -> usize {
    let (mut random, mut writes) = (SmallRng::seed_from_u64(seed), 0);
    while Instant::now() < until {
        let key = format!("k{}", random.random_range(0..KEYS));
        let id = service.record("products", &key).expect("a key");
        let written = if random.random_range(0..3) == 0 {
            service.delete(id, Conditions::default()).await
        } else {
            service.put(id, &format!(r#"{{"name": "own", "price": {writes}}}"#), Conditions::default()).await
        };
        let stamp = written.expect("a write").stamp;
        answered.lock().expect("sound").entry(key).and_modify(|newest| *newest = stamp.max(*newest)).or_insert(stamp);
        writes += 1;
    }
    writes
}

async fn psql(database: &TestDatabase, until: Instant) {
    let (mut random, mut session) = (SmallRng::seed_from_u64(7), database.connect().await);
    while Instant::now() < until {
        let key = random.random_range(0..KEYS);
        let sql = match random.random_range(0..3) {
            0 => format!("DELETE FROM products WHERE sku = 'k{key}'"),
            1 => format!("UPDATE products SET stock = stock + 1 WHERE sku = 'k{key}'"),
            _ => format!("INSERT INTO products (sku, name, price) VALUES ('k{key}', 'psql', 1) ON CONFLICT DO NOTHING"),
        };
        session.execute(AssertSqlSafe(sql)).await.expect("one row at a time");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_that_a_node_answers_never_fall() {
    let database = database().await;
    let nodes = [hasty_node(&database).await, hasty_node(&database).await];
    let (end, mut readers, mut writers) = (Instant::now() + TIME, JoinSet::new(), JoinSet::new());
    for (number, (node, _)) in nodes.iter().enumerate() {
        let answered = Answered::default();
        for seed in 0..8 {
            readers.spawn(read(node.service().clone(), answered.clone(), seed + 10 * number as u64, end));
        }
        writers.spawn(write(node.service().clone(), answered, 99 + number as u64, end));
    }
    let delaying = async {
        let mut random = SmallRng::seed_from_u64(3);
        while Instant::now() < end {
            for (_, proxy) in &nodes {
                let delay = Duration::from_millis(random.random_range(0..40));
                proxy.set_for("reads", if delay.is_zero() { Link::Pass } else { Link::Delay(delay) });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::join!(psql(&database, end), delaying);
    let (reads, writes) = (readers.join_all().await, writers.join_all().await);
    assert!(reads.iter().all(|&reads| reads > 100), "{reads:?} reads, {writes:?} writes");
    for (node, proxy) in nodes {
        proxy.set(Link::Pass);
        println!("{reads:?} reads, {writes:?} writes, {} stale", node.metric("freshet_tiers_stale_reads_total").await);
        node.stop().await;
    }
}

#[tokio::test]
async fn a_late_fill_is_neither_served_nor_kept_after_a_newer_state() {
    let database = database().await;
    database.run("INSERT INTO products (sku, name, price) VALUES ('a', 'old', 1)").await;
    let proxy = Proxy::to(&database.url()).await;
    let mut config = config();
    config.tiers.filter.enabled = false; // Its builds read too.
    (config.tiers.local.ttl, config.tiers.local.absent_ttl) = (Duration::from_millis(1), Duration::from_millis(1));
    let node = Node::over(&proxy.url(), config).await;
    let id = node.service().record("products", "a").expect("a key");
    node.service().get(&id, &ReadOptions::default()).await.expect("prepares the statement");
    let ran = "SELECT max(query_start)::text FROM pg_stat_activity \
               WHERE application_name = 'freshet reads' AND datname = current_database() AND state = 'idle'";
    for (number, sql) in [
        "UPDATE products SET name = 'new'",
        "DELETE FROM products",
        "INSERT INTO products (sku, name, price) VALUES ('a', 'again', 1)",
    ]
    .into_iter()
    .enumerate()
    {
        let before = database.value::<String>(ran).await;
        until("L1 is empty", async || !node.tiers().holds(&id)).await;
        proxy.set_for("reads", Link::Delay(Duration::from_secs(2)));
        let reading = tokio::spawn({
            let (service, id) = (node.service().clone(), id.clone());
            async move { service.get(&id, &ReadOptions::default()).await }
        });
        until("the read ran", async || database.value::<Option<String>>(ran).await.is_some_and(|at| at > before)).await;
        database.run(sql).await;
        let applied = number as f64 + 1.0;
        until("the change was seen", async || node.metric("freshet_changes_applied_total").await == applied).await;
        assert!(!reading.is_finished(), "the read was to be the later one");
        let late = reading.await.expect("joins").expect("read").state;
        proxy.set_for("reads", Link::Pass);
        let next = node.service().get(&id, &ReadOptions::default()).await.expect("read").state;
        assert_eq!(late, next, "after {sql}");
    }
    node.stop().await;
}

#[tokio::test]
async fn no_more_records_are_audited_in_a_second_than_allowed() {
    const AUDITS: u64 = 10;
    let mut config = config();
    (config.tiers.audit.share, config.tiers.audit.per_second_max) = (1.0, 5);
    let node = Node::start_with(Kind::Postgres, config).await;
    node.database()
        .run("INSERT INTO products (sku, name, price) SELECT 'k' || n, 'x', 1 FROM generate_series(0, 9) n")
        .await;
    let begun = Instant::now();
    until("records were audited", async || {
        for key in 0..10 {
            let id = node.service().record("products", &format!("k{key}")).expect("a key");
            node.service().get(&id, &ReadOptions::default()).await.expect("read");
        }
        node.metrics().sum("freshet_tiers_audits_total").unwrap_or_default() >= AUDITS
    })
    .await;
    // Between the first and the last of them lie nine pauses of a fifth of a second.
    assert!(begun.elapsed() >= Duration::from_millis(200) * 9, "{AUDITS} audits within {:?}", begun.elapsed());
    node.stop().await;
}
