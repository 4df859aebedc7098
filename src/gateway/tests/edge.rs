//! What is not about records: RPC, the page, the limits of a connection, and how it all ends.

use std::{io::Read as _, time::Duration};

use bytes::Bytes;
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
};

use super::{Config, Node, Page, Shop, session};

#[tokio::test]
async fn the_methods_are_answered_over_http() {
    let node = Node::start().await;
    node.put("a", r#"{"stock":3}"#).await;
    let call = |body: &str| {
        let request = node.http.post(node.url("/v1/rpc")).header("content-type", "application/json");
        request.body(body.to_owned()).send()
    };
    let get = r#"{"jsonrpc":"2.0","id":1,"method":"get","params":["products","a"]}"#;
    let answer: Value = call(get).await.expect("answered").json().await.expect("JSON");
    assert_eq!(answer["result"]["value"]["stock"], 3);
    let silent = call(r#"{"jsonrpc":"2.0","method":"get","params":["products","a"]}"#).await.expect("answered");
    assert_eq!(silent.status(), 204);
    let broken = call("{").await.expect("answered");
    assert_eq!(broken.status(), 200);
    assert_eq!(broken.json::<Value>().await.expect("JSON")["error"]["code"], -32700);
    let large = call(&" ".repeat(3 << 20)).await.expect("answered");
    assert_eq!(large.status(), 413);
    let untyped = node.http.post(node.url("/v1/rpc")).body(get).send().await.expect("answered");
    assert_eq!(
        (untyped.status().as_u16(), &untyped.headers()["accept-post"]),
        (415, &"application/json".parse().expect("a value"))
    );
}

fn page() -> Page {
    Page { products_index: Bytes::from_static(b"[]"), shop: watch::channel(Shop::default()).1 }
}

#[tokio::test]
async fn the_page_is_protected_and_revalidated() {
    let page = page();
    let node = Node::with(Config::default(), session::Config::default(), Some(page)).await;
    for (path, media) in [
        ("/", "text/html; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/inter.woff2", "font/woff2"),
        ("/products.json", "application/json"),
    ] {
        let response = node.http.get(node.url(path)).send().await.expect("answered");
        assert_eq!(response.status(), 200, "{path}");
        let headers = response.headers().clone();
        assert_eq!(headers["content-type"], media);
        let policy = headers["content-security-policy"].to_str().expect("ASCII");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; "), "{policy}");
        assert!(policy.ends_with("frame-ancestors 'none'") && !policy.contains("  "), "{policy}");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        let again = node.http.get(node.url(path)).header("if-none-match", &headers["etag"]);
        assert_eq!(again.send().await.expect("answered").status(), 304);
    }
}

#[tokio::test]
async fn texts_are_compressed_for_those_who_take_it_and_events_never() {
    let products_index = Bytes::from(format!("[{}]", r#"["85123A","HEART"],"#.repeat(400).trim_end_matches(',')));
    let node = Node::with(Config::default(), session::Config::default(), Some(Page { products_index, ..page() })).await;
    let get = |path: &str, taken: &str| node.http.get(node.url(path)).header("accept-encoding", taken);
    for path in ["/", "/style.css", "/freshet.js", "/products.json", "/openapi.json"] {
        let plain = get(path, "identity").send().await.expect("answered");
        assert!(!plain.headers().contains_key("content-encoding"), "{path}");
        let plain_tag = plain.headers()["etag"].clone();
        let plain = plain.bytes().await.expect("a body");
        let packed = get(path, "br, gzip").send().await.expect("answered");
        let headers = packed.headers().clone();
        assert_eq!(
            (&headers["content-encoding"], &headers["vary"]),
            (&"gzip".parse().expect("a value"), &"accept-encoding".parse().expect("a value")),
            "{path}"
        );
        assert_ne!(headers["etag"], plain_tag, "{path}");
        let packed = packed.bytes().await.expect("a body");
        assert!(packed.len() * 2 < plain.len(), "{path}: {} of {}", packed.len(), plain.len());
        let mut unpacked = Vec::new();
        GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).expect("gzip");
        assert_eq!(unpacked, plain, "{path}");
        let again = |tag, taken| get(path, taken).header("if-none-match", tag).send();
        assert_eq!(again(&headers["etag"], "gzip").await.expect("answered").status(), 304, "{path}");
        assert_eq!(again(&plain_tag, "gzip").await.expect("answered").status(), 200, "{path}");
    }
    for path in ["/inter.woff2", "/v1/stats/events"] {
        let answer = get(path, "gzip").send().await.expect("answered");
        assert!(answer.status() == 200 && !answer.headers().contains_key("content-encoding"), "{path}");
    }
}

#[tokio::test]
async fn every_file_the_page_names_is_served() {
    let page = page();
    let node = Node::with(Config::default(), session::Config::default(), Some(page)).await;
    let html = node.http.get(node.url("/")).send().await.expect("answered").text().await.expect("text");
    let named: Vec<_> = html.split("=\"/").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(named.len() > 5, "{named:?}");
    for path in named {
        let response = node.http.get(node.url(&format!("/{path}"))).send().await.expect("answered");
        assert_eq!(response.status(), 200, "{path}");
    }
}

#[tokio::test]
async fn counters_are_public_beside_the_page_alone() {
    let node = Node::with(Config::default(), session::Config::default(), Some(page())).await;
    let mut events = node.http.get(node.url("/v1/stats/events")).send().await.expect("answered");
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    let mut text = String::new();
    while !text.contains("\n\ndata: ") || !text.ends_with("\n\n") {
        let chunk = events.chunk().await.expect("a sound stream").expect("an endless one");
        text.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
    }
    let data = text.lines().find_map(|line| line.strip_prefix("data: ")).expect("an event");
    let snapshot: Value = serde_json::from_str(data).expect("JSON");
    assert_eq!(snapshot["shop"], json!({"at": null, "hours": "still", "speed": 0, "readers": 0}));

    let plain = Node::start().await;
    let refused = plain.http.get(plain.url("/v1/stats/events")).send().await.expect("answered");
    assert_eq!(refused.status(), 404);
}

#[tokio::test]
async fn every_node_serves_the_client_to_pages_of_any_origin() {
    let node = Node::start().await;
    let response = node.http.get(node.url("/freshet.js")).header("origin", "https://shop.example").send().await;
    let response = response.expect("answered");
    let headers = response.headers().clone();
    assert_eq!(
        (response.status().as_u16(), headers["content-type"].as_bytes()),
        (200, &b"text/javascript; charset=utf-8"[..])
    );
    assert_eq!(headers["access-control-allow-origin"], "*");
    assert!(response.text().await.expect("text").contains("export"));
    let again = node.http.get(node.url("/freshet.js")).header("if-none-match", &headers["etag"]);
    assert_eq!(again.send().await.expect("answered").status(), 304);
}

#[tokio::test]
async fn without_a_page_the_root_says_what_is_served() {
    let node = Node::start().await;
    let text = node.http.get(node.url("/")).send().await.expect("answered").text().await.expect("text");
    assert!(text.contains("/v1/ws") && text.contains("/openapi.json"), "{text}");
}

#[tokio::test]
async fn the_openapi_document_describes_every_route() {
    let node = Node::start().await;
    let document: Value =
        node.http.get(node.url("/openapi.json")).send().await.expect("answered").json().await.expect("JSON");
    assert!(document["openapi"].as_str().expect("a version").starts_with("3.1"));
    for (path, methods) in [
        ("/v1/ws", &["get"][..]),
        ("/v1/rpc", &["post"]),
        ("/v1/{collection}", &["get"]),
        ("/v1/{collection}/{key}", &["get", "head", "put", "patch", "delete"]),
        ("/v1/{collection}/{key}/events", &["get"]),
        ("/openapi.json", &["get"]),
        ("/freshet.js", &["get"]),
    ] {
        for method in methods {
            assert!(document["paths"][path][method].is_object(), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told_what_there_is() {
    let node = Node::start().await;
    let nothing = node.http.get(node.url("/nothing")).send().await.expect("answered");
    assert_eq!(nothing.status(), 404);
    let body: Value = nothing.json().await.expect("JSON");
    assert_eq!(body["error"]["data"]["reason"], json!("not_found"));
    assert!(body["error"]["message"].as_str().expect("a message").contains("/v1/{collection}/{key}"));
    let wrong = node.http.post(node.url("/v1/products/a")).send().await.expect("answered");
    assert_eq!(wrong.status(), 405);
    let allow = wrong.headers()["allow"].to_str().expect("ASCII").to_owned();
    for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE"] {
        assert!(allow.contains(method), "{allow}");
    }
    assert_eq!(wrong.json::<Value>().await.expect("JSON")["error"]["data"]["reason"], "method_not_allowed");
}

async fn read_to_end(socket: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let reading = socket.read_to_end(&mut text);
    let _ = tokio::time::timeout(Duration::from_secs(5), reading).await.expect("closed in time");
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn slow_headers_and_slow_bodies_time_out() {
    let limit = Duration::from_millis(100);
    let config = Config { header_limit: limit, body_limit: limit, ..Config::default() };
    let node = Node::with(config, session::Config::default(), None).await;
    let mut socket = TcpStream::connect(node.public).await.expect("connected");
    socket.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nx-slow: ").await.expect("sent");
    assert_eq!(read_to_end(&mut socket).await, "");
    let mut socket = TcpStream::connect(node.public).await.expect("connected");
    socket
        .write_all(b"PUT /v1/products/a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n{")
        .await
        .expect("sent");
    let answer = read_to_end(&mut socket).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("body_timeout"), "{answer}");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let node = Node::start().await;
    for (len, status) in [(100 * 1024, "404"), (200 * 1024, "431")] {
        let mut socket = TcpStream::connect(node.public).await.expect("connected");
        let head = format!(
            "GET /nothing HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx-long: {}\r\n\r\n",
            "x".repeat(len)
        );
        // It may be closed before all is sent.
        drop(socket.write_all(head.as_bytes()).await);
        let answer = read_to_end(&mut socket).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{len}: {answer}");
    }
}

#[tokio::test]
async fn a_connection_above_the_limit_is_told_so() {
    let config = Config { connections_max: 1, ..Config::default() };
    let node = Node::with(config, session::Config::default(), None).await;
    let mut first = TcpStream::connect(node.public).await.expect("connected");
    first.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("sent");
    assert_ne!(first.read(&mut [0; 1024]).await.expect("answered"), 0);
    let mut second = TcpStream::connect(node.public).await.expect("connected");
    let answer = read_to_end(&mut second).await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 1"), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.contains(&format!("content-length: {}", body.len())), "{answer}");
    serde_json::from_str::<Value>(body).expect("JSON");
    drop(first);
    let status = async || node.http.get(node.url("/")).send().await.map(|response| response.status().as_u16());
    while status().await.ok() != Some(200) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_stop_ends_idle_connections_and_lets_a_request_under_way_end() {
    let node = Node::start().await;
    let mut idle = TcpStream::connect(node.public).await.expect("connected");
    idle.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("sent");
    assert_ne!(idle.read(&mut [0; 1024]).await.expect("answered"), 0);
    let mut busy = TcpStream::connect(node.public).await.expect("connected");
    let head = b"PUT /v1/products/a HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n";
    busy.write_all(head).await.expect("sent");
    // "100 Continue" says that the handler reads the body.
    assert_ne!(busy.read(&mut [0; 1024]).await.expect("told to go on"), 0);
    node.stop.cancel();
    assert_eq!(read_to_end(&mut idle).await, "");
    busy.write_all(b"{}").await.expect("sent");
    let answer = read_to_end(&mut busy).await;
    assert!(answer.contains("HTTP/1.1 201 "), "{answer}");
    assert!(TcpStream::connect(node.public).await.is_err());
}

#[tokio::test]
async fn an_edge_that_is_dropped_closes_its_connections() {
    let node = Node::start().await;
    let mut idle = TcpStream::connect(node.public).await.expect("connected");
    idle.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("sent");
    assert_ne!(idle.read(&mut [0; 1024]).await.expect("answered"), 0);
    node.serving.abort();
    assert_eq!(read_to_end(&mut idle).await, "");
}

#[tokio::test]
async fn the_page_is_told_which_database_has_a_record() {
    let node = Node::with(Config::default(), session::Config::default(), Some(page())).await;
    let place: Value =
        node.http.get(node.url("/where/products/a")).send().await.expect("answered").json().await.expect("JSON");
    let shard = node.service.place_of(&node.service.record("products", "a").expect("a key")).expect("a place").shard;
    assert_eq!(place, json!({"shard": shard.0, "database": "memory", "servers": [], "databases": 1}));
    let unknown = node.http.get(node.url("/where/nothing/a")).send().await.expect("answered");
    assert_eq!(unknown.status(), 404);
}
