//! What is answered while a server is away.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{all_asked, node_without_cache, put};
use crate::harness::{Replicated, Socket, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_primary_replicas_answer_with_the_age_and_writes_are_refused() {
    let mut servers = Replicated::start(1, &[]).await;
    let node = node_without_cache(&servers, 1).await;
    let mut socket = Socket::open(&node).await;
    let keys: Vec<String> = (0..50).map(|n| format!("k{n}")).collect();
    for key in &keys {
        put(&mut socket, key, 7).await;
    }
    servers.wait_for_replay(0).await;
    servers.kill_primary().await;
    let killed = Instant::now();
    until("answers say their age", async || {
        let read = socket.ok("get", json!(["products", "k1"])).await;
        read.get("stale_ms").is_some()
    })
    .await;
    for key in &keys {
        let away = killed.elapsed();
        let read = socket.ok("get", json!(["products", key])).await;
        assert_eq!(read["value"]["price"], json!(7), "{read}");
        let age = Duration::from_millis(read["stale_ms"].as_u64().expect("an age"));
        assert!(age >= away, "{read} {away:?} after the primary was killed");
    }
    let refused = socket.refused("put", json!(["products", "k1", {"name": "x", "price": 8}])).await;
    assert_eq!(refused["data"]["reason"], "unavailable", "{refused}");
    servers.start_primary().await;
    until("writes are taken again", async || {
        socket.call("put", json!(["products", "k1", {"name": "x", "price": 9}])).await.get("result").is_some()
    })
    .await;
    until("answers are proven again", async || {
        let read = socket.ok("get", json!(["products", "k2"])).await;
        read.get("stale_ms").is_none()
    })
    .await;
    node.stop().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_killed_or_stopped_costs_no_answer() {
    let mut servers = Replicated::start(2, &[]).await;
    let node = node_without_cache(&servers, 2).await;
    let mut socket = Socket::open(&node).await;
    let keys: Vec<String> = (0..200).map(|n| format!("k{n}")).collect();
    for key in &keys {
        put(&mut socket, key, 7).await;
    }
    for standby in 0..2 {
        servers.wait_for_replay(standby).await;
    }
    servers.kill_standby(0).await;
    for key in &keys {
        let read = socket.ok("get", json!(["products", key])).await;
        assert_eq!((&read["value"]["price"], read.get("stale_ms")), (&json!(7), None), "{read}");
    }
    all_asked(&node, 1).await;
    servers.freeze_standby(1);
    for key in &keys {
        let read = socket.ok("get", json!(["products", key])).await;
        assert_eq!((&read["value"]["price"], read.get("stale_ms")), (&json!(7), None), "{read}");
    }
    all_asked(&node, 0).await;
    servers.thaw_standby(1);
    servers.start_standby(0).await;
    all_asked(&node, 2).await;
    node.stop().await;
    servers.stop().await;
}
