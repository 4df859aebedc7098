//! Whatever a client sends is answered with a reason, and the socket stays open.

use serde_json::{Value, json};

use crate::harness::{Node, Socket, both, node::config};

/// A product that can be written.
fn product() -> Value {
    json!({"name": "MUG", "price": 295, "stock": 41})
}

fn put(key: &str, value: Value) -> Value {
    json!({"collection": "products", "key": key, "value": value})
}

/// Sends `text` and returns the code, the reason and the id of its answer.
async fn refusal(socket: &mut Socket, text: impl Into<String>) -> (i64, String, Value) {
    socket.send(text).await;
    let answer = socket.text().await;
    let error = &answer["error"];
    let reason = error["data"]["reason"].as_str().unwrap_or_else(|| panic!("no refusal: {answer}"));
    (error["code"].as_i64().expect("a code"), reason.to_owned(), answer["id"].clone())
}

async fn is_open(socket: &mut Socket) {
    let record = socket.ok("get", json!(["products", "nothing"])).await;
    assert_eq!(record["value"], Value::Null);
}

both! {
async fn what_is_no_request_is_refused_and_the_socket_stays(kind) {
    let node = Node::start(kind).await;
    let mut socket = Socket::open(&node).await;
    for text in ["", "{", "nope", "\u{feff}{}", "[1,", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"get\"} x", "\0", "{'a':1}"] {
        assert_eq!(refusal(&mut socket, text).await, (-32700, "parse_error".into(), Value::Null), "{text:?}");
    }
    for text in ["7", "null", "[]", "{}", "\"get\"", r#"{"jsonrpc":"2.0","id":[1],"method":"get"}"#] {
        assert_eq!(refusal(&mut socket, text).await, (-32600, "invalid_request".into(), Value::Null), "{text}");
    }
    for text in [
        r#"{"jsonrpc":"1.0","id":7,"method":"get"}"#,
        r#"{"id":7,"method":"get","params":["products","a"]}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":5}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":"get","params":"products"}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":"get","method":"put","params":["products","a"]}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":"\ud800"}"#,
    ] {
        assert_eq!(refusal(&mut socket, text).await, (-32600, "invalid_request".into(), json!(7)), "{text}");
    }
    is_open(&mut socket).await;
    node.stop().await;
}

async fn unknown_names_are_refused_with_what_there_is(kind) {
    let node = Node::start(kind).await;
    let mut socket = Socket::open(&node).await;
    let error = socket.refused("fetch", json!([])).await;
    assert_eq!((&error["code"], &error["data"]["reason"]), (&json!(-32601), &json!("method_not_found")));
    assert!(error["message"].as_str().is_some_and(|m| m.contains("get_many")), "{error}");
    assert_eq!(socket.refused("authenticate", json!(["t"])).await["code"], -32601);
    for method in ["get", "delete", "subscribe"] {
        let error = socket.refused(method, json!(["producs", "a"])).await;
        assert_eq!((&error["code"], &error["data"]["reason"]), (&json!(-32003), &json!("unknown_collection")));
        assert!(error["message"].as_str().is_some_and(|m| m.contains("products")), "{error}");
    }
    for (method, params, named) in [
        ("get", json!({"collection": "products", "key": "a", "colour": 1}), "colour"),
        ("get", json!({"collection": "products"}), "key"),
        ("get", json!({"collection": 7, "key": "a"}), "collection"),
        ("get", json!({"collection": "products", "key": {}}), "key"),
        ("get", json!({"collection": "products", "key": "a", "min_stamp": "new"}), "min_stamp"),
        ("get", json!({"collection": "products", "key": "a", "max_stale_ms": -1}), "max_stale_ms"),
        ("get_many", json!({"collection": "products", "keys": "a"}), "keys"),
        ("subscribe", json!({"collection": "products", "key": "a", "keys": ["a"]}), "keys"),
        ("subscribe", json!({"collection": "products", "keys": []}), "keys"),
        ("subscribe", json!({"collection": "products", "key": "a", "since": {"a": 1}}), "since"),
        ("put", json!({"collection": "products", "key": "a"}), "value"),
        ("put", json!({"collection": "products", "key": "a", "value": {}, "if_stamp": 1}), "if_stamp"),
        ("put", json!({"collection": "products", "key": "a", "value": {}, "idempotency_key": ""}), "idempotency_key"),
        ("patch", json!({"collection": "products", "key": "a", "increment": {"stock": "1"}}), "stock"),
        ("patch", json!({"collection": "products", "key": "a", "value": {}, "return": 1}), "return"),
        ("unsubscribe", json!([7]), "id"),
    ] {
        let error = socket.refused(method, params.clone()).await;
        assert_eq!(error["code"], -32602, "{method} {params}: {error}");
        assert!(error["message"].as_str().is_some_and(|m| m.contains(named)), "{method} {params}: {error}");
    }
    is_open(&mut socket).await;
    node.stop().await;
}

async fn hostile_keys_are_refused_or_opaque(kind) {
    let node = Node::start(kind).await;
    let mut socket = Socket::open(&node).await;
    let long = "x".repeat(10 * 1024);
    let wrong = [
        ("products", json!("")), ("products", json!(long)), ("products", json!("a\0b")),
        ("readings", json!("")), ("readings", json!("seven")), ("readings", json!("1.5")), ("readings", json!(" 1")),
        ("readings", json!("9223372036854775808")), ("readings", json!("1; DROP TABLE readings")),
        ("parcels", json!("7")), ("parcels", json!(7)), ("parcels", json!("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1")),
    ];
    for (collection, key) in &wrong {
        let value = if *collection == "products" { product() } else { json!({}) };
        for (method, params) in [
            ("get", json!({"collection": collection, "key": key})),
            ("get_many", json!({"collection": collection, "keys": [key]})),
            ("subscribe", json!({"collection": collection, "key": key})),
            ("put", json!({"collection": collection, "key": key, "value": value})),
            ("patch", json!({"collection": collection, "key": key, "value": {}})),
            ("delete", json!({"collection": collection, "key": key})),
        ] {
            let error = socket.refused(method, params).await;
            let told = (&error["code"], &error["data"]["reason"]);
            assert_eq!(told, (&json!(-32004), &json!("invalid_key")), "{method} {collection} {key:.40}: {error}");
            assert!(error.to_string().len() < 1_000, "the answer repeats the key");
        }
    }
    for key in ["../../etc/passwd", "a\nb\r\n", "'; DROP TABLE products; --", "\"}{\\", "%00%2e", " ", "\u{202e}\u{1f4a9}", "s1"] {
        let written = socket.ok("put", put(key, product())).await;
        assert_eq!(written["key"], key);
        let read = socket.ok("get", json!(["products", key])).await;
        assert_eq!((&read["key"], &read["value"]["sku"], &read["stamp"]), (&json!(key), &json!(key), &written["stamp"]));
        socket.ok("subscribe", json!(["products", key])).await;
        assert_eq!(socket.push().await, read);
    }
    node.stop().await;
}

async fn a_lone_surrogate_names_no_key_and_no_column(kind) {
    let node = Node::start(kind).await;
    let mut socket = Socket::open(&node).await;
    let text = r#"{"jsonrpc":"2.0","id":1,"method":"get","params":["products","\ud800"]}"#;
    assert_eq!(refusal(&mut socket, text).await.0, -32602);
    let text = r#"{"jsonrpc":"2.0","id":1,"method":"put","params":["products","a",{"name":"\udc00","price":1}]}"#;
    assert_eq!(refusal(&mut socket, text).await.0, -32005);
    let text = r#"{"jsonrpc":"2.0","id":1,"method":"put","params":["products","a",{"\ud800":1}]}"#;
    let (code, _, id) = refusal(&mut socket, text).await;
    assert!([-32005, -32602].contains(&code) && id == 1, "{code}");
    is_open(&mut socket).await;
    node.stop().await;
}

async fn a_refused_value_names_its_column_and_constraint(kind) {
    let node = Node::start(kind).await;
    let mut socket = Socket::open(&node).await;
    socket.ok("put", put("p", json!({"name": "MUG", "price": 1, "stock": 2}))).await;
    let refused = [
        (json!({"name": "MUG", "price": -1}), json!("price"), json!("products_price_not_negative")),
        (json!({"price": 1}), json!("name"), Value::Null),
        (json!({"name": null, "price": 1}), json!("name"), Value::Null),
        (json!({"name": "MUG", "price": "dear"}), json!("price"), Value::Null),
        (json!({"name": "MUG", "price": 1.5}), json!("price"), Value::Null),
        (json!({"name": "MUG", "price": 1, "stock": 3_000_000_000_u64}), json!("stock"), Value::Null),
        (json!({"name": "MUG", "price": 1, "colour": "red"}), json!("colour"), Value::Null),
        (json!({"name": "MUG", "price": 1, "sku": "other"}), json!("sku"), Value::Null),
        (json!({"name": "nul \u{0}", "price": 1}), json!("name"), Value::Null),
    ];
    for (value, column, constraint) in refused {
        let error = socket.refused("put", put("p", value.clone())).await;
        assert_eq!((&error["code"], &error["data"]["reason"]), (&json!(-32005), &json!("invalid_value")), "{value}");
        assert_eq!(error["data"]["constraint"], constraint, "{value}: {error}");
        assert_eq!(error["data"]["column"], column, "{value}: {error}");
        let said = error["message"].as_str().unwrap_or_default();
        assert!(!said.contains("products_0"), "a partition is nobody's business: {said}");
    }
    let below = json!({"collection": "products", "key": "p", "increment": {"stock": -3}});
    let error = socket.refused("patch", below).await;
    assert_eq!((&error["code"], &error["data"]["constraint"]), (&json!(-32005), &json!("products_stock_not_negative")));
    let wrong = json!({"collection": "products", "key": "p", "increment": {"name": 1}});
    assert_eq!(socket.refused("patch", wrong).await["data"]["column"], "name");
    for value in [json!([]), json!(7), json!("x"), Value::Null] {
        assert_eq!(socket.refused("put", put("p", value.clone())).await["code"], -32602, "{value}");
    }
    let read = socket.ok("get", json!(["products", "p"])).await;
    assert_eq!((&read["value"]["price"], &read["value"]["stock"]), (&json!(1), &json!(2)));
    node.stop().await;
}

async fn a_value_over_the_limit_is_too_large_and_one_below_fits(kind) {
    let node = Node::start(kind).await;
    let mut socket = Socket::open(&node).await;
    let large = |len: usize| json!({"name": "x".repeat(len), "price": 1});
    let error = socket.refused("put", put("big", large(1 << 20))).await;
    assert_eq!((&error["code"], &error["data"]["reason"]), (&json!(-32007), &json!("too_large")));
    let error = socket.refused("patch", json!({"collection": "products", "key": "big", "value": large(1 << 20)})).await;
    assert_eq!(error["code"], -32007);
    socket.ok("put", put("big", large((1 << 20) - 100))).await;
    let read = socket.ok("get", json!(["products", "big"])).await;
    assert_eq!(read["value"]["name"].as_str().map(str::len), Some((1 << 20) - 100));
    node.stop().await;
}

async fn deep_nesting_is_refused_and_harms_nobody(kind) {
    let node = Node::start(kind).await;
    let mut socket = Socket::open(&node).await;
    let deep = |open: &str, close: &str, depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
    for method in ["put", "patch"] {
        for nested in [deep("[", "]", 100_000), deep("{\"a\":", "}", 100_000)] {
            let text = format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":["products","a",{{"name":"n","price":1,"attributes":{nested}}}]}}"#
            );
            let (code, _, id) = refusal(&mut socket, text).await;
            assert!([-32602, -32005, -32007].contains(&code) && id == 1, "{method}: {code}");
        }
    }
    // A batch whose one member is no request.
    socket.send(deep("[", "]", 100_000)).await;
    assert_eq!(socket.text().await[0]["error"]["code"], -32600);
    let shallow = deep("[", "]", 20);
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"put","params":["products","a",{{"name":"n","price":1,"attributes":{shallow}}}]}}"#
    );
    socket.send(text).await;
    assert!(socket.text().await["result"].is_object());
    node.stop().await;
}

