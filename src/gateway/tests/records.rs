//! Records as HTTP resources.

use std::time::Duration;

use reqwest::{Method, Response, header::HeaderMap};
use serde_json::{Value, json};

use super::{Config, Node, session};
use crate::gateway::CacheControl;

impl Node {
    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let headers: HeaderMap =
            headers.iter().map(|(n, v)| (n.parse().expect("a name"), v.parse().expect("a value"))).collect();
        let method: Method = method.parse().expect("a method");
        let request = self.http.request(method, self.url(path)).headers(headers).body(body.to_owned());
        request.send().await.expect("answered")
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        self.send("GET", path, headers, "").await
    }
}

fn header(response: &Response, name: &str) -> String {
    response.headers().get(name).map(|value| value.to_str().expect("ASCII").to_owned()).unwrap_or_default()
}

async fn reason(response: Response) -> String {
    let body: Value = response.json().await.expect("JSON");
    body["error"]["data"]["reason"].as_str().unwrap_or_default().to_owned()
}

const ITEM: &str = "/v1/products/a";

#[tokio::test]
async fn a_put_is_read_back_with_its_stamp_as_etag() {
    let node = Node::start().await;
    let created = node.send("PUT", ITEM, &[], r#"{"name":"Lamp","stock":4}"#).await;
    assert_eq!(created.status(), 201);
    let etag = header(&created, "etag");
    let told: Value = created.json().await.expect("JSON");
    assert_eq!(etag, format!("\"{}\"", told["stamp"].as_str().expect("a stamp")));
    assert_eq!(told["key"], "a");
    let read = node.get(ITEM, &[]).await;
    assert_eq!((read.status().as_u16(), header(&read, "etag")), (200, etag.clone()));
    assert_eq!(header(&read, "content-type"), "application/json");
    assert_eq!(header(&read, "cache-control"), "no-cache");
    assert_eq!(header(&read, "surrogate-key"), "products products/a");
    assert_eq!(header(&read, "cache-status"), "freshet; hit");
    assert_eq!(read.text().await.expect("text"), r#"{"sku":"a","name":"Lamp","stock":4}"#);
    let again = node.send("PUT", ITEM, &[("content-type", "application/json")], r#"{"stock":5}"#).await;
    assert_eq!(again.status(), 200);
    assert_ne!(header(&again, "etag"), etag);
}

#[tokio::test]
async fn a_head_is_a_get_without_its_body() {
    let node = Node::start().await;
    node.put("a", "{}").await;
    let (head, get) = (node.send("HEAD", ITEM, &[], "").await, node.get(ITEM, &[]).await);
    assert_eq!(head.status(), 200);
    for name in ["etag", "content-length", "content-type", "cache-control"] {
        assert_eq!(header(&head, name), header(&get, name), "{name}");
    }
    assert_eq!(head.text().await.expect("text"), "");
}

#[tokio::test]
async fn what_the_client_has_is_not_sent_again() {
    let node = Node::start().await;
    let stamp = node.put("a", "{}").await;
    for (tags, status) in [
        (format!("\"{stamp}\""), 304),
        (format!("W/\"{stamp}\""), 304),
        (format!("\"x\", W/\"{stamp}\""), 304),
        ("*".into(), 304),
        ("\"9.9\"".into(), 200),
        ("9.9".into(), 400),
    ] {
        let response = node.get(ITEM, &[("if-none-match", &tags)]).await;
        assert_eq!(response.status(), status, "{tags}");
        if status == 304 {
            assert_eq!(header(&response, "etag"), format!("\"{stamp}\""));
            assert_eq!(header(&response, "cache-control"), "no-cache");
            assert_eq!(response.text().await.expect("text"), "");
        }
    }
}

#[tokio::test]
async fn caches_may_be_allowed_to_keep_records_for_a_while() {
    let cache = CacheControl { max_age: Duration::from_secs(3), ..CacheControl::default() };
    let node = Node::with(Config { cache, ..Config::default() }, session::Config::default(), None).await;
    for path in [ITEM, "/v1/products?key=a"] {
        assert_eq!(header(&node.get(path, &[]).await, "cache-control"), "max-age=3, must-revalidate", "{path}");
    }
}

#[tokio::test]
async fn absence_is_an_answer_that_may_be_cached() {
    let node = Node::start().await;
    let never = node.get("/v1/products/never", &[]).await;
    assert_eq!(never.status(), 404);
    assert_eq!(header(&never, "cache-control"), "no-cache");
    let stamp = node.put("a", "{}").await;
    let deleted = node.send("DELETE", ITEM, &[("if-match", &format!("\"{stamp}\""))], "").await;
    assert_eq!(deleted.status(), 200);
    let etag = header(&deleted, "etag");
    let gone = node.get(ITEM, &[("if-none-match", &etag)]).await;
    assert_eq!((gone.status().as_u16(), header(&gone, "etag")), (404, etag));
    let record: Value = gone.json().await.expect("JSON");
    assert_eq!((&record["key"], &record["value"]), (&json!("a"), &Value::Null));
}

#[tokio::test]
async fn a_write_on_a_condition_that_does_not_hold_is_412() {
    let node = Node::start().await;
    let old = node.put("a", r#"{"stock":1}"#).await;
    let new = node.put("a", r#"{"stock":2}"#).await;
    let (old, new) = (format!("\"{old}\""), format!("\"{new}\""));
    let both = format!("{old}, {new}");
    for (method, path, condition, status) in [
        ("PUT", ITEM, ("if-match", old.as_str()), 412),
        ("DELETE", ITEM, ("if-match", old.as_str()), 412),
        ("PATCH", ITEM, ("if-match", old.as_str()), 412),
        ("PUT", ITEM, ("if-none-match", "*"), 412),
        ("PUT", "/v1/products/b", ("if-match", "*"), 412),
        ("PUT", ITEM, ("if-match", "W/\"1.1\""), 412),
        ("PUT", ITEM, ("if-match", "unquoted"), 400),
        ("PUT", ITEM, ("if-none-match", old.as_str()), 400),
        ("PUT", "/v1/products/c", ("if-none-match", "*"), 201),
        ("PATCH", ITEM, ("if-match", both.as_str()), 200),
        ("PATCH", ITEM, ("if-match", "*"), 200),
    ] {
        let headers = [condition, ("content-type", "application/json")];
        let response = node.send(method, path, &headers, r#"{"stock":9}"#).await;
        assert_eq!(response.status(), status, "{method} {path} {condition:?}");
        if status == 412 {
            assert_eq!(reason(response).await, "version_conflict");
        }
    }
}

#[tokio::test]
async fn a_patch_merges_and_returns_the_value_to_who_prefers_it() {
    let node = Node::start().await;
    node.put("a", r#"{"name":"Lamp","stock":4}"#).await;
    let merge = ("content-type", "application/merge-patch+json; charset=utf-8");
    let plain = node.send("PATCH", ITEM, &[merge], r#"{"stock":3}"#).await;
    assert_eq!(plain.status(), 200);
    assert!(plain.text().await.expect("text").starts_with(r#"{"key":"a","version":"#));
    let asked = [merge, ("prefer", "respond-async, return=representation")];
    let full = node.send("PATCH", ITEM, &asked, r#"{"stock":2}"#).await;
    assert_eq!(header(&full, "preference-applied"), "return=representation");
    assert_eq!(full.text().await.expect("text"), r#"{"sku":"a","name":"Lamp","stock":2}"#);
}

#[tokio::test]
async fn a_repeated_idempotency_key_writes_once() {
    let node = Node::start().await;
    let headers = [("content-type", "application/json"), ("idempotency-key", "\"order-7\"")];
    let first = node.send("PATCH", ITEM, &headers, r#"{"stock":1}"#).await;
    node.put("a", r#"{"stock":8}"#).await;
    let again = node.send("PATCH", ITEM, &[headers[0], ("idempotency-key", "order-7")], r#"{"stock":1}"#).await;
    assert_eq!(header(&first, "etag"), header(&again, "etag"));
    let other = node.send("PATCH", ITEM, &headers, r#"{"stock":2}"#).await;
    assert_eq!(other.status(), 400);
    assert_eq!(reason(other).await, "idempotency_key_reused");
    assert_eq!(node.send("DELETE", ITEM, &[("idempotency-key", "")], "").await.status(), 400);
}

#[tokio::test]
async fn bodies_that_are_no_value_are_named() {
    let config = Config { body_max: bytesize::ByteSize::kib(64), ..Config::default() };
    let node = Node::with(config, session::Config::default(), None).await;
    let large = format!(r#"{{"name":"{}"}}"#, "x".repeat(200_000));
    let deep = format!("{{\"name\":{}1{}}}", "[".repeat(200), "]".repeat(200));
    let json = "application/json";
    for (method, media, body, status, word) in [
        ("PATCH", "text/plain", "{}", 415, "unsupported_media_type"),
        ("PUT", "text/plain", "{}", 415, "unsupported_media_type"),
        ("PUT", json, large.as_str(), 413, "too_large"),
        ("PUT", json, deep.as_str(), 422, "invalid_value"),
        ("PUT", json, "{", 400, "parse_error"),
        ("PUT", json, "", 400, "parse_error"),
        ("PUT", json, "[1]", 422, "invalid_value"),
        ("PUT", json, r#"{"stock":-1}"#, 422, "invalid_value"),
        ("PATCH", json, r#"{"colour":1}"#, 422, "invalid_value"),
    ] {
        let response = node.send(method, ITEM, &[("content-type", media)], body).await;
        assert_eq!(response.status(), status, "{method} {media} {body:.40}");
        if status == 415 && method == "PATCH" {
            assert_eq!(header(&response, "accept-patch"), "application/merge-patch+json, application/json");
        }
        assert_eq!(reason(response).await, word);
    }
    assert_eq!(node.send("PATCH", ITEM, &[], "{}").await.status(), 415);
}

#[tokio::test]
async fn hostile_keys_work_or_are_refused_clearly() {
    let node = Node::start().await;
    for key in
        ["..%2F..%2Fetc%2Fpasswd", "%22%27%3B--", "line%0D%0Abreak", "%C3%A9%20%2B", "%252F", "events", "%E2%80%AE"]
    {
        let path = format!("/v1/products/{key}");
        let created = node.send("PUT", &path, &[], r#"{"stock":1}"#).await;
        assert_eq!(created.status(), 201, "{key}");
        let read = node.get(&path, &[]).await;
        assert_eq!(read.status(), 200, "{key}");
        let batch: Value = node.get(&format!("/v1/products?key={key}"), &[]).await.json().await.expect("JSON");
        assert_eq!(batch["records"][0]["value"]["stock"], 1, "{key}");
    }
    let long = format!("/v1/products/{}", "x".repeat(10 * 1024));
    for (path, status, word) in [
        ("/v1/products/a%00b", 400, "invalid_key"),
        ("/v1/products/%FF", 400, "path"),
        ("/v1/products/%FF/events", 400, "path"),
        ("/v1/%FF?key=a", 400, "path"),
        (long.as_str(), 400, "invalid_key"),
        ("/v1/nothing/a", 404, "unknown_collection"),
        ("/v1/products/", 404, "not_found"),
        ("/v1/products/a/b", 404, "not_found"),
        ("/v1/products/a?colour=red", 400, "query"),
        ("/v1/products/a?min_stamp=x", 400, "invalid_params"),
        ("/v1/products?limit=0", 400, "invalid_params"),
        ("/v1/products?key=%FF", 400, "query"),
    ] {
        let response = node.get(path, &[]).await;
        assert_eq!(response.status(), status, "{path:.60}");
        assert_eq!(header(&response, "cache-control"), "no-store");
        assert_eq!(reason(response).await, word, "{path:.60}");
    }
    for method in ["PUT", "PATCH", "DELETE"] {
        let response = node.send(method, "/v1/products/%FF", &[("origin", "http://elsewhere")], "{}").await;
        assert_eq!((response.status().as_u16(), &*reason(response).await), (400, "path"), "{method}");
    }
}

#[tokio::test]
async fn a_batch_answers_in_the_order_asked_and_has_an_etag() {
    let node = Node::start().await;
    node.put("a", r#"{"stock":1}"#).await;
    node.put("c", r#"{"stock":3}"#).await;
    let path = "/v1/products?key=c&key=b&key=a";
    let batch = node.get(path, &[]).await;
    assert_eq!(batch.status(), 200);
    assert_eq!(header(&batch, "surrogate-key"), "products products/c products/b products/a");
    let etag = header(&batch, "etag");
    let body: Value = batch.json().await.expect("JSON");
    let stocks: Vec<_> = body["records"].as_array().expect("records").iter().map(|r| &r["value"]["stock"]).collect();
    assert_eq!(stocks, [&json!(3), &Value::Null, &json!(1)]);
    assert_eq!(node.get(path, &[("if-none-match", &etag)]).await.status(), 304);
    node.put("b", "{}").await;
    assert_eq!(node.get(path, &[("if-none-match", &etag)]).await.status(), 200);
    let many = format!("/v1/products?{}", "key=a&".repeat(1_001));
    assert_eq!(node.get(&many, &[]).await.status(), 413);
}

#[tokio::test]
async fn a_page_of_another_origin_writes_nothing() {
    let node = Node::start().await;
    let evil = [("origin", "https://evil.example"), ("content-type", "application/json")];
    for (method, path) in [("PUT", ITEM), ("PATCH", ITEM), ("DELETE", ITEM), ("POST", "/v1/rpc")] {
        assert_eq!(node.send(method, path, &evil, "{}").await.status(), 403, "{method}");
    }
    assert_eq!(node.get(ITEM, &[]).await.status(), 404);
}
