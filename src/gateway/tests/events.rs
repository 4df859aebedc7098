//! Records as Server-Sent Events.

use std::time::Duration;

use reqwest::{RequestBuilder, Response};
use serde_json::Value;

use super::Node;

/// A client that reads events one by one.
struct Events {
    response: Response,
    text: String,
}

impl Events {
    async fn open(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("answered");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Events { response, text: String::new() }
    }

    /// The id and the record of the next event that brings one.
    async fn next(&mut self) -> (String, Value) {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
                // How far a key is proven may be told between records.
                if !field("data: ").is_empty() && field("event: ") != "freshness" {
                    return (field("id: ").into(), serde_json::from_str(field("data: ")).expect("JSON"));
                }
                continue;
            }
            let chunk = tokio::time::timeout(Duration::from_secs(5), self.response.chunk()).await.expect("in time");
            self.text.push_str(std::str::from_utf8(&chunk.expect("open").expect("more")).expect("UTF-8"));
        }
    }
}

#[tokio::test]
async fn a_stream_begins_with_a_snapshot_and_follows_every_change() {
    let node = Node::start().await;
    node.put("a", r#"{"stock":1}"#).await;
    let mut events = Events::open(node.http.get(node.url("/v1/products/a/events"))).await;
    assert_eq!(events.next().await.1["value"]["stock"], 1);
    for stock in 2..6 {
        node.put("a", &format!(r#"{{"stock":{stock}}}"#)).await;
        let (id, record) = events.next().await;
        assert_eq!((&record["value"]["stock"], record["stamp"].as_str()), (&stock.into(), Some(id.as_str())));
    }
}

#[tokio::test]
async fn a_stream_of_several_keys_resumes_behind_its_last_event() {
    let node = Node::start().await;
    node.put("a", r#"{"stock":1}"#).await;
    node.put("b", r#"{"stock":2}"#).await;
    let request = || node.http.get(node.url("/v1/products?key=a&key=b")).header("accept", "text/event-stream");
    let mut events = Events::open(request()).await;
    let first = events.next().await.1;
    let (id, second) = events.next().await;
    assert_eq!((&first["key"], &second["key"]), (&"a".into(), &"b".into()));
    drop(events);
    node.put("b", r#"{"stock":3}"#).await;
    let mut events = Events::open(request().header("last-event-id", id)).await;
    let (_, resumed) = events.next().await;
    assert_eq!((&resumed["key"], &resumed["value"]["stock"]), (&"b".into(), &3.into()));
}

#[tokio::test]
async fn a_closed_stream_watches_nothing() {
    let node = Node::start().await;
    let mut events = Events::open(node.http.get(node.url("/v1/products/a/events?key=b"))).await;
    assert_eq!(events.next().await.1["value"], Value::Null);
    assert_eq!(node.service.hub().watched().len(), 2);
    drop(events);
    // The server learns of the closed socket when hyper reads its end.
    let mut waited = 0;
    while !node.service.hub().watched().is_empty() {
        node.put("a", &format!(r#"{{"stock":{waited}}}"#)).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
        waited += 1;
        assert!(waited < 500, "still watched");
    }
}

#[tokio::test]
async fn a_stream_of_too_many_keys_is_refused() {
    let node = Node::start().await;
    let path = format!("/v1/products/a/events?{}", "key=b&".repeat(100));
    assert_eq!(node.http.get(node.url(&path)).send().await.expect("answered").status(), 413);
}

#[tokio::test]
async fn a_slow_reader_skips_states_and_ends_on_the_latest() {
    const WRITES: u64 = 300;
    let node = Node::start().await;
    let mut events = Events::open(node.http.get(node.url("/v1/products/a/events"))).await;
    let name = "x".repeat(50_000);
    for stock in 1..=WRITES {
        node.put("a", &format!(r#"{{"name":"{name}","stock":{stock}}}"#)).await;
    }
    let (mut last, mut seen) = (0, 0);
    while last < WRITES {
        let stock = events.next().await.1["value"]["stock"].as_u64().unwrap_or_default();
        assert!(stock > last || seen == 0, "{stock} after {last}");
        (last, seen) = (stock, seen + 1);
    }
    assert!(seen < WRITES, "{seen} of {WRITES} events were kept for it");
}
