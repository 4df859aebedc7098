//! Who marks the feed, and how a node comes back to it.

use std::time::Duration;

use super::keys;
use crate::harness::{Kind, Link, Node, Proxy, TestDatabase, Watcher, database, node::config, until};

async fn leads(node: &Node) -> bool {
    node.metric("freshet_changes_leads").await == 1.0
}

async fn newest_mark(database: &TestDatabase) -> (i64, i64) {
    let (n, term) = sqlx::query_as("SELECT n, term FROM feed.mark ORDER BY n DESC LIMIT 1")
        .fetch_optional(database.pool())
        .await
        .expect("marks")
        .unwrap_or_default();
    (n, term)
}

/// Waits for `count` marks more than stand now; returns their term.
async fn marks_go_on(database: &TestDatabase, count: i64) -> i64 {
    let before = newest_mark(database).await.0;
    until("marks go on", async || newest_mark(database).await.0 >= before + count).await;
    newest_mark(database).await.1
}

#[tokio::test]
async fn one_of_two_nodes_marks_and_the_other_takes_over() {
    let database = database().await;
    let first = Node::over(&database.url(), config()).await;
    until("the first node leads", async || leads(&first).await).await;
    let second = Node::over(&database.url(), config()).await;
    let mut watcher = Watcher::of(&second, &["a"]).await;
    let sessions = "SELECT sessions FROM pg_stat_database WHERE datname = current_database()";
    marks_go_on(&database, 60).await;
    let opened: i64 = database.value(sessions).await;
    let term = marks_go_on(&database, 80).await;
    let since = database.value::<i64>(sessions).await - opened;
    assert!(since <= 1, "{since} sessions were opened while marks came: a node does not ask whether another leads");
    assert!(leads(&first).await && !leads(&second).await, "the lock is held once");
    let terms: i64 = database.value("SELECT count(DISTINCT term) FROM feed.mark").await;
    assert_eq!(terms, 1);
    first.stop().await;
    until("the second node leads", async || leads(&second).await).await;
    assert!(marks_go_on(&database, 10).await > term);
    let falling: i64 = database
        .value("SELECT count(*) FROM (SELECT term, lag(term) OVER (ORDER BY n) AS before FROM feed.mark) m WHERE term < before")
        .await;
    assert_eq!(falling, 0);
    database.run("INSERT INTO products (sku, name, price) VALUES ('a', 'A', 1)").await;
    watcher.until_true_to(&database).await;
    second.stop().await;
}

#[tokio::test]
async fn a_leader_that_went_silent_is_ended_by_the_next() {
    let database = database().await;
    let proxy = Proxy::to(&database.url()).await;
    let first = Node::over(&proxy.url(), config()).await;
    until("the first node leads", async || leads(&first).await).await;
    let second = Node::over(&database.url(), config()).await;
    let term = marks_go_on(&database, 1).await;
    // As a stopped process does, it keeps its session and its lock and says nothing.
    proxy.set(Link::BlackHole);
    until("the second node leads", async || leads(&second).await).await;
    assert!(marks_go_on(&database, 10).await > term);
    proxy.set(Link::Pass);
    until("the first node knows", async || !leads(&first).await).await;
    second.stop().await;
    first.stop().await;
}

#[tokio::test]
async fn a_node_that_starts_later_shows_what_was_and_what_comes() {
    let first = Node::start(Kind::Postgres).await;
    let database = first.database();
    database
        .run("INSERT INTO products (sku, name, price) SELECT 'k' || n, 'old', n FROM generate_series(0, 9) n")
        .await;
    let later = Node::over(&database.url(), config()).await;
    let mut watcher = Watcher::of(&later, &keys("k", 10)).await;
    watcher.until_true_to(database).await;
    database.run("UPDATE products SET stock = 1").await;
    watcher.until_true_to(database).await;
    assert_eq!(later.metric("freshet_changes_resyncs_total").await, 0.0);
    later.stop().await;
    first.stop().await;
}

#[tokio::test]
async fn a_node_whose_feed_connections_are_killed_misses_nothing() {
    let node = Node::start(Kind::Postgres).await;
    let database = node.database();
    database.run("INSERT INTO products (sku, name, price) SELECT 'k' || n, 'x', 0 FROM generate_series(0, 9) n").await;
    let mut watcher = Watcher::of(&node, &keys("k", 10)).await;
    for _ in 0..5 {
        let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                    WHERE datname = current_database() AND application_name LIKE 'freshet %'";
        assert!(database.value::<i64>(kill).await > 0);
        database.run("UPDATE products SET stock = stock + 1; DELETE FROM products WHERE sku = 'k3'").await;
        database.run("INSERT INTO products (sku, name, price) VALUES ('k3', 'y', 1)").await;
        watcher.until_true_to(database).await;
    }
    assert_eq!(node.metric("freshet_changes_resyncs_total").await, 0.0, "the place in the feed was kept");
    until("the feed is fresh", async || node.tiers().freshness().age() < Duration::from_secs(1)).await;
    node.stop().await;
}
