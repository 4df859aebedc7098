//! Server-Sent Events on a real node: every key in order, resumed without loss, ended with a word of farewell.
//!
//! What needs no database (conflation, limits, watchers that leave) is tested beside the code, in
//! `src/gateway/tests/events.rs`; a server killed under a client of Node's, in `tests/js/foreign`.

use std::{collections::HashSet, time::Duration};

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Events, Kind, Node, Socket, both, events::Block, node::config, until, within};

fn http() -> Client {
    Client::builder().no_proxy().build().expect("a client")
}

async fn put(socket: &mut Socket, key: &str, stock: u64) -> String {
    let value = json!({"name": "n", "price": 1, "stock": stock});
    let written = socket.ok("put", json!({"collection": "products", "key": key, "value": value})).await;
    written["stamp"].as_str().expect("a stamp").to_owned()
}

both! {
async fn each_key_begins_with_its_state_and_every_id_names_what_was_sent_of_all(kind) {
    let node = Node::start(kind).await;
    let mut socket = Socket::open(&node).await;
    let a = put(&mut socket, "a", 1).await;
    let mut stream = Events::open(&node, "/v1/products/a/events?key=b", "").await;
    assert_eq!(stream.next().await.1["stamp"], a);
    let (id, absent) = stream.next().await;
    assert_eq!((&absent["key"], &absent["value"]), (&json!("b"), &Value::Null));
    assert_eq!(id, format!("{a},{}", absent["stamp"].as_str().expect("a stamp")));
    let b = put(&mut socket, "b", 2).await;
    assert_eq!(stream.next().await.0, format!("{a},{b}"));
    let gone = socket.ok("delete", json!(["products", "a"])).await;
    let (id, record) = stream.next().await;
    assert_eq!((&record["value"], &record["stamp"]), (&Value::Null, &gone["stamp"]));
    assert_eq!(id, format!("{},{b}", gone["stamp"].as_str().expect("a stamp")));
    let back = put(&mut socket, "a", 3).await;
    let (id, record) = stream.next().await;
    assert!(record["version"].as_u64() > gone["version"].as_u64(), "{record} after {gone}");
    assert_eq!(id, format!("{back},{b}"));
    node.stop().await;
}

async fn a_resumed_stream_begins_with_what_was_missed_and_repeats_absent_keys_only(kind) {
    let node = Node::start(kind).await;
    let mut socket = Socket::open(&node).await;
    put(&mut socket, "a", 1).await;
    put(&mut socket, "b", 1).await;
    let path = "/v1/products?key=a&key=absent&key=b";
    let mut stream = Events::open(&node, path, "").await;
    let (mut last, mut keys) = (String::new(), HashSet::new());
    for _ in 0..3 {
        let (id, record) = stream.next().await;
        keys.insert(record["key"].to_string());
        last = id;
    }
    assert_eq!(keys.len(), 3, "{keys:?}");
    drop(stream);
    put(&mut socket, "b", 2).await;
    let newest = put(&mut socket, "b", 3).await;
    let mut stream = Events::open(&node, path, &last).await;
    let ((first, one), (last, two)) = (stream.next().await, stream.next().await);
    assert_ne!(first, last);
    let (absent, b) = if one["key"] == "b" { (two, one) } else { (one, two) };
    assert_eq!((&absent["key"], &absent["value"]), (&json!("absent"), &Value::Null));
    assert_eq!((&b["key"], &b["stamp"]), (&json!("b"), &json!(newest)));
    drop(stream);
    put(&mut socket, "a", 9).await;
    let mut stream = Events::open(&node, path, &last).await;
    let (_, record) = stream.next().await;
    assert_eq!((&record["key"], &record["value"]["stock"]), (&json!("a"), &json!(9)));
    node.stop().await;
}

async fn a_drained_stream_ends_whole_and_says_when_to_come_back(kind) {
    let mut config = config();
    config.session.reconnect_spread = Duration::from_secs(3);
    let node = Node::start_with(kind, config).await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut stream = Events::open(&node, "/v1/products/a/events", "").await;
        stream.next().await;
        streams.push(stream);
    }
    let stopping = tokio::spawn(node.stop());
    let mut waits = HashSet::new();
    for mut stream in streams {
        let Some(Block::Retry(wait)) = stream.block().await else { panic!("no farewell") };
        assert!(wait <= 3_000, "{wait}");
        waits.insert(wait);
        assert!(stream.block().await.is_none());
    }
    assert!(waits.len() > 10, "spread over the clients: {waits:?}");
    within("the node ends", stopping).await.expect("ends well");
}
}

