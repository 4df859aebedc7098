//! One connection: every request is answered once, in the shape it was asked in, and never without bound.

use std::{collections::HashSet, time::Duration};

use serde_json::{Value, json};

use crate::harness::{
    Kind, Node, Raw, Socket, both,
    node::config,
    raw::{PONG, TEXT, masked, request},
    until,
};

fn put(key: &str, name: &str) -> Value {
    json!({"collection": "products", "key": key, "value": {"name": name, "price": 1}})
}

both! {
async fn pipelined_gets_are_all_answered(kind) {
    let node = Node::start(kind).await;
    let mut raw = Raw::open(&node).await;
    for key in 0..10 {
        raw.request(key, "put", &put(&format!("k{key}"), "n")).await;
        raw.value().await;
    }
    let requests: Vec<u8> = (0..5_000)
        .flat_map(|id| masked(TEXT, request(id, "get", &json!(["products", format!("k{}", id % 20)])).as_bytes()))
        .collect();
    raw.send(&requests).await;
    let mut answered = HashSet::new();
    for _ in 0..5_000 {
        let answer = raw.value().await;
        let id = answer["id"].as_u64().expect("an id");
        assert_eq!(answer["result"]["key"], format!("k{}", id % 20));
        assert_eq!(answer["result"]["value"].is_null(), id % 20 >= 10);
        assert!(answered.insert(id), "{id} was answered twice");
    }
    node.stop().await;
}

async fn ids_of_every_shape_come_back_as_they_were_written(kind) {
    let node = Node::start(kind).await;
    let mut raw = Raw::open(&node).await;
    raw.request(1, "put", &put("a", "n")).await;
    raw.value().await;
    for id in ["0", "-1", "1.0e2", "18446744073709551616", "0.10", "\"\"", "\"7\"", r#""a\"\\\u00e9b""#, "\"🫖\"", "null"] {
        for (method, params) in [("get", r#"["products","a"]"#), ("freshet_get", r#"{"key":"a","collection":"products"}"#), ("nope", "[]")] {
            raw.send_text(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#)).await;
            let answer = raw.text().await;
            assert!(answer.starts_with(&format!(r#"{{"jsonrpc":"2.0","id":{id},""#)), "{answer}");
            assert_eq!(answer.contains("\"error\""), method == "nope", "{answer}");
        }
    }
    node.stop().await;
}

async fn notifications_are_carried_out_and_not_answered(kind) {
    let node = Node::start(kind).await;
    let mut raw = Raw::open(&node).await;
    raw.request(1, "subscribe", &json!(["products", "quiet"])).await;
    raw.value().await;
    raw.value().await;
    raw.send_text(&json!({"jsonrpc": "2.0", "method": "put", "params": put("quiet", "n")}).to_string()).await;
    raw.send_text(r#"{"jsonrpc":"2.0","method":"nope"}"#).await;
    // Refused before they reach the store, and by it.
    raw.send_text(r#"{"jsonrpc":"2.0","method":"put","params":["products"]}"#).await;
    raw.send_text(r#"{"jsonrpc":"2.0","method":"get","params":["readings","seven"]}"#).await;
    raw.send_text(r#"{"jsonrpc":"2.0","method":"patch","params":["products","quiet",{"price":-1}]}"#).await;
    raw.send_text(r#"{"jsonrpc":"2.0","method":"get","params":["products","quiet"]}"#).await;
    assert_eq!(raw.value().await["params"]["result"]["value"]["name"], "n", "the only thing sent is the push");
    raw.request(2, "get", &json!(["products", "quiet"])).await;
    assert_eq!(raw.value().await["id"], 2);
    node.stop().await;
}

async fn a_batch_is_answered_as_one_and_its_snapshots_follow(kind) {
    let node = Node::start(kind).await;
    let mut socket = Socket::open(&node).await;
    let call = |id: u64, method: &str, params: Value| json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
    socket.send(json!([
        call(1, "subscribe", json!(["products", "a"])), call(2, "freshet_subscribe", json!({"collection": "products", "key": "b"})),
        call(3, "get", json!(["products", "c"])),
    ]).to_string()).await;
    let answers = socket.text().await;
    let ids: Vec<_> = answers.as_array().expect("a batch").iter().map(|answer| answer["id"].clone()).collect();
    assert_eq!(ids, [1, 2, 3]);
    let keys = HashSet::from([socket.push().await["key"].to_string(), socket.push().await["key"].to_string()]);
    assert_eq!(keys, HashSet::from(["\"a\"".to_owned(), "\"b\"".to_owned()]));
    node.stop().await;
}

async fn requests_beyond_the_limit_wait_and_are_all_answered(kind) {
    let mut config = config();
    config.session.requests_max = 4;
    let node = Node::start_with(kind, config).await;
    let mut raw = Raw::open(&node).await;
    let increment = json!({"collection": "products", "key": "k", "increment": {"stock": 1}});
    raw.request(0, "put", &put("k", "n")).await;
    raw.value().await;
    let requests: Vec<u8> = (1..=1_000).flat_map(|id| masked(TEXT, request(id, "patch", &increment).as_bytes())).collect();
    raw.send(&requests).await;
    let mut versions = HashSet::new();
    for _ in 0..1_000 {
        let answer = raw.value().await;
        assert!(versions.insert(answer["result"]["version"].as_u64().unwrap_or_else(|| panic!("{answer}"))));
    }
    raw.request(0, "get", &json!(["products", "k"])).await;
    assert_eq!(raw.value().await["result"]["value"]["stock"], 1_000);
    node.stop().await;
}

async fn a_client_that_left_leaves_nothing_behind(kind) {
    let node = Node::start(kind).await;
    for at in 0..40 {
        let mut raw = Raw::open(&node).await;
        let keys: Vec<_> = (0..50).map(|key| format!("k{key}")).collect();
        raw.request(1, "subscribe", &json!({"collection": "products", "keys": keys})).await;
        raw.request(2, "subscribe", &json!(["products", "a"])).await;
        if at % 2 == 0 {
            raw.send(&masked(crate::harness::raw::CLOSE, &1000_u16.to_be_bytes())).await;
        }
        drop(raw);
    }
    until("nobody is connected", async || node.metric("freshet_session_open").await == 0.0).await;
    until("nobody watches", async || node.metric("freshet_hub_watchers").await == 0.0).await;
    node.stop().await;
}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_one_read_are_begun_up_to_the_limit_only() {
    let mut config = config();
    config.session.requests_max = 4;
    let node = Node::start_with(Kind::Postgres, config).await;
    node.database().run("INSERT INTO products (sku, name, price) VALUES ('held', 'x', 1)").await;
    let mut holder = node.database().connect().await;
    sqlx::raw_sql("BEGIN; UPDATE products SET price = 2").execute(&mut holder).await.expect("hold");
    let mut raw = Raw::open(&node).await;
    let held = json!({"collection": "products", "key": "held", "increment": {"stock": 1}});
    let mut requests: Vec<u8> = (1..=4).flat_map(|id| masked(TEXT, request(id, "patch", &held).as_bytes())).collect();
    requests.extend(masked(TEXT, request(5, "put", &put("behind", "n")).as_bytes()));
    raw.send(&requests).await;
    // On another connection, and begun later: done before the fifth request was begun.
    let mut other = Socket::open(&node).await;
    for at in 0..20 {
        other.ok("put", put(&format!("other{at}"), "n")).await;
    }
    assert_eq!(other.ok("get", json!(["products", "behind"])).await["value"], Value::Null);
    sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.expect("let go");
    let ids: HashSet<_> =
        [raw.value().await, raw.value().await, raw.value().await, raw.value().await, raw.value().await]
            .iter()
            .map(|answer| {
                assert!(answer["result"].is_object(), "{answer}");
                answer["id"].as_u64()
            })
            .collect();
    assert_eq!(ids.len(), 5);
    node.stop().await;
}

/// 600 gets of 256 KiB fit into one read. What is kept for a client that does not read them is bounded all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_pauses_while_answers_are_not_read_and_goes_on_later() {
    const GETS: u64 = 600;
    let node = Node::start(Kind::Memory).await;
    let mut writer = Socket::open(&node).await;
    writer.ok("put", put("big", &"x".repeat(256 * 1024))).await;
    let mut raw = Raw::narrow(&node, 8 * 1024).await;
    let big = json!({"collection": "products", "key": "big"});
    let requests: Vec<u8> = (0..GETS).flat_map(|id| masked(TEXT, request(id, "get", &big).as_bytes())).collect();
    raw.send(&requests).await;
    // Work of others shows that time passed for the node, too.
    for _ in 0..50 {
        writer.ok("get", json!(["products", "nobody"])).await;
    }
    let held = node.metric("freshet_service_answer_bytes").await;
    assert!((1.0..520.0 * 1024.0).contains(&held), "{held} bytes are held");
    let pongs = masked(PONG, &[0; 122]).repeat((16 << 20) / 128);
    assert!(!raw.offer(&pongs, Duration::from_millis(50)).await, "the node still reads");
    let mut answered = HashSet::new();
    for _ in 0..GETS {
        let answer = raw.value().await;
        assert_eq!(answer["result"]["value"]["name"].as_str().map(str::len), Some(256 * 1024));
        answered.insert(answer["id"].as_u64());
    }
    assert_eq!(answered.len() as u64, GETS);
    node.stop().await;
}
