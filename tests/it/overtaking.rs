//! Pushes and answers of one connection: a push may overtake an answer, and the stamps tell which state is the newer.

use std::time::Duration;

use freshet::service::Conditions;
use serde_json::json;

use crate::harness::{Kind, Link, Node, Proxy, Socket, database, node::config, until};

async fn put(node: &Node, key: &str, price: u64) -> String {
    let id = node.service().record("products", key).expect("a key");
    let value = json!({"name": "MUG", "price": price}).to_string();
    node.service().put(id, &value, Conditions::default()).await.expect("put").stamp.to_string()
}

#[tokio::test]
async fn a_push_may_overtake_the_answer_of_a_batch_and_has_the_higher_version() {
    let database = database().await;
    database.run("INSERT INTO products (sku, name, price) VALUES ('cold', 'MUG', 1)").await;
    let proxy = Proxy::to(&database.url()).await;
    let mut config = config();
    config.tiers.filter.enabled = false; // Its builds read, too.
    let node = Node::over(&proxy.url(), config).await;
    let old = put(&node, "a", 1).await;
    let mut socket = Socket::open(&node).await;
    socket.ok("subscribe", json!(["products", "a"])).await;
    assert_eq!(socket.push().await["stamp"], old);
    // A read connection is open from here on: opening one takes many delays.
    socket.ok("get", json!(["products", "absent"])).await;
    proxy.set_for("reads", Link::Delay(Duration::from_millis(700)));
    let reads = node.metric("freshet_tiers_store_reads_total").await;
    let get = |id: u32, key: &str| json!({"jsonrpc": "2.0", "id": id, "method": "get", "params": ["products", key]});
    socket.send(json!([get(1, "a"), get(2, "cold")]).to_string()).await;
    until("the batch reads the store", async || node.metric("freshet_tiers_store_reads_total").await > reads).await;
    let new = put(&node, "a", 2).await;
    assert_eq!(socket.push().await["stamp"], new, "the push does not wait for the batch");
    let answers = socket.text().await;
    assert_eq!(answers[1]["result"]["value"]["price"], 1);
    assert_eq!(answers[0]["result"]["stamp"], old, "it was read before the write");
    proxy.set(Link::Pass);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_after_a_push_is_never_answered_with_an_older_state() {
    for kind in [Kind::Memory, Kind::Postgres] {
        let node = Node::start(kind).await;
        put(&node, "a", 0).await;
        let mut socket = Socket::open(&node).await;
        socket.ok("subscribe", json!(["products", "a"])).await;
        let writing = async {
            for price in 1..=200 {
                put(&node, "a", price).await;
            }
        };
        let reading = async {
            let mut seen = 0;
            while seen < 200 {
                let pushed = socket.push().await;
                seen = pushed["value"]["price"].as_u64().expect("a price");
                let read = socket.ok("get", json!(["products", "a"])).await;
                assert!(read["version"].as_u64() >= pushed["version"].as_u64(), "{read} after {pushed}");
            }
        };
        tokio::join!(writing, reading);
        node.stop().await;
    }
}
