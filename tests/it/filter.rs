//! Absent keys stop at the filter; no key that is there is denied for longer than the freshness bound.

use std::time::{Duration, Instant};

use freshet::{
    record::DatabaseId,
    service::Conditions,
    tiers::{Answer, ReadOptions, Source, Window},
};
use futures_util::{StreamExt as _, stream};
use sqlx::{Connection as _, Executor as _};

use crate::harness::{Kind, Link, Node, Proxy, database, node::config, until};

async fn get(node: &Node, key: &str) -> Answer {
    let id = node.service().record("products", key).expect("a key");
    node.service().get(&id, &ReadOptions::default()).await.expect("an answer")
}

async fn ready(node: &Node) {
    let products = node.service().catalogue().find("products").expect("products").id;
    until("the filter is built", async || node.tiers().is_filtered(products)).await;
}

/// Asks for `count` absent keys; returns how many reached the store.
async fn reach_the_store(node: &Node, prefix: &str, count: usize) -> f64 {
    let before = node.metric("freshet_tiers_store_reads_total").await;
    let gets = stream::iter(0..count).map(|n| async move { get(node, &format!("{prefix}{n}")).await });
    let found = gets.buffer_unordered(256).filter(|answer| std::future::ready(answer.state.value.is_some()));
    assert_eq!(found.count().await, 0, "absent keys are absent");
    node.metric("freshet_tiers_store_reads_total").await - before
}

#[tokio::test]
async fn absent_keys_reach_the_store_no_more_than_the_target_rate() {
    let database = database().await;
    database
        .run("INSERT INTO products (sku, name, price) SELECT 'k' || n, 'x', 1 FROM generate_series(1, 10000) n")
        .await;
    let mut config = config();
    // Just room enough: the rate is promised for a full filter.
    (config.tiers.filter.keys_min, config.tiers.filter.headroom) = (10_000, 1.0);
    let node = Node::over(&database.url(), config).await;
    ready(&node).await;
    let reached = reach_the_store(&node, "absent", 100_000).await;
    println!("{reached} of 100,000 absent keys reached the store");
    assert!(reached <= 100_000.0 * 0.01 * 1.2, "{reached} of 100,000 reached the store");
    assert!(reached > 0.0, "a filter that lets nothing pass is not measured here");
    node.stop().await;
}

#[tokio::test]
async fn a_key_inserted_elsewhere_is_denied_no_longer_than_the_bound() {
    let database = database().await;
    let proxy = Proxy::to(&database.url()).await;
    let mut config = config();
    config.tiers.freshness.fresh = Duration::from_millis(600);
    config.tiers.freshness.usable = Duration::from_millis(1_200);
    let node = Node::over(&proxy.url(), config).await;
    for (name, link) in [
        ("running", Link::Pass),
        ("stopped", Link::BlackHole),
        ("delayed", Link::Delay(Duration::from_millis(150))),
        ("broken", Link::Cut),
        ("running again", Link::Pass),
    ] {
        proxy.set_for("tail", Link::Pass);
        let mut number = 0;
        until("the filter denies", async || {
            number += 1;
            get(&node, &format!("never {name} {number}")).await.source == Source::Filter
        })
        .await;
        proxy.set_for("tail", link);
        for n in 0..5 {
            let key = format!("{name} {n}");
            database.run(&format!("INSERT INTO products (sku, name, price) VALUES ('{key}', 'x', 1)")).await;
            let (inserted, node) = (Instant::now(), &node);
            // When the last read began that was told of no record.
            let mut denied = Duration::ZERO;
            until("it is there", async || {
                let begun = inserted.elapsed();
                let is_there = get(node, &key).await.state.value.is_some();
                denied = if is_there { denied } else { begun };
                is_there
            })
            .await;
            assert!(denied < Duration::from_millis(900), "{key:?} was denied for {denied:?}");
        }
    }
    node.stop().await;
}

