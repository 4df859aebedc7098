//! The operator's side.

use std::time::Duration;

use serde_json::Value;

use super::Node;

impl Node {
    async fn probe(&self, path: &str) -> reqwest::Response {
        let url = format!("http://{}{path}", self.operations);
        self.http.get(url).send().await.expect("answered")
    }
}

#[tokio::test]
async fn a_serving_node_is_ready_and_a_draining_one_is_not() {
    let node = Node::start().await;
    assert_eq!(node.probe("/livez").await.text().await.expect("text"), "ok\n");
    assert_eq!(node.probe("/readyz").await.text().await.expect("text"), "ready\n");
    let verbose = node.probe("/readyz?verbose").await.text().await.expect("text");
    for line in ["serving ok: ", "store ok: in memory", "feed ok: ", "ready\n"] {
        assert!(verbose.contains(line), "{verbose}");
    }
    let metrics = async || node.probe("/metrics").await.text().await.expect("text");
    let told = metrics().await;
    for line in
        ["freshet_ready 1\n", "freshet_ready_check{check=\"serving\"} 1\n", "freshet_ready_check{check=\"store\"} 1\n"]
    {
        assert!(told.contains(line), "{told}");
    }
    node.readiness.drain();
    let told = metrics().await;
    for line in
        ["freshet_ready 0\n", "freshet_ready_check{check=\"serving\"} 0\n", "freshet_ready_check{check=\"store\"} 1\n"]
    {
        assert!(told.contains(line), "{told}");
    }
    let response = node.probe("/readyz").await;
    assert_eq!(response.status(), 503);
    let text = response.text().await.expect("text");
    assert!(text.starts_with("serving failed: draining") && text.ends_with("not ready\n"), "{text}");
    assert_eq!(node.probe("/livez").await.status(), 200);
}

#[tokio::test]
async fn metrics_are_for_prometheus_and_not_for_clients() {
    let node = Node::start().await;
    assert_eq!(node.http.get(node.url("/nothing")).send().await.expect("answered").status(), 404);
    let metrics = node.probe("/metrics").await;
    assert_eq!(metrics.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = metrics.text().await.expect("text");
    assert!(text.contains("# TYPE freshet_session_open gauge"), "{text}");
    assert!(text.contains("\nfreshet_session_open_max 15000\n"), "{text}");
    // The connection that asked for nothing is still open.
    assert!(text.contains("\nfreshet_gateway_open 1\n"), "{text}");
    assert!(text.contains("freshet_gateway_answers_total{status=\"404\"} 1\n"), "{text}");
    for path in ["/metrics", "/readyz", "/livez"] {
        assert_eq!(node.http.get(node.url(path)).send().await.expect("answered").status(), 404);
    }
}

#[tokio::test]
async fn counters_are_streamed_and_the_stream_ends_with_the_node() {
    let node = Node::start().await;
    node.put("a", "{}").await;
    for _ in 0..4 {
        node.http.get(node.url("/v1/products/a")).send().await.expect("answered");
    }
    let mut stream = node.probe("/v1/stats/events").await;
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let mut text = String::new();
    while !(text.contains("data: ") && text.ends_with("}\n\n")) {
        let chunk = stream.chunk().await.expect("open").expect("more");
        text.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
    }
    let data = text.lines().find_map(|line| line.strip_prefix("data: ")).expect("an event");
    let snapshot: Value = serde_json::from_str(data).expect("JSON");
    assert_eq!((&snapshot["answers"]["local"], &snapshot["writes"]["committed"]), (&4.into(), &1.into()), "{data}");
    assert_eq!(snapshot["fresh"], true);
    assert!(snapshot["hit_rates"]["local"].as_f64().expect("a share") > 0.0);
    node.stop.cancel();
    let ended = async { while stream.chunk().await.is_ok_and(|chunk| chunk.is_some()) {} };
    tokio::time::timeout(Duration::from_secs(2), ended).await.expect("the stream ends");
}
