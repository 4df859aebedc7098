//! Databases that come late, come twice, or give a shard away.

use std::time::{Duration, Instant};

use freshet::{record::DatabaseId, tiers::freshness::Verdict};
use serde_json::json;

use crate::{
    databases::{MODULUS, half, keys, named, pair, probe, shard},
    harness::{
        Link, Node, Proxy, Socket,
        node::{SOON, config},
        until,
    },
};

/// How long a node waits at the start for one of several databases.
const START_LIMIT: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_says_nothing_at_the_start_delays_the_others_by_seconds() {
    let pair = pair().await;
    let proxy = Proxy::to(&pair[0].url()).await;
    proxy.set(Link::BlackHole);
    let begun = Instant::now();
    let node = Node::over_some(vec![named("low", proxy.url()), named("high", pair[1].url())], config()).await;
    until("the other is served", async || node.tiers().freshness_of(DatabaseId(1)).verdict() == Verdict::Fresh).await;
    assert!(begun.elapsed() < START_LIMIT + SOON, "it took {:?}", begun.elapsed());
    let [low, high] = keys(&node, 1);
    let mut socket = Socket::open(&node).await;
    let value = json!({"name": "x", "price": 1});
    socket.ok("put", json!(["products", high[0], value])).await;
    let begun = Instant::now();
    let refused = socket.refused("put", json!(["products", low[0], value])).await;
    assert!(refused["code"] == -32010 && begun.elapsed() < SOON, "{refused} after {:?}", begun.elapsed());
    proxy.set(Link::Pass);
    until("it is taken in", async || probe(&node).await == (200, "ready\n".into())).await;
    socket.ok("put", json!(["products", low[0], value])).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_name_of_a_database_that_comes_late_is_not_served() {
    let pair = pair().await;
    let proxy = Proxy::to(&pair[0].url()).await;
    proxy.set(Link::Cut);
    let databases = vec![named("low", pair[0].url()), named("high", pair[1].url()), named("twin", proxy.url())];
    let node = Node::over_some(databases, config()).await;
    proxy.set(Link::Pass);
    until("it is refused by name", async || probe(&node).await.1.contains("tell [[database]] low from twin")).await;
    // Its shards have one owner still.
    let [low, high] = keys(&node, 20);
    let mut socket = Socket::open(&node).await;
    for key in [low, high].concat() {
        socket.ok("put", json!(["products", key, {"name": "x", "price": 1}])).await;
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_changes_hands_is_not_served_from_its_new_place_until_nodes_start_again() {
    let pair = pair().await;
    let databases = || vec![named("low", pair[0].url()), named("high", pair[1].url())];
    let node = Node::over_all(databases(), config()).await;
    let [low, high] = keys(&node, 100);
    let moved = high.iter().find(|key| shard(&node, key).0 == 4).expect("one of many");
    let mut socket = Socket::open(&node).await;
    let value = json!({"name": "x", "price": 1});
    for key in [&low[0], moved] {
        socket.ok("put", json!(["products", key, value])).await;
    }
    // As somebody would who moves a shard by hand: the row goes with its version counted anew.
    pair[1].run("DROP TABLE products_004; DELETE FROM feed.shard_state WHERE shard = 4").await;
    pair[0].run(&format!("SELECT freshet.create_shards('products', {MODULUS}, ARRAY[4])")).await;
    pair[0].run(&format!("INSERT INTO products (sku, name, price) VALUES ('{moved}', 'x', 2)")).await;
    until("the shard is refused by name", async || {
        let answer = socket.call("put", json!(["products", moved, value])).await;
        answer["error"]["data"]["shard"] == 4
    })
    .await;
    // What is watched or cached here has the versions of the first database: the second one's never mix with them.
    for _ in 0..20 {
        let answer = socket.call("get", json!(["products", moved])).await;
        assert_ne!(answer["result"]["value"]["price"], 2, "{answer}");
        socket.ok("put", json!(["products", low[0], value])).await;
    }
    let later = Node::over_all(databases(), config()).await;
    let read = Socket::open(&later).await.ok("get", json!(["products", moved])).await;
    assert_eq!(read["value"]["price"], 2, "{read}");
    later.stop().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_in_dispute_is_refused_and_its_watchers_keep_what_they_saw() {
    let pair = [half("0,1,2,3").await, half("4,5,6,7").await];
    let node = Node::over_all(vec![named("low", pair[0].url()), named("high", pair[1].url())], config()).await;
    let [_, high] = keys(&node, 100);
    let disputed = high.iter().find(|key| shard(&node, key).0 == 4).expect("one of many");
    let mut socket = Socket::open(&node).await;
    socket.ok("put", json!(["products", disputed, {"name": "x", "price": 1}])).await;
    pair[0].run(&format!("SELECT freshet.create_shards('products', {MODULUS}, ARRAY[4])")).await;
    // A node learns of it when it has to ask; another that starts now asks at once.
    let later = Node::over_all(vec![named("low", pair[0].url()), named("high", pair[1].url())], config()).await;
    let mut socket = Socket::open(&later).await;
    for (method, params) in [
        ("get", json!(["products", disputed])),
        ("put", json!(["products", disputed, {"name": "x", "price": 2}])),
        ("patch", json!({"collection": "products", "key": disputed, "increment": {"stock": 1}})),
        ("delete", json!(["products", disputed])),
    ] {
        let refused = socket.refused(method, params).await;
        assert_eq!((&refused["code"], &refused["data"]["shard"]), (&json!(-32010), &json!(4)), "{method}: {refused}");
    }
    let prices: Vec<i64> =
        sqlx::query_scalar("SELECT price FROM products").fetch_all(pair[1].pool()).await.expect("rows");
    assert_eq!(prices, [1], "nothing was written");
    later.stop().await;
    node.stop().await;
}
