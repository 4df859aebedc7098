//! Records go in and come out on either store, and watchers see each state.

use serde_json::json;

use crate::harness::{Kind, Node, Socket};

async fn a_put_is_read_and_pushed(kind: Kind) {
    let node = Node::start(kind).await;
    let (mut writer, mut watcher) = (Socket::open(&node).await, Socket::open(&node).await);
    let id = watcher.ok("subscribe", json!({"collection": "products", "key": "85123A"})).await;
    assert!(id.is_string(), "{id}");
    let snapshot = watcher.push().await;
    assert_eq!(snapshot["value"], json!(null));

    let value = json!({"name": "WHITE HANGING HEART T-LIGHT HOLDER", "price": 295, "stock": 41});
    let written = writer.ok("put", json!({"collection": "products", "key": "85123A", "value": value})).await;
    let pushed = watcher.push().await;
    assert_eq!((&pushed["stamp"], &pushed["value"]["stock"]), (&written["stamp"], &json!(41)));

    let read = writer.ok("get", json!(["products", "85123A"])).await;
    assert_eq!(read, pushed);
    node.stop().await;
}

#[tokio::test]
async fn a_put_is_read_and_pushed_on_postgres() {
    a_put_is_read_and_pushed(Kind::Postgres).await;
}

#[tokio::test]
async fn a_put_is_read_and_pushed_in_memory() {
    a_put_is_read_and_pushed(Kind::Memory).await;
}

#[tokio::test]
async fn a_write_by_psql_reaches_its_subscriber() {
    let node = Node::start(Kind::Postgres).await;
    let mut watcher = Socket::open(&node).await;
    watcher.ok("subscribe", json!({"collection": "products", "keys": ["A1", "A2"]})).await;
    watcher.push().await;
    watcher.push().await;
    node.database().run("INSERT INTO products (sku, name, price, stock) VALUES ('A1', 'one', 1, 1)").await;
    assert_eq!(watcher.push().await["value"]["stock"], 1);
    node.database().run("UPDATE products SET stock = 2 WHERE sku = 'A1'").await;
    assert_eq!(watcher.push().await["value"]["stock"], 2);
    node.database().run("DELETE FROM products").await;
    assert_eq!(watcher.push().await["value"], json!(null));
    node.stop().await;
}