#[tokio::test]
async fn a_stream_resumed_after_history_was_lost_begins_with_a_reset() {
    let node = Node::start(Kind::Postgres).await;
    let mut socket = Socket::open(&node).await;
    put(&mut socket, "a", 1).await;
    let path = "/v1/products/a/events";
    let (last, before) = Events::open(&node, path, "").await.next().await;
    node.database()
        .run("UPDATE feed.shard_state SET gen = gen + 1; SELECT setval('feed.vseq', nextval('feed.vseq') + 4294967296)")
        .await;
    // The node learns of it with its next poll; a stream that was there before is told, too.
    let (id, record) = Events::open(&node, path, &last).await.next().await;
    assert_eq!((&record["reset"], &record["value"]), (&json!(true), &before["value"]));
    assert!(id.starts_with("2."), "{id}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_resumed_on_another_node() {
    let first = Node::start(Kind::Postgres).await;
    let second = Node::over(&first.database().url(), config()).await;
    let mut socket = Socket::open(&first).await;
    for key in ["a", "b"] {
        put(&mut socket, key, 0).await;
    }
    let (path, mut last) = ("/v1/products/a/events?key=b", String::new());
    let (mut seen, mut written) = (Vec::new(), 0);
    for node in [&first, &second, &first, &second] {
        let mut stream = Events::open(node, path, &last).await;
        // One change while nobody listens, and two that are followed; the first stream begins with both keys.
        for _ in 0..if last.is_empty() { 2 } else { 1 } {
            let (id, record) = stream.next().await;
            last = id;
            seen.push(record);
        }
        for _ in 0..2 {
            written += 1;
            put(&mut socket, "a", written).await;
            let (id, record) = stream.next().await;
            last = id;
            seen.push(record);
        }
        drop(stream);
        written += 1;
        put(&mut socket, "a", written).await;
    }
    let stocks: Vec<_> = seen.iter().filter(|r| r["key"] == "a").map(|r| r["value"]["stock"].as_u64()).collect();
    assert_eq!(stocks, (0..12).map(Some).collect::<Vec<_>>(), "nothing lost, nothing repeated");
    assert_eq!(seen.iter().filter(|record| record["key"] == "b").count(), 1);
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn an_id_that_the_stream_never_sent_is_refused() {
    let node = Node::start(Kind::Memory).await;
    for (id, says) in [
        ("x", "a stamp is"),
        ("1.2", "1 stamps and the stream 2 keys"),
        ("1.2,1.3,1.4", "3 stamps and the stream 2 keys"),
        ("1.2,", "a stamp is"),
        ("1.2, 1.3", "a stamp is"),
    ] {
        let request = http().get(node.http("/v1/products/a/events?key=b")).header("last-event-id", id);
        let response = within("an answer", request.send()).await.expect("answered");
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{id}");
        let error: Value = response.json().await.expect("JSON");
        assert_eq!(error["error"]["data"]["reason"], "last_event_id");
        assert!(error["error"]["message"].as_str().expect("a message").contains(says), "{error}");
    }
    for query in ["min_stamp=1.2", "max_stale_ms=0", "since=1.2"] {
        let request = http().get(node.http(&format!("/v1/products/a/events?{query}")));
        assert_eq!(request.send().await.expect("answered").status(), StatusCode::BAD_REQUEST, "{query}");
    }
    node.stop().await;
}

#[tokio::test]
async fn a_stream_is_read_and_nothing_else() {
    let node = Node::start(Kind::Memory).await;
    let url = node.http("/v1/products/a/events");
    let head = http().head(&url).send().await.expect("answered");
    assert_eq!(
        (head.status(), &head.headers()["content-type"]),
        (StatusCode::OK, &"text/event-stream".parse().expect("a value"))
    );
    assert_eq!(within("no body", head.text()).await.expect("text"), "");
    until("a head leaves no watcher", async || node.metric("freshet_hub_watchers").await == 0.0).await;
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
        let refused = http().request(method.clone(), &url).send().await.expect("answered");
        assert_eq!(
            (refused.status(), &refused.headers()["allow"]),
            (StatusCode::METHOD_NOT_ALLOWED, &"GET,HEAD".parse().expect("a value")),
            "{method}"
        );
    }
    node.stop().await;
}
