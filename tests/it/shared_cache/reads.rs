//! What Redis spares the databases.

use std::time::{Duration, Instant};

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use serde_json::json;
use tokio::task::JoinSet;

use super::{hits, node, price, with_redis, without_local};
use crate::harness::{Node, Redis, Socket, TestDatabase, Watcher, database, until, within};

const FILL: &str = "INSERT INTO products (sku, name, price) SELECT 'k' || n, 'x', n FROM generate_series(1, 200) n";

/// A node that has read `k1` to `k<count>`, and put them into Redis.
async fn node_that_has_read(database: &TestDatabase, redis: &Redis, count: u64) -> Node {
    let node = node(database, without_local(&redis.url())).await;
    let mut socket = Socket::open(&node).await;
    // On a busy machine a lease may run out before its record is there: read it again.
    until("the slots are filled", async || {
        for n in 1..=count {
            assert_eq!(price(&mut socket, &format!("k{n}")).await, json!(n));
        }
        redis.command::<Vec<String>>(&["KEYS", "*:products:k*"]).await.len() as u64 == count
    })
    .await;
    node
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_starts_cold_is_answered_without_the_database() {
    let (database, redis) = (database().await, Redis::start().await);
    database.run(FILL).await;
    let first = node_that_has_read(&database, &redis, 200).await;
    let second = node(&database, with_redis(&redis.url())).await;
    let (before, mut socket) = (hits(&second), Socket::open(&second).await);
    for n in 1..=200 {
        let read = socket.ok("get", json!(["products", format!("k{n}")])).await;
        assert_eq!((&read["value"]["price"], read.get("stale_ms")), (&json!(n), None), "{read}");
    }
    let from_redis = hits(&second) - before;
    assert!(from_redis >= 180, "{from_redis} of 200");
    // A change reaches it there as it would have in L1.
    database.run("UPDATE products SET price = 7000 WHERE sku = 'k1'").await;
    until("the change is shown", async || price(&mut socket, "k1").await == json!(7000)).await;
    for node in [first, second] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_key_that_many_nodes_ask_for_is_read_once() {
    let (database, redis) = (database().await, Redis::start().await);
    database.run(FILL).await;
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(node(&database, with_redis(&redis.url())).await);
    }
    let mut sockets = Vec::new();
    for at in 0..30 {
        sockets.push(Socket::open(&nodes[at % 3]).await);
    }
    let before = statements(&nodes);
    let mut gets = JoinSet::new();
    for mut socket in sockets {
        gets.spawn(async move {
            for _ in 0..34 {
                assert_eq!(price(&mut socket, "k17").await, json!(17));
            }
        });
    }
    gets.join_all().await;
    let read = statements(&nodes) - before;
    assert!((1..=2).contains(&read), "{read} statements");
    for node in nodes {
        node.stop().await;
    }
}

/// Statements that read records for clients.
fn statements(nodes: &[Node]) -> u64 {
    nodes.iter().filter_map(|node| node.metrics().sum("freshet_tiers_statements_total")).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_redis_has_answers_while_nothing_is_cached_here_and_never_goes_back() {
    let (database, redis) = (database().await, Redis::start().await);
    database.run(FILL).await;
    let nodes =
        [node(&database, without_local(&redis.url())).await, node(&database, without_local(&redis.url())).await];
    let before: u64 = nodes.iter().map(hits).sum();
    let (mut readers, end) = (JoinSet::new(), Arc::new(AtomicU64::new(u64::MAX)));
    for at in 0..6 {
        let (mut socket, end) = (Socket::open(&nodes[at % 2]).await, end.clone());
        readers.spawn(async move {
            let mut last = 0;
            while last < end.load(Relaxed) {
                let shown = price(&mut socket, "k3").await.as_u64().expect("a price");
                assert!(shown >= last || last == 3, "{shown} after {last}");
                last = if shown == 3 { 3 } else { shown };
            }
        });
    }
    // A busy machine needs more changes until Redis has answered often between them.
    let (mut outside, mut written) = (database.connect().await, 10_000);
    within("Redis answers between the changes", async {
        while written < 10_300 || nodes.iter().map(hits).sum::<u64>() <= before + 100 {
            written += 1;
            let update = format!("UPDATE products SET price = {written} WHERE sku = 'k3'");
            sqlx::raw_sql(sqlx::AssertSqlSafe(update)).execute(&mut outside).await.expect("update");
        }
    })
    .await;
    end.store(written, Relaxed);
    within("all see the last", readers.join_all()).await;
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absence_is_kept_until_the_record_is_there() {
    let (database, redis) = (database().await, Redis::start().await);
    let mut config = without_local(&redis.url());
    config.tiers.filter.enabled = false;
    let node = node(&database, config).await;
    let mut socket = Socket::open(&node).await;
    assert_eq!(price(&mut socket, "none").await, json!(null));
    let before = hits(&node);
    until("the absence is answered by Redis", async || {
        assert_eq!(price(&mut socket, "none").await, json!(null));
        hits(&node) > before
    })
    .await;
    database.run("INSERT INTO products (sku, name, price) VALUES ('none', 'x', 5)").await;
    until("the record is there", async || price(&mut socket, "none").await == json!(5)).await;
    database.run("DELETE FROM products WHERE sku = 'none'").await;
    until("it is gone", async || price(&mut socket, "none").await == json!(null)).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_is_watched_on_several_nodes_is_read_about_once() {
    const CHANGES: u64 = 200;
    let (database, redis) = (database().await, Redis::start().await);
    database.run(FILL).await;
    let (mut nodes, mut watchers) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let node = node(&database, with_redis(&redis.url())).await;
        watchers.push(Watcher::of(&node, &["k9"]).await);
        nodes.push(node);
    }
    let before = records_read(&nodes);
    for _ in 0..CHANGES {
        database.run("UPDATE products SET price = price + 1 WHERE sku = 'k9'").await;
        for watcher in &mut watchers {
            watcher.until_true_to(&database).await;
        }
    }
    let read = records_read(&nodes) - before;
    assert!(read <= CHANGES * 12 / 10, "{read} reads of {CHANGES} changes");
    for node in nodes {
        node.stop().await;
    }
}

fn records_read(nodes: &[Node]) -> u64 {
    nodes.iter().filter_map(|node| node.metrics().sum("freshet_store_reads_total")).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changed_unread_is_shown_by_a_node_that_starts_cold() {
    let (database, redis) = (database().await, Redis::start().await);
    database.run(FILL).await;
    let first = node_that_has_read(&database, &redis, 200).await;
    // Every slot is old now; a floor that tells so is only on nodes that were there.
    database.run("UPDATE products SET price = price + 1000 WHERE sku LIKE 'k%'").await;
    let second = node(&database, with_redis(&redis.url())).await;
    let mut socket = Socket::open(&second).await;
    for n in 1..=200 {
        assert_eq!(price(&mut socket, &format!("k{n}")).await, json!(n + 1000));
    }
    for node in [first, second] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_know_other_columns_share_nothing() {
    let (database, redis) = (database().await, Redis::start().await);
    database.run(FILL).await;
    let old = node_that_has_read(&database, &redis, 50).await;
    // No row's version changes.
    database.run("ALTER TABLE products ADD COLUMN weight int4 NOT NULL DEFAULT 7").await;
    let new = node(&database, with_redis(&redis.url())).await;
    let mut socket = Socket::open(&new).await;
    for n in 1..=50 {
        let read = socket.ok("get", json!(["products", format!("k{n}")])).await;
        assert_eq!(read["value"]["weight"], json!(7), "{read}");
    }
    for node in [old, new] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_beyond_its_limit_is_not_put_into_redis() {
    let (database, redis) = (database().await, Redis::start().await);
    let fill = "INSERT INTO products (sku, name, price) VALUES ('small', 'x', 1), ('large', repeat('x', 2000), 2)";
    database.run(fill).await;
    let mut config = without_local(&redis.url());
    config.redis.as_mut().expect("configured").value_max = "1 KiB".parse().expect("a size");
    let node = node(&database, config).await;
    let mut socket = Socket::open(&node).await;
    let before = hits(&node);
    until("the small one is answered by Redis", async || {
        price(&mut socket, "small").await;
        hits(&node) > before
    })
    .await;
    let before = hits(&node);
    for _ in 0..10 {
        assert_eq!(price(&mut socket, "large").await, json!(2));
    }
    assert_eq!(hits(&node), before, "the large one is not there");
    // Nor would it be read if it were: so look.
    for name in redis.command::<Vec<String>>(&["KEYS", "*:products:large"]).await {
        let len = redis.command::<usize>(&["STRLEN", &name]).await;
        assert!(len < 1024, "{name} has {len} bytes");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_and_absences_leave_redis_within_their_lifetimes() {
    let (database, redis) = (database().await, Redis::start().await);
    database.run(FILL).await;
    let mut config = without_local(&redis.url());
    config.tiers.filter.enabled = false;
    let shared = config.redis.as_mut().expect("configured");
    (shared.ttl, shared.absent_ttl) = (Duration::from_secs(1_000), Duration::from_secs(100));
    let node = node(&database, config).await;
    let mut socket = Socket::open(&node).await;
    for (key, lifetime) in [("k1", 1_000_000), ("absent", 100_000)] {
        let begun = Instant::now();
        let mut left = 0;
        until("the slot is filled", async || {
            price(&mut socket, key).await;
            let names = redis.command::<Vec<String>>(&["KEYS", &format!("*:products:{key}")]).await;
            left = match names.first() {
                Some(name) => redis.command::<i64>(&["PTTL", name]).await,
                None => 0,
            };
            // A lease ends within 3 s.
            left > 3_000
        })
        .await;
        let least = lifetime / 10 * 9 - i64::try_from(begun.elapsed().as_millis()).expect("soon");
        assert!((least..=lifetime).contains(&left), "{key}: {left} ms of {lifetime}");
    }
    node.stop().await;
}
