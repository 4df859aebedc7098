//! Lost history: everything cached and watched is read anew.

use std::time::Duration;

use freshet::{
    record::DatabaseId,
    tiers::{ReadOptions, Source},
};

use super::keys;
use crate::harness::{Kind, Link, Node, Proxy, Watcher, database, node::config, until};

async fn resyncs(node: &Node) -> f64 {
    node.metric("freshet_changes_resyncs_total").await
}

#[tokio::test]
async fn a_node_that_slept_past_the_retention_reads_every_watched_key_anew() {
    let database = database().await;
    database.run("INSERT INTO products (sku, name, price) SELECT 'k' || n, 'x', n FROM generate_series(0, 99) n").await;
    let awake = Node::over(&database.url(), config()).await;
    let proxy = Proxy::to(&database.url()).await;
    let node = Node::over(&proxy.url(), config()).await;
    let mut watcher = Watcher::of(&node, &keys("k", 100)).await;
    let cached = node.service().record("products", "k7").expect("a key");
    node.service().get(&cached, &ReadOptions::default()).await.expect("cached");
    proxy.set_for("tail", Link::Cut);
    let asleep = node.tiers().applied(DatabaseId(0)).0.cast_signed();
    database.run("UPDATE products SET stock = 1 WHERE price % 2 = 0; DELETE FROM products WHERE sku = 'k7'").await;
    // What pruning leaves after the retention.
    until("later marks", async || awake.tiers().applied(DatabaseId(0)).0.cast_signed() > asleep + 5).await;
    database.run(&format!("DELETE FROM feed.mark WHERE n <= {asleep} + 3; DELETE FROM feed.outbox")).await;
    proxy.set_for("tail", Link::Pass);
    watcher.until_true_to(&database).await;
    assert_eq!(resyncs(&node).await, 1.0);
    let read = node.service().get(&cached, &ReadOptions::default()).await.expect("read");
    assert_eq!(read.state.value, None, "what was cached before is gone");
    assert_eq!(resyncs(&awake).await, 0.0);
    node.stop().await;
    awake.stop().await;
}

const BUMP: &str = "BEGIN; UPDATE feed.shard_state SET gen = gen + 1; \
                    SELECT setval('feed.vseq', (SELECT last_value FROM feed.vseq) + 1000000); COMMIT";

#[tokio::test]
async fn a_new_generation_resets_screens_and_drops_what_was_cached() {
    let node = Node::start(Kind::Postgres).await;
    let database = node.database();
    database.run("INSERT INTO products (sku, name, price) SELECT 'k' || n, 'x', n FROM generate_series(0, 99) n").await;
    let mut watcher = Watcher::of(&node, &keys("k", 50)).await;
    let unwatched = node.service().record("products", "k80").expect("a key");
    node.service().get(&unwatched, &ReadOptions::default()).await.expect("read");
    let again = node.service().get(&unwatched, &ReadOptions::default()).await.expect("read");
    assert_eq!(again.source, Source::Local);

    database.run(BUMP).await;
    // The watcher itself checks that a push of a higher generation is marked as a reset.
    for _ in 0..50 {
        assert_eq!(watcher.push().await["reset"], true);
    }
    assert!(keys("k", 50).iter().all(|key| watcher.stamp(key).0 == 2));
    // Reads may meet it first, each for its own shard; the poll tells of all.
    until("the feed has told of it", async || resyncs(&node).await == 1.0).await;
    let anew = node.service().get(&unwatched, &ReadOptions::default()).await.expect("read");
    assert_eq!((anew.source, anew.state.stamp.generation), (Source::Store, 2));

    database.run("UPDATE products SET stock = 1").await;
    watcher.until_true_to(database).await;
    assert_eq!(watcher.pushes, 100, "each key was reset once and changed once");
    assert_eq!(resyncs(&node).await, 1.0);
    node.stop().await;
}

