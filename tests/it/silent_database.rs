//! A database that falls silent, or is slow, and clients that ask for its records and for others over one connection.

use std::time::{Duration, Instant};

use freshet::{record::DatabaseId, tiers::freshness::Verdict};
use serde_json::{Value, json};

use crate::{
    databases::{keys, named, pair},
    harness::{
        Link, Node, Proxy, Socket,
        node::{SOON, config},
        until,
    },
};

/// More than a connection may have under way.
const REQUESTS: usize = 600;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_for_a_silent_database_do_not_keep_those_behind_them_waiting() {
    let pair = pair().await;
    let proxy = Proxy::to(&pair[1].url()).await;
    let node = Node::over_all(vec![named("low", pair[0].url()), named("high", proxy.url())], config()).await;
    let [low, high] = keys(&node, REQUESTS);
    for (database, key) in pair.iter().zip([&low[0], &high[0]]) {
        database.run(&format!("INSERT INTO products (sku, name, price) VALUES ('{key}', 'x', 1)")).await;
    }
    proxy.set(Link::BlackHole);
    until("it is known to be silent", async || node.tiers().freshness_of(DatabaseId(1)).verdict() != Verdict::Fresh)
        .await;
    let mut socket = Socket::open(&node).await;
    let begun = Instant::now();
    for (id, key) in (1..).zip(&high) {
        socket.send(get(id, key)).await;
    }
    socket.send(get(0, &low[0])).await;
    let mut refused = 0;
    loop {
        let answer = socket.text().await;
        if answer["id"] == 0 {
            assert_eq!(answer["result"]["value"]["price"], 1, "{answer}");
            break;
        }
        assert_eq!(answer["error"]["code"], -32010, "{answer}");
        refused += 1;
    }
    assert!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
    assert!(refused >= REQUESTS - 256, "{refused}");
    let begun = Instant::now();
    let put = json!(["products", high[0], {"name": "x", "price": 2}]);
    until("a write is refused at once", async || {
        let begun = Instant::now();
        socket.call("put", put.clone()).await["error"]["code"] == -32010 && begun.elapsed() < SOON
    })
    .await;
    assert!(begun.elapsed() < SOON);
    // The first answer lets all pass.
    proxy.set(Link::Pass);
    until("it answers again", async || socket.call("get", json!(["products", high[0]])).await.get("result").is_some())
        .await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_to_a_slow_database_do_not_keep_those_behind_them_waiting() {
    let pair = pair().await;
    let proxy = Proxy::to(&pair[1].url()).await;
    let mut config = config();
    config.tiers.filter.enabled = false;
    let node = Node::over_all(vec![named("low", pair[0].url()), named("high", proxy.url())], config).await;
    let [low, high] = keys(&node, 4_000);
    pair[0].run(&format!("INSERT INTO products (sku, name, price) VALUES ('{}', 'x', 1)", low[0])).await;
    // The database answers, a second late: each snapshot is tried in vain before it gets more time.
    proxy.set_for("reads", Link::Delay(Duration::from_secs(1)));
    let mut socket = Socket::open(&node).await;
    for keys in high.chunks(10) {
        socket.ok("subscribe", json!({"collection": "products", "keys": keys})).await;
    }
    let begun = Instant::now();
    socket.ok("subscribe", json!({"collection": "products", "keys": [low[0]]})).await;
    while socket.push().await["key"] != json!(low[0]) {}
    assert!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
    node.stop().await;
}

fn get(id: usize, key: &str) -> String {
    Value::to_string(&json!({"jsonrpc": "2.0", "id": id, "method": "get", "params": ["products", key]}))
}
