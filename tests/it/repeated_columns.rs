//! A column that has two values in one write is refused and named, whichever way the write comes.

use serde_json::{Value, json};

use crate::harness::{Node, Socket, both};

const TWICE: &str = r#"{"name":"MUG","price":1,"price":2}"#;
/// The same name, spelt in another way.
const ESCAPED: &str = r#"{"name":"MUG","price":1,"pric\u0065":2}"#;

fn request(id: u32, method: &str, key: &str, value: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":["products","{key}",{value}]}}"#)
}

fn names_price(error: &Value) {
    assert_eq!((&error["code"], &error["data"]["column"]), (&json!(-32005), &json!("price")), "{error}");
    assert!(error["message"].as_str().is_some_and(|message| message.contains("given twice")), "{error}");
}

both! {
async fn a_column_given_twice_is_refused_and_changes_nothing(kind) {
    let node = Node::start(kind).await;
    let mut socket = Socket::open(&node).await;
    let before = socket.ok("put", json!(["products", "a", {"name": "CUP", "price": 7}])).await;
    for (method, value) in [("put", TWICE), ("patch", TWICE), ("put", ESCAPED), ("patch", r#"{"price":1,"price":1}"#)] {
        socket.send(request(1, method, "a", value)).await;
        names_price(&socket.text().await["error"]);
    }
    let http = reqwest::Client::new();
    for method in [reqwest::Method::PUT, reqwest::Method::PATCH] {
        let sent = http.request(method, node.http("/v1/products/a")).header("content-type", "application/json").body(TWICE);
        let answer = sent.send().await.expect("answered");
        assert_eq!(answer.status(), 422);
        names_price(&answer.json::<Value>().await.expect("JSON")["error"]);
    }
    let read = socket.ok("get", json!(["products", "a"])).await;
    assert_eq!((&read["stamp"], &read["value"]["price"]), (&before["stamp"], &json!(7)));
    node.stop().await;
}

async fn in_a_batch_its_neighbours_are_written(kind) {
    let node = Node::start(kind).await;
    let mut socket = Socket::open(&node).await;
    let good = r#"{"name":"MUG","price":3}"#;
    let batch =
        [request(1, "put", "a", good), request(2, "put", "b", TWICE), request(3, "patch", "a", TWICE), request(4, "put", "c", good)];
    let batch = format!("[{}]", batch.join(","));
    socket.send(&*batch).await;
    let over_http = reqwest::Client::new().post(node.http("/v1/rpc")).header("content-type", "application/json").body(batch);
    let over_http = over_http.send().await.expect("answered").json().await.expect("JSON");
    for answers in [socket.text().await, over_http] {
        let of = |id: u32| answers.as_array().and_then(|all| all.iter().find(|answer| answer["id"] == id)).expect("an answer");
        assert!(of(1)["result"]["stamp"].is_string() && of(4)["result"]["stamp"].is_string(), "{answers}");
        names_price(&of(2)["error"]);
        names_price(&of(3)["error"]);
    }
    assert_eq!(socket.ok("get", json!(["products", "b"])).await["value"], Value::Null);
    node.stop().await;
}

async fn within_a_json_column_names_may_repeat(kind) {
    let node = Node::start(kind).await;
    let mut socket = Socket::open(&node).await;
    let attributes = r#"{"a":1,"a":2}"#;
    socket.send(request(1, "put", "a", &format!(r#"{{"name":"MUG","price":1,"attributes":{attributes}}}"#))).await;
    assert!(socket.text().await["result"]["stamp"].is_string());
    node.stop().await;
}
}
