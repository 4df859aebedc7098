//! `/readyz`, which asks the database on a connection of its own, and `freshet ready`, which asks it.

use std::time::Instant;

use futures_util::future::join_all;
use serde_json::json;
use tokio::task::spawn_blocking;

use crate::harness::{
    Link, Node, Proxy, TestDatabase,
    command::{Ran, freshet},
    database,
    node::{SOON, config},
    until,
};

async fn probe(node: &Node) -> u16 {
    let url = format!("http://{}/readyz", node.operations());
    reqwest::get(url).await.expect("an answer").status().as_u16()
}

/// The server processes behind the probes' connections.
async fn backends(database: &TestDatabase) -> Vec<i32> {
    let pids = "SELECT coalesce(array_agg(pid), '{}') FROM pg_stat_activity \
                WHERE datname = current_database() AND application_name = 'freshet readiness'";
    database.value(pids).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn probes_share_one_connection_which_is_opened_anew_when_it_is_lost() {
    let database = database().await;
    let node = Node::over(&database.url(), config()).await;
    assert!(join_all((0..40).map(|_| probe(&node))).await.iter().all(|status| *status == 200));
    let first = backends(&database).await;
    assert_eq!(first.len(), 1);
    for _ in 0..10 {
        assert_eq!(probe(&node).await, 200);
    }
    assert_eq!(backends(&database).await, first, "a probe opened a connection");
    database.run(&format!("SELECT pg_terminate_backend({})", first[0])).await;
    until("the connection is gone", async || backends(&database).await.is_empty()).await;
    assert_eq!(probe(&node).await, 200, "the server is there");
    let second = backends(&database).await;
    assert!(second.len() == 1 && second != first, "{second:?}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_says_nothing_is_not_waited_for_and_found_again() {
    let database = database().await;
    let proxy = Proxy::to(&database.url()).await;
    let node = Node::over(&proxy.url(), config()).await;
    assert_eq!(probe(&node).await, 200);
    proxy.set_for("readiness", Link::BlackHole);
    let begun = Instant::now();
    assert!(join_all((0..10).map(|_| probe(&node))).await.iter().all(|status| *status == 503));
    assert!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
    proxy.set_for("readiness", Link::Pass);
    until("the node is ready", async || probe(&node).await == 200).await;
    node.stop().await;
}

async fn ready(arguments: &[&str]) -> Ran {
    let arguments: Vec<_> = ["ready"].iter().chain(arguments).map(|argument| (*argument).to_owned()).collect();
    let run = move || freshet(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    spawn_blocking(run).await.expect("ran")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_command_exits_with_0_while_the_node_is_ready_and_else_says_why_not() {
    let database = database().await;
    let proxy = Proxy::to(&database.url()).await;
    let node = Node::over(&proxy.url(), config()).await;
    let operations = node.operations().to_string();
    let said = ready(&["--node", &operations]).await;
    said.says(0, &[&format!("{operations} is ready")]);
    proxy.set(Link::BlackHole);
    until("it is not ready", async || probe(&node).await == 503).await;
    let refused = ready(&["--node", &operations]).await;
    refused.says(1, &["is not ready: store failed: ", &format!("clients should not be sent to {operations}")]);
    let told = ready(&["--node", &operations, "--format", "json"]).await.json();
    assert_eq!((&told["node"], &told["state"]), (&json!(operations), &json!("not_ready")));
    assert!(told["failed"][0].as_str().is_some_and(|failed| failed.starts_with("store failed: ")), "{told}");
    proxy.set(Link::Pass);
    until("it is ready", async || probe(&node).await == 200).await;
    ready(&["--node", &operations]).await.says(0, &["is ready"]);
    // Others than the operations listener of a node.
    ready(&["--node", &node.address().to_string()]).await.says(69, &["this is the address of clients"]);
    node.stop().await;
    ready(&["--node", &operations]).await.says(69, &["no answer from", &operations]);
}
