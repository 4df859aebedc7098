//! From HTTP to a WebSocket.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::header::HeaderMap;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Message, client::IntoClientRequest as _},
};

use super::{Config, Node, session};

const HANDSHAKE: [(&str, &str); 4] = [
    ("connection", "keep-alive, Upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

fn handshake_without(missing: &str) -> HeaderMap {
    let given = HANDSHAKE.iter().filter(|(name, _)| *name != missing);
    given.map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value"))).collect()
}

#[tokio::test]
async fn a_client_reads_over_its_websocket() {
    let node = Node::start().await;
    node.put("a", r#"{"stock":3}"#).await;
    let mut request = format!("ws://{}/v1/ws", node.public).into_client_request().expect("a request");
    request.headers_mut().insert("sec-websocket-protocol", "other, freshet.v1".parse().expect("a value"));
    let (mut socket, response) = connect_async(request).await.expect("upgraded");
    assert_eq!(response.headers()["sec-websocket-protocol"], "freshet.v1");
    let get = r#"{"jsonrpc":"2.0","id":1,"method":"get","params":{"collection":"products","key":"a"}}"#;
    socket.send(Message::text(get)).await.expect("sent");
    let answer = socket.next().await.expect("an answer").expect("a frame").into_text().expect("text");
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!(answer["result"]["value"]["stock"], 3);
}

#[tokio::test]
async fn bytes_sent_together_with_the_upgrade_are_not_lost() {
    let node = Node::start().await;
    let mut bytes = format!("GET /v1/ws HTTP/1.1\r\nhost: {}\r\n", node.public).into_bytes();
    for (name, value) in HANDSHAKE {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    let request = br#"{"jsonrpc":"2.0","id":7,"method":"get","params":{"collection":"products","key":"a"}}"#;
    // A masked text frame whose mask is zero.
    bytes.extend_from_slice(&[0x81, 0x80 | u8::try_from(request.len()).expect("short"), 0, 0, 0, 0]);
    bytes.extend_from_slice(request);
    let mut socket = TcpStream::connect(node.public).await.expect("connected");
    socket.write_all(&bytes).await.expect("sent at once");
    let mut answer = Vec::new();
    let complete = async {
        while !String::from_utf8_lossy(&answer).contains(r#""id":7,"result""#) {
            assert_ne!(socket.read_buf(&mut answer).await.expect("open"), 0, "closed early");
        }
    };
    tokio::time::timeout(Duration::from_secs(5), complete).await.expect("an answer in time");
    let text = String::from_utf8_lossy(&answer);
    assert!(text.starts_with("HTTP/1.1 101 "), "{text}");
    assert!(text.to_ascii_lowercase().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{text}");
}

#[tokio::test]
async fn an_incomplete_handshake_is_told_what_is_missing() {
    let node = Node::start().await;
    for (missing, status, named) in [
        ("connection", 426, "Connection: Upgrade"),
        ("upgrade", 426, "Upgrade: websocket"),
        ("sec-websocket-version", 426, "Sec-WebSocket-Version: 13"),
        ("sec-websocket-key", 400, "Sec-WebSocket-Key"),
    ] {
        let request = node.http.get(node.url("/v1/ws")).headers(handshake_without(missing));
        let response = request.send().await.expect("answered");
        assert_eq!(response.status(), status, "without {missing}");
        if status == 426 {
            assert_eq!(response.headers()["upgrade"], "websocket");
        }
        if missing == "sec-websocket-version" {
            assert_eq!(response.headers()["sec-websocket-version"], "13");
        }
        let body: Value = response.json().await.expect("JSON");
        let message = body["error"]["message"].as_str().expect("a message");
        assert!(message.contains(named), "{message}");
    }
}

#[tokio::test]
async fn a_page_of_another_origin_is_refused() {
    let node = Node::start().await;
    for (origin, status) in [
        ("https://evil.example", 403),
        ("null", 403),
        ("http://localhost:5173", 101),
        (&*format!("http://{}", node.public), 101),
    ] {
        let request = node.http.get(node.url("/v1/ws")).headers(handshake_without("")).header("origin", origin);
        let response = request.send().await.expect("answered");
        assert_eq!(response.status(), status, "{origin}");
        if status == 403 {
            let body: Value = response.json().await.expect("JSON");
            assert_eq!(body["error"]["data"]["reason"], "origin");
        }
    }
}

#[tokio::test]
async fn a_full_or_leaving_node_says_when_to_come_back() {
    let limits = session::Config { connections_max: 1, ..session::Config::default() };
    let node = Node::with(Config::default(), limits, None).await;
    let (_open, _) = connect_async(format!("ws://{}/v1/ws", node.public)).await.expect("upgraded");
    let try_again = || node.http.get(node.url("/v1/ws")).headers(handshake_without("")).send();
    // The first socket joins the sessions once its answer has been sent.
    let mut response = try_again().await.expect("answered");
    while response.status() == 101 {
        response = try_again().await.expect("answered");
    }
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "2");
    node.readiness.drain();
    let body: Value = try_again().await.expect("answered").json().await.expect("JSON");
    assert!(body["error"]["message"].as_str().expect("a message").contains("leaving"), "{body}");
}
