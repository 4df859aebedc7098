//! Subscriptions and streams that begin while some of their keys cannot be read.

use std::{collections::HashSet, time::Instant};

use serde_json::json;
use sqlx::{Executor as _, PgConnection};

use crate::harness::{
    Events, Node, Socket, TestDatabase, database,
    node::{SOON, config},
};

/// A node over products that were there before it.
struct Opening {
    database: TestDatabase,
    node: Node,
    /// Keys of partition 17, which is locked until `session` ends.
    locked: Vec<String>,
    /// Keys of another partition.
    free: Vec<String>,
    session: PgConnection,
}

/// So many keys of each kind.
async fn start(locked: usize, free: usize) -> Opening {
    let database = database().await;
    database
        .run("INSERT INTO products (sku, name, price) SELECT 'k' || n, 'x', 1 FROM generate_series(1, 12000) n")
        .await;
    let keys = async |from: &str, count: usize| -> Vec<String> {
        database.value(&format!("SELECT array_agg(sku) FROM (SELECT sku FROM {from} LIMIT {count}) k")).await
    };
    let (locked, free) = (keys("products_017", locked).await, keys("products_018", free).await);
    let mut session = database.connect().await;
    session.execute("BEGIN; LOCK TABLE products_017 IN ACCESS EXCLUSIVE MODE").await.expect("lock");
    let node = Node::over(&database.url(), config()).await;
    Opening { database, node, locked, free, session }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_cannot_be_read_keep_no_others_of_their_subscription() {
    let Opening { database, node, locked, free, mut session } = start(100, 100).await;
    let mut watcher = Socket::open(&node).await;
    let keys = [&locked[..], &free[..]].concat();
    watcher.ok("subscribe", json!({"collection": "products", "keys": keys})).await;
    let begun = Instant::now();
    let mut seen = HashSet::new();
    while seen.len() < free.len() {
        let key = watcher.push().await["key"].as_str().map(str::to_owned).expect("a key");
        assert!(free.contains(&key) && seen.insert(key));
    }
    // Their changes come as well.
    database.run(&format!("UPDATE products SET stock = 7 WHERE sku = '{}'", free[0])).await;
    let pushed = watcher.push().await;
    assert_eq!((pushed["key"].as_str(), &pushed["value"]["stock"]), (Some(&*free[0]), &json!(7)));
    assert!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());

    session.execute("COMMIT").await.expect("unlock");
    let mut late = HashSet::new();
    while late.len() < locked.len() {
        late.insert(watcher.push().await["key"].as_str().map(str::to_owned));
    }
    assert!(locked.iter().all(|key| late.contains(&Some(key.clone()))));
    node.stop().await;
}

/// The first subscription has every place in which a connection reads snapshots.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_cannot_be_read_keep_no_other_subscription() {
    let Opening { database: _database, node, locked, free, session: _session } = start(120, 100).await;
    let mut watcher = Socket::open(&node).await;
    let (first, second) = locked.split_at(64);
    watcher.ok("subscribe", json!({"collection": "products", "keys": first})).await;
    let begun = Instant::now();
    let second = [second, &free].concat();
    watcher.ok("subscribe", json!({"collection": "products", "keys": second})).await;
    let mut seen = HashSet::new();
    while seen.len() < free.len() {
        let key = watcher.push().await["key"].as_str().map(str::to_owned).expect("a key");
        assert!(free.contains(&key) && seen.insert(key));
    }
    assert!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_cannot_be_read_keep_no_other_subscription_of_their_batch() {
    let Opening { database: _database, node, locked, free, session: _session } = start(20, 20).await;
    let mut watcher = Socket::open(&node).await;
    let subscribe = |(id, key): (usize, &String)| json!({"jsonrpc": "2.0", "id": id, "method": "subscribe", "params": ["products", key]});
    let batch: Vec<_> = locked.iter().chain(&free).enumerate().map(subscribe).collect();
    let begun = Instant::now();
    watcher.send(json!(batch).to_string()).await;
    assert_eq!(watcher.text().await.as_array().map(Vec::len), Some(40), "the answer comes before any snapshot");
    let mut seen = HashSet::new();
    while seen.len() < free.len() {
        let key = watcher.push().await["key"].as_str().map(str::to_owned).expect("a key");
        assert!(free.contains(&key) && seen.insert(key));
    }
    assert!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_cannot_be_read_keep_no_others_of_their_stream() {
    let Opening { database, node, locked, free, mut session } = start(60, 40).await;
    let keys = [&locked[..], &free[..]].concat().iter().map(|key| format!("key={key}")).collect::<Vec<_>>().join("&");
    let mut stream = Events::open(&node, &format!("/v1/products?{keys}"), "").await;
    let begun = Instant::now();
    let mut seen = HashSet::new();
    while seen.len() < free.len() {
        let key = stream.next().await.1["key"].as_str().map(str::to_owned).expect("a key");
        assert!(free.contains(&key) && seen.insert(key));
    }
    database.run(&format!("UPDATE products SET stock = 7 WHERE sku = '{}'", free[0])).await;
    let (_, event) = stream.next().await;
    assert_eq!((event["key"].as_str(), &event["value"]["stock"]), (Some(&*free[0]), &json!(7)));
    assert!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());

    session.execute("COMMIT").await.expect("unlock");
    let mut late = HashSet::new();
    while late.len() < locked.len() {
        late.insert(stream.next().await.1["key"].as_str().map(str::to_owned));
    }
    drop(stream);
    node.stop().await;
}
