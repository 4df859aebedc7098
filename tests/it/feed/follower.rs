//! Polls and reads do not wait for one another, and a locked table holds up its own records only.

use std::time::{Duration, Instant};

use freshet::record::DatabaseId;
use serde_json::json;
use sqlx::Executor as _;

use super::keys;
use crate::harness::{
    Link, Node, Proxy, Socket, Watcher, database,
    node::{SOON, config},
    until,
};

#[tokio::test]
async fn a_read_is_pushed_while_the_polls_connection_says_nothing() {
    let database = database().await;
    database.run("INSERT INTO products (sku, name, price) VALUES ('a', 'A', 1)").await;
    let proxy = Proxy::to(&database.url()).await;
    let node = Node::over(&proxy.url(), config()).await;
    let mut watcher = Watcher::of(&node, &["a"]).await;
    let applied = async || node.metric("freshet_changes_applied_total").await;
    let before = applied().await;
    proxy.set_for("reads", Link::Delay(Duration::from_millis(700)));
    database.run("UPDATE products SET price = 2").await;
    until("the poll reported it", async || applied().await > before).await;
    proxy.set_for("tail", Link::BlackHole);
    let begun = Instant::now();
    assert_eq!(watcher.push().await["value"]["price"], 2);
    assert!(begun.elapsed() < SOON, "the push waited {:?} for a poll", begun.elapsed());
    proxy.set(Link::Pass);
    node.stop().await;
}

#[tokio::test]
async fn polls_go_on_while_reads_say_nothing() {
    let database = database().await;
    database.run("INSERT INTO products (sku, name, price) SELECT 'k' || n, 'x', 1 FROM generate_series(0, 99) n").await;
    let proxy = Proxy::to(&database.url()).await;
    let node = Node::over(&proxy.url(), config()).await;
    let mut watcher = Watcher::of(&node, &keys("k", 100)).await;
    proxy.set_for("reads", Link::BlackHole);
    database.run("UPDATE products SET price = 2").await;
    let before = node.tiers().applied(DatabaseId(0)).0;
    let begun = Instant::now();
    until("the position moves on", async || node.tiers().applied(DatabaseId(0)).0 > before + 20).await;
    assert!(begun.elapsed() < SOON, "20 marks took {:?}", begun.elapsed());
    proxy.set_for("reads", Link::Pass);
    watcher.until_true_to(&database).await;
    node.stop().await;
}

#[tokio::test]
async fn a_locked_table_holds_up_its_own_records_only() {
    let database = database().await;
    database
        .run("INSERT INTO products (sku, name, price) SELECT 'k' || n, 'x', 1 FROM generate_series(0, 399) n")
        .await;
    database.run("INSERT INTO readings (id, label) VALUES (7, 'one')").await;
    let proxy = Proxy::to(&database.url()).await;
    let node = Node::over(&proxy.url(), config()).await;
    // Records of every partition, whose changes come to be known when none of them can be read.
    let mut watcher = Watcher::of(&node, &keys("k", 400)).await;
    let mut bystander = Socket::open(&node).await;
    bystander.ok("subscribe", json!(["readings", 7])).await;
    assert_eq!(bystander.push().await["value"]["label"], "one");
    let mut session = database.connect().await;
    proxy.set_for("tail", Link::Delay(Duration::from_millis(300)));
    let lock = "BEGIN; UPDATE products SET stock = 1; COMMIT; BEGIN; LOCK TABLE products IN ACCESS EXCLUSIVE MODE";
    session.execute(sqlx::raw_sql(lock)).await.expect("lock");
    for label in ["two", "three", "four"] {
        database.run(&format!("UPDATE readings SET label = '{label}'")).await;
        let begun = Instant::now();
        assert_eq!(bystander.push().await["value"]["label"], label);
        assert!(begun.elapsed() < SOON, "{label:?} took {:?}", begun.elapsed());
    }
    session.execute("COMMIT").await.expect("unlock");
    watcher.until_true_to(&database).await;
    node.stop().await;
}
