//! What a list refuses, and in what words.

use serde_json::{Value, json};

use super::page;
use crate::harness::{Kind, Node, Socket};

async fn http(node: &Node, path: &str) -> (u16, String, String) {
    let answer = reqwest::get(node.http(path)).await.expect("answered");
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.expect("JSON");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (status, text(&body["error"]["data"]["reason"]), text(&body["error"]["message"]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_named_over_both_doors() {
    let node = Node::start(Kind::Memory).await;
    let mut socket = Socket::open(&node).await;
    for key in ["a1", "a2", "b1"] {
        socket.ok("put", json!(["products", key, {"name": "x", "price": 1}])).await;
    }
    let (_, cursor) = page(&mut socket, json!({"collection": "products", "prefix": "a", "limit": 1})).await;
    let cursor = cursor.expect("there is another");
    for (params, query, status, reason, says) in [
        (
            json!({"limit": 0}),
            "limit=0".to_owned(),
            400,
            "invalid_params",
            "\"limit\" must be a whole number from 1 on",
        ),
        (json!({"limit": -3}), "limit=-3".into(), 400, "invalid_params", "from 1 on"),
        (json!({"limit": 1001}), "limit=1001".into(), 413, "too_large", "1001 is more than the limit of 1000"),
        (json!({"prefix": "a\0"}), "prefix=a%00".into(), 400, "invalid_key", "NUL"),
        (
            json!({"prefix": "x".repeat(2000)}),
            format!("prefix={}", "x".repeat(2000)),
            400,
            "invalid_key",
            "at most 1024",
        ),
        (json!({"cursor": "x"}), "cursor=x".into(), 400, "cursor", "none of this list"),
        (json!({"cursor": ""}), "cursor=".into(), 400, "cursor", "as the page before has it"),
        (json!({"cursor": cursor}), format!("cursor={cursor}"), 400, "cursor", "same collection and prefix"),
        (
            json!({"cursor": cursor, "prefix": "b"}),
            format!("cursor={cursor}&prefix=b"),
            400,
            "cursor",
            "none of this list",
        ),
    ] {
        let mut params = params;
        params["collection"] = json!("products");
        let refused = socket.refused("list", params.clone()).await;
        assert_eq!(refused["data"]["reason"], reason, "{refused}");
        assert!(refused["message"].as_str().is_some_and(|message| message.contains(says)), "{refused}");
        let (got, why, message) = http(&node, &format!("/v1/products?{query}")).await;
        assert_eq!((got, &*why), (status, reason), "{query}: {message}");
        assert!(message.contains(says), "{query}: {message}");
    }
    let refused = socket.refused("list", json!(["readings", "1"])).await;
    assert_eq!((&refused["data"]["reason"], refused["code"].as_i64()), (&json!("prefix"), Some(-32602)), "{refused}");
    assert!(refused["message"].as_str().is_some_and(|message| message.contains("keys are int8")), "{refused}");
    assert_eq!(socket.refused("list", json!(["nothing"])).await["data"]["reason"], "unknown_collection");
    for (path, says) in [
        ("/v1/products?prefix=a&prefix=b", "\"prefix\" comes twice"),
        ("/v1/products?prefix=a&key=a1", "unknown parameter \"prefix\"; there are key"),
        ("/v1/products?min_stamp=1.1", "\"min_stamp\" goes with ?key=.."),
        ("/v1/products?colour=red", "there are prefix, limit and cursor; or key"),
        ("/v1/products?limit=many", "a whole number"),
    ] {
        let (status, _, message) = http(&node, path).await;
        assert!(status == 400 && message.contains(says), "{path}: {status} {message}");
    }
    assert_eq!(http(&node, "/v1/nothing").await.0, 404);
    // The cursor is good where it came from, though its key is gone.
    socket.ok("delete", json!(["products", "a1"])).await;
    let (records, end) = page(&mut socket, json!(["products", "a", null, cursor])).await;
    assert_eq!((super::keys(&records), end), (vec!["a2"], None));
    node.stop().await;
}
