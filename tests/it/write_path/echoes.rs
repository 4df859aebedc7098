//! A node meets its own writes again in the change feed, and often before their answers.

use std::time::Duration;

use super::{patch, sharded};
use crate::harness::{Link, Node, Proxy, TestDatabase, Watcher, node::config, within};

async fn watched() -> (TestDatabase, Proxy, Node, Watcher) {
    let database = sharded(64).await;
    database.run("INSERT INTO products (sku, name, price, stock) VALUES ('a', 'A', 1, 0)").await;
    let proxy = Proxy::to(&database.url()).await;
    let node = Node::over(&proxy.url(), config()).await;
    let watcher = Watcher::of(&node, &["a"]).await;
    (database, proxy, node, watcher)
}

#[tokio::test]
async fn own_writes_are_seldom_read_back() {
    let (_database, proxy, node, mut watcher) = watched().await;
    // Each commit is to be seen for longer than half the time between two polls before its answer is here.
    proxy.set_for("writes", Link::Delay(Duration::from_millis(3)));
    let before = node.metric("freshet_changes_statements_total").await;
    for stock in 1..=100 {
        patch(node.service(), "a", &format!(r#"{{"stock": {stock}}}"#)).await.expect("a write");
    }
    while watcher.push().await["value"]["stock"] != 100 {}
    let statements = node.metric("freshet_changes_statements_total").await - before;
    assert!(statements < 20.0, "{statements} statements read 100 writes back");
    node.stop().await;
}

#[tokio::test]
async fn watchers_do_not_wait_for_a_writers_answer() {
    let (_database, proxy, node, mut watcher) = watched().await;
    patch(node.service(), "a", r#"{"stock": 1}"#).await.expect("a write");
    assert_eq!(watcher.push().await["value"]["stock"], 1);
    // The answer to the commit comes 900 ms after it can be seen.
    proxy.set_for("writes", Link::Delay(Duration::from_millis(900)));
    let service = node.service().clone();
    let writing = tokio::spawn(async move { patch(&service, "a", r#"{"stock": 2}"#).await });
    let pushed = within("the push", watcher.push()).await;
    assert_eq!(pushed["value"]["stock"], 2);
    assert!(!writing.is_finished(), "the writer was answered first");
    writing.await.expect("joins").expect("a write");
    node.stop().await;
}
