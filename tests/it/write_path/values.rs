//! Values are data, whatever they look like.

use serde_json::json;

use super::node_with_products;
use crate::harness::Socket;

const HOSTILE: [&str; 14] = [
    "'",
    "''; DROP TABLE products; --",
    "\\",
    "\\'",
    "\\\\''\"",
    "{\"a\",NULL}",
    "NULL",
    "null",
    "",
    "$1",
    "$$",
    "line\nbreak\ttab\r",
    "\u{1}\u{7f}\u{2028}",
    "é😀",
];

#[tokio::test]
async fn hostile_texts_come_back_as_they_went() {
    let (node, database) = node_with_products(64, 1).await;
    let mut socket = Socket::open(&node).await;
    for (n, text) in HOSTILE.iter().enumerate() {
        let key = format!("{text}-{n}");
        let value = json!({"name": text, "price": n, "attributes": {"text": text, (*text): [text]}});
        socket.ok("put", json!({"collection": "products", "key": key, "value": value})).await;
        let patch =
            json!({"collection": "products", "key": key, "value": {"currency": text, "attributes": {"more": text}}});
        socket.ok("patch", patch).await;
        let token = json!({"collection": "products", "key": key, "increment": {"stock": 1}, "idempotency_key": format!("t{text}")});
        socket.ok("patch", token.clone()).await;
        socket.ok("patch", token).await;
        let sql = "SELECT sku || '|' || name || '|' || currency || '|' || stock FROM products WHERE price = ";
        let stored = database.value::<String>(&format!("{sql}{n} AND sku <> 'k0'")).await;
        assert_eq!(stored, format!("{key}|{text}|{text}|1"));
        let read = socket.ok("get", json!(["products", key])).await;
        assert_eq!(read["value"]["attributes"]["text"], *text);
        assert_eq!(read["value"]["attributes"]["more"], *text);
        socket.ok("delete", json!(["products", key])).await;
    }
    node.stop().await;
}