#[tokio::test]
async fn what_a_client_wrote_here_is_never_denied() {
    let node = Node::start(Kind::Postgres).await;
    ready(&node).await;
    for n in 0..200 {
        let key = format!("k{n}");
        assert_eq!(get(&node, &key).await.state.value, None);
        let id = node.service().record("products", &key).expect("a key");
        node.service().put(id, r#"{"name": "own", "price": 1}"#, Conditions::default()).await.expect("a write");
        assert!(get(&node, &key).await.state.value.is_some(), "{key} was denied to its writer");
    }
    node.stop().await;
}

#[tokio::test]
async fn a_worn_filter_is_rebuilt_while_the_old_one_serves() {
    let mut config = config();
    config.tiers.filter.keys_min = 200;
    config.tiers.window = Window(3);
    let node = Node::start_with(Kind::Postgres, config).await;
    ready(&node).await;
    node.database()
        .run("INSERT INTO products (sku, name, price) SELECT 'k' || n, 'x', 1 FROM generate_series(0, 4999) n")
        .await;
    let last = "k4999";
    until("the feed is here", async || get(&node, last).await.state.value.is_some()).await;
    // Outgrown 25 times over it lets nearly everything pass, and denies nothing that is there.
    let mut round = 0;
    until("the filter is as good as promised", async || {
        round += 1;
        for n in 0..20 {
            assert!(get(&node, &format!("k{}", (round * 20 + n) % 5_000)).await.state.value.is_some());
        }
        reach_the_store(&node, &format!("round {round} "), 200).await <= 10.0
    })
    .await;
    node.database().run("DELETE FROM products WHERE price = 1").await;
    let mut number = 0;
    until("deleted keys are denied again", async || {
        number += 1;
        get(&node, &format!("k{}", 4_998 - number % 2_000)).await.source == Source::Filter
    })
    .await;
    node.stop().await;
}

#[tokio::test]
async fn a_denial_is_no_older_than_a_deletion_that_was_answered() {
    let mut config = config();
    config.tiers.filter.keys_min = 1;
    config.tiers.local.absent_ttl = Duration::from_millis(1);
    let node = Node::start_with(Kind::Postgres, config).await;
    node.database()
        .run("INSERT INTO products (sku, name, price) SELECT 'k' || n, 'x', 1 FROM generate_series(0, 19) n")
        .await;
    until("the feed is here", async || get(&node, "k0").await.state.value.is_some()).await;
    node.database().run("DELETE FROM products").await;
    until("it is gone", async || get(&node, "k0").await.state.value.is_none()).await;
    let answered = get(&node, "k0").await.state.stamp;
    assert!(answered.version > 0, "a deletion has a version");
    let mut tries = 0;
    until("the filter denies", async || {
        let answer = get(&node, "k0").await;
        assert!(answer.state.stamp >= answered, "{answer:?} after {answered}");
        tries += 1;
        get(&node, &format!("never {tries}")).await.source == Source::Filter
    })
    .await;
    let products = node.service().catalogue().find("products").expect("products").id;
    until("the filter is new", async || !node.tiers().filters(DatabaseId(0)).needs_build(products)).await;
    for _ in 0..20 {
        assert!(get(&node, "k0").await.state.stamp >= answered);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_locked_partition_keeps_neither_a_node_from_starting_nor_other_tables_from_their_filters() {
    let database = database().await;
    database.run("INSERT INTO readings (id, label) SELECT n, 'x' FROM generate_series(0, 99) n").await;
    let mut session = database.connect().await;
    let mut locking = session.begin().await.expect("begin");
    locking.execute("LOCK TABLE parcels_017 IN ACCESS EXCLUSIVE MODE").await.expect("lock");
    let node = Node::over(&database.url(), config()).await;
    let is_ready = |name: &str| {
        let collection = node.service().catalogue().find(name).expect("a collection").id;
        node.tiers().is_filtered(collection)
    };
    until("the filters of the others are built", async || is_ready("readings") && is_ready("products")).await;
    assert!(!is_ready("parcels"));
    locking.commit().await.expect("unlock");
    until("the filter is built", async || is_ready("parcels")).await;
    node.stop().await;
}
