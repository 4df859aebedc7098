//! What a node says of Redis to operators.

use serde_json::Value;

use super::{node, with_redis};
use crate::harness::{Kind, Node, Redis, database, node as nodes, until, within};

async fn checks(node: &Node) -> (u16, String) {
    let answer = reqwest::get(format!("http://{}/readyz?verbose", node.operations())).await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("text"))
}

/// The first snapshot of `/v1/stats/events`.
async fn statistics(node: &Node) -> Value {
    let url = format!("http://{}/v1/stats/events", node.operations());
    let mut response = within("the head", reqwest::get(url)).await.expect("an answer");
    let mut text = String::new();
    loop {
        let data = text.lines().find_map(|line| line.strip_prefix("data: ").filter(|_| text.ends_with("\n\n")));
        if let Some(data) = data {
            return serde_json::from_str(data).expect("JSON");
        }
        let chunk = within("an event", response.chunk()).await.expect("a stream").expect("which goes on");
        text.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn redis_that_says_nothing_degrades_a_node_and_takes_no_client_from_it() {
    let (database, redis) = (database().await, Redis::start().await);
    let node = node(&database, with_redis(&redis.url())).await;
    let other = Node::over(&database.url(), with_redis(&redis.url())).await;
    until("who keeps the database is told", async || {
        let (first, second) = (checks(&node).await.1, checks(&other).await.1);
        first.contains("redis ok: in use for ")
            && first.contains("main is kept by this node, ")
            && second.contains("main is kept by another node, ")
            && first.ends_with("\nready\n")
            && second.ends_with("\nready\n")
    })
    .await;
    redis.freeze();
    until("the node is degraded", async || {
        let (status, said) = checks(&node).await;
        assert_eq!(status, 200, "{said}");
        said.contains("redis failed: not in use for ") && said.ends_with("\ndegraded\n")
    })
    .await;
    assert_eq!(node.metric("freshet_shared_open").await, 0.0);
    redis.thaw();
    until("the node is ready", async || checks(&node).await.1.ends_with("\nready\n")).await;
    assert_eq!(node.metric("freshet_shared_open").await, 1.0);
    assert!(node.metrics().where_label("freshet_shared_operations_total", "outcome", "late") > 0);
    node.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn statistics_tell_of_redis_only_where_there_is_one() {
    let (database, redis) = (database().await, Redis::start().await);
    let (with, without) =
        (node(&database, with_redis(&redis.url())).await, Node::over(&database.url(), nodes::config()).await);
    let told = statistics(&with).await["redis"].clone();
    assert_eq!((&told["open"], &told["databases"][0]["name"]), (&true.into(), &"main".into()), "{told}");
    for (count, expected) in [("slices", 1), ("usable", 1), ("kept_here", 1)] {
        assert_eq!(told["databases"][0][count], expected, "{told}");
    }
    assert!(told["databases"][0]["behind_ms"].as_u64().is_some_and(|behind| behind < 5_000), "{told}");
    assert_eq!(statistics(&without).await["redis"], Value::Null);
    assert!(!checks(&without).await.1.contains("redis"));
    with.stop().await;
    without.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn records_in_memory_go_without_the_redis_of_the_configuration() {
    let redis = Redis::start().await;
    let node = Node::start_with(Kind::Memory, with_redis(&redis.url())).await;
    assert!(checks(&node).await.1.ends_with("\nready\n"));
    assert_eq!(statistics(&node).await["redis"], Value::Null);
    node.stop().await;
}
