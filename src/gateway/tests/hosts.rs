//! The guard against DNS rebinding: a name that is not the node's gets nothing, whatever the page's origin.

use std::{net::SocketAddr, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{Config, Node, session};

const UPGRADE: &str = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const WRITE: &str = "content-type: application/json\r\ncontent-length: 2\r\n";

/// The status and the body of one request, sent as it is given.
async fn ask(address: SocketAddr, request: String) -> (u16, String) {
    let mut socket = TcpStream::connect(address).await.expect("connected");
    socket.write_all(request.as_bytes()).await.expect("sent");
    socket.shutdown().await.expect("nothing more to say");
    let mut answer = Vec::new();
    let reading = socket.read_to_end(&mut answer);
    tokio::time::timeout(Duration::from_secs(10), reading).await.expect("answered in time").expect("closed");
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, answer.split_once("\r\n\r\n").expect("a head").1.to_owned())
}

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nconnection: close\r\n{headers}\r\n")
}

fn upgrade(headers: &str) -> String {
    format!("GET /v1/ws HTTP/1.1\r\n{UPGRADE}{headers}\r\n")
}

fn put(headers: &str) -> String {
    format!("PUT /v1/products/a HTTP/1.1\r\nconnection: close\r\n{WRITE}{headers}\r\n{{}}")
}

fn reason(body: &str) -> (i64, String, String) {
    let error = &serde_json::from_str::<Value>(body).expect("JSON")["error"];
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    (error["code"].as_i64().expect("a code"), text(&error["data"]["reason"]), text(&error["message"]))
}

async fn with_hosts(hosts: &[&str]) -> Node {
    let hosts = hosts.iter().map(|&host| host.to_owned()).collect();
    Node::with(Config { hosts, ..Config::default() }, session::Config::default(), None).await
}

#[tokio::test]
async fn a_page_whose_name_was_rebound_gets_nothing() {
    let node = Node::start().await;
    node.put("b", "{}").await;
    let port = node.public.port();
    let rebound = format!("host: evil.example:{port}\r\norigin: http://evil.example:{port}\r\n");
    for request in [upgrade(&rebound), put(&rebound), get("/v1/products/b", &rebound), get("/nothing", &rebound)] {
        let (status, body) = ask(node.public, request.clone()).await;
        assert_eq!(status, 421, "{request}");
        let (code, reason, message) = reason(&body);
        assert_eq!((code, &*reason), (-32002, "host"));
        assert!(message.contains("\"evil.example\"") && message.contains("gateway.hosts"), "{message}");
    }
    for path in ["/livez", "/readyz", "/metrics", "/v1/stats/events"] {
        assert_eq!(ask(node.operations, get(path, &rebound)).await.0, 421, "{path}");
    }
    let by_address = format!("host: {}\r\n", node.public);
    assert_eq!(ask(node.public, get("/v1/products/a", &by_address)).await.0, 404, "the write was not carried out");
    let metrics = ask(node.operations, get("/metrics", &by_address)).await.1;
    assert!(metrics.contains("freshet_gateway_answers_total{status=\"421\"} 4\n"), "{metrics}");
}

#[tokio::test]
async fn loopback_addresses_and_listed_names_are_served() {
    let node = with_hosts(&["shop.example"]).await;
    for host in ["localhost:9", "app.localhost", "127.0.0.1", "10.0.3.7:8081", "[2001:db8::7]:80", "Shop.example"] {
        let same = format!("host: {host}\r\norigin: http://{host}\r\n");
        assert_eq!(ask(node.public, upgrade(&same)).await.0, 101, "{host}");
        assert!([200, 201].contains(&ask(node.public, put(&same)).await.0), "{host}");
        assert_eq!(ask(node.operations, get("/livez", &same)).await.0, 200, "{host}");
        let other = format!("host: {host}\r\norigin: http://evil.example\r\n");
        assert_eq!(ask(node.public, put(&other)).await.0, 403, "{host}");
    }
    assert_eq!(ask(node.public, get("/v1/products/a", "host: www.shop.example\r\n")).await.0, 421);
    let open = with_hosts(&["*"]).await;
    assert_eq!(ask(open.public, upgrade("host: any.example\r\norigin: https://any.example\r\n")).await.0, 101);
}

#[tokio::test]
async fn a_request_names_exactly_one_host_and_at_most_one_origin() {
    let node = Node::start().await;
    for headers in ["", "host: localhost\r\nhost: localhost\r\n", "host: \r\n", "host: http://localhost\r\n"] {
        for address in [node.public, node.operations] {
            let (status, body) = ask(address, get("/livez", headers)).await;
            assert_eq!((status, reason(&body).1.as_str()), (400, "host"), "{headers:?}");
        }
    }
    let twice = "host: localhost\r\norigin: http://localhost\r\norigin: http://evil.example\r\n";
    for request in [put(twice), upgrade(twice)] {
        let (status, body) = ask(node.public, request).await;
        assert_eq!((status, reason(&body).1.as_str()), (400, "origin"));
    }
    // HTTP/1.0 knows no Host, and no browser speaks it; balancers probe with it.
    assert_eq!(ask(node.operations, "GET /livez HTTP/1.0\r\n\r\n".into()).await.0, 200);
}

#[tokio::test]
async fn the_host_of_an_absolute_target_counts() {
    let node = Node::start().await;
    for (target, status) in [("http://evil.example/livez", 421), ("http://localhost/livez", 200)] {
        for host in ["host: localhost\r\n", "host: evil.example\r\n"] {
            assert_eq!(ask(node.operations, get(target, host)).await.0, status, "{target} {host}");
        }
    }
    let headers = "host: localhost\r\norigin: http://localhost.evil.example\r\n";
    let request = put(headers).replacen("/v1", "http://localhost.evil.example/v1", 1);
    assert_eq!(ask(node.public, request).await.0, 421);
}