async fn batches_are_limited_and_bad_members_are_answered_one_by_one(kind) {
    let node = Node::start(kind).await;
    let mut socket = Socket::open(&node).await;
    let get = |id: usize| json!({"jsonrpc": "2.0", "id": id, "method": "get", "params": ["products", format!("k{id}")]});
    let huge: Vec<_> = (0..10_000).map(get).collect();
    assert_eq!(refusal(&mut socket, json!(huge).to_string()).await, (-32007, "batch".into(), Value::Null));
    assert_eq!(refusal(&mut socket, "[]").await.0, -32600);
    socket.send(json!([
        get(1), 7, {"jsonrpc": "2.0", "id": "x", "method": "nope"}, [get(2)], {"jsonrpc": "2.0", "method": "get"}, get(1), {"id": 9}
    ]).to_string()).await;
    let answers = socket.text().await;
    let told: Vec<_> = answers.as_array().expect("a batch").iter()
        .map(|answer| (answer["id"].clone(), answer["error"]["code"].as_i64())).collect();
    assert_eq!(told, [
        (json!(1), None), (Value::Null, Some(-32600)), (json!("x"), Some(-32601)), (Value::Null, Some(-32600)),
        (json!(1), None), (json!(9), Some(-32600)),
    ]);
    let most: Vec<_> = (0..1_000).map(get).collect();
    socket.send(json!(most).to_string()).await;
    let answers = socket.text().await;
    let keys: Vec<_> = answers.as_array().expect("a batch").iter().map(|answer| &answer["result"]["key"]).collect();
    assert!(keys.len() == 1_000 && keys[7] == "k7");
    socket.send(r#"[{"jsonrpc":"2.0","method":"get","params":["products","a"]},{"jsonrpc":"2.0","method":"nope"}]"#).await;
    is_open(&mut socket).await;
    node.stop().await;
}

async fn ids_may_be_reused_and_each_request_is_answered(kind) {
    let node = Node::start(kind).await;
    let mut socket = Socket::open(&node).await;
    for _ in 0..50 {
        socket.send(r#"{"jsonrpc":"2.0","id":1,"method":"get","params":["products","same"]}"#).await;
    }
    for _ in 0..50 {
        let answer = socket.text().await;
        assert_eq!((&answer["id"], &answer["result"]["key"]), (&json!(1), &json!("same")));
    }
    node.stop().await;
}

async fn a_socket_watches_as_many_keys_as_allowed_and_says_so_beyond(kind) {
    let mut config = config();
    config.session.subscriptions_max = 1_000;
    let node = Node::start_with(kind, config).await;
    let mut socket = Socket::open(&node).await;
    let mut ids = std::collections::HashSet::new();
    for at in 0..1_000 {
        ids.insert(socket.ok("subscribe", json!(["products", format!("k{at}")])).await.to_string());
    }
    assert_eq!(ids.len(), 1_000);
    for _ in 0..1_000 {
        assert_eq!(socket.push().await["value"], Value::Null);
    }
    let error = socket.refused("subscribe", json!(["products", "one more"])).await;
    assert_eq!((&error["code"], &error["data"]["reason"]), (&json!(-32007), &json!("subscriptions")));
    assert_eq!(socket.ok("unsubscribe", json!(["s1"])).await, true);
    let two = json!({"collection": "products", "keys": ["one", "two"]});
    assert_eq!(socket.refused("subscribe", two).await["code"], -32007);
    socket.ok("subscribe", json!(["products", "one more"])).await;
    socket.push().await;
    socket.ok("put", put("k999", product())).await;
    assert_eq!(socket.push().await["key"], "k999");
    node.stop().await;
}

async fn get_many_beyond_its_limit_is_too_large(kind) {
    let node = Node::start(kind).await;
    let mut socket = Socket::open(&node).await;
    let keys = |len: usize| json!({"collection": "products", "keys": vec!["a"; len]});
    assert_eq!(socket.refused("get_many", keys(1_001)).await["code"], -32007);
    let all = socket.ok("get_many", keys(1_000)).await;
    assert_eq!(all["records"].as_array().map(Vec::len), Some(1_000));
    assert_eq!(socket.ok("get_many", keys(0)).await["records"], json!([]));
    node.stop().await;
}
}