#[tokio::test]
async fn a_read_from_before_a_change_of_a_new_generation_is_refused_after_it() {
    let database = database().await;
    database.run("INSERT INTO products (sku, name, price) VALUES ('a', 'old', 1)").await;
    let proxy = Proxy::to(&database.url()).await;
    let mut config = config();
    config.tiers.filter.enabled = false; // Its builds read too.
    let node = Node::over(&proxy.url(), config).await;
    let id = node.service().record("products", "a").expect("a key");
    // Prepares the statement, so that later the read is one round trip.
    node.service().get(&id, &ReadOptions::default()).await.expect("read");
    database.run(BUMP).await;
    until("the bump was seen", async || resyncs(&node).await == 1.0).await;
    // No read has shown the new generation to this node yet. One is answered late, and a change overtakes it.
    let ran = "SELECT max(query_start)::text FROM pg_stat_activity WHERE application_name = 'freshet reads' \
               AND datname = current_database() AND state = 'idle'";
    let before = database.value::<String>(ran).await;
    proxy.set_for("reads", Link::Delay(Duration::from_secs(2)));
    let reading = tokio::spawn({
        let (service, id) = (node.service().clone(), id.clone());
        async move { service.get(&id, &ReadOptions::default()).await }
    });
    until("the read ran", async || database.value::<Option<String>>(ran).await.is_some_and(|at| at > before)).await;
    database.run("UPDATE products SET name = 'new'").await;
    let changes = "freshet_changes_applied_total";
    until("the change was seen", async || node.metric(changes).await == 1.0).await;
    assert!(!reading.is_finished(), "the read was to be the later one");
    let read = reading.await.expect("joins").expect("read").state;
    let value = String::from_utf8(read.value.expect("it is there").to_vec()).expect("text");
    assert!(value.contains("new"), "answered {value} after a newer state was applied");
    node.stop().await;
}

#[tokio::test]
async fn a_read_that_joins_a_statement_from_before_lost_history_does_not_bring_it_back() {
    let database = database().await;
    database
        .run("INSERT INTO products (sku, name, price) SELECT 'k' || n, 'old', 1 FROM generate_series(0, 999) n")
        .await;
    let proxy = Proxy::to(&database.url()).await;
    let mut config = config();
    config.tiers.filter.enabled = false; // Its builds read too.
    let node = Node::over(&proxy.url(), config).await;
    let get = |key: &str| {
        let (service, id) = (node.service().clone(), node.service().record("products", key).expect("a key"));
        tokio::spawn(async move {
            let value =
                service.get(&id, &ReadOptions::default()).await.expect("read").state.value.expect("it is there");
            String::from_utf8(value.to_vec()).expect("text")
        })
    };
    // Prepares the partition's statement, so that later the read is one round trip.
    let neighbour: String = database.value("SELECT min(sku) FROM products_017").await;
    let key: String = database.value("SELECT max(sku) FROM products_017").await;
    get(&neighbour).await.expect("joins");
    let ran = "SELECT max(query_start)::text FROM pg_stat_activity WHERE application_name = 'freshet reads' \
               AND datname = current_database() AND state = 'idle'";
    let before = database.value::<String>(ran).await;
    proxy.set_for("reads", Link::Delay(Duration::from_secs(2)));
    // Marks will be counted from 1 again: the node must be far beyond.
    until("marks go on", async || node.tiers().applied(DatabaseId(0)).0 > 40).await;
    let early = get(&key);
    until("the read ran", async || database.value::<Option<String>>(ran).await.is_some_and(|at| at > before)).await;
    // A change that the feed will never report, as its history is gone, marks and all.
    database
        .run(
            "BEGIN; UPDATE products SET name = 'new'; DELETE FROM feed.outbox;
             LOCK TABLE feed.mark IN EXCLUSIVE MODE; DELETE FROM feed.mark; COMMIT",
        )
        .await;
    until("the loss was seen", async || resyncs(&node).await == 1.0).await;
    let joined = get(&key);
    tokio::task::yield_now().await;
    assert!(!early.is_finished(), "the first read was to be the later one");
    proxy.set_for("reads", Link::Pass);
    for read in [early, joined, get(&key)] {
        let value = read.await.expect("joins");
        assert!(value.contains("new"), "answered {value} after history was lost");
    }
    assert!(get(&key).await.expect("joins").contains("new"), "what was read before the loss is cached");
    node.stop().await;
}
