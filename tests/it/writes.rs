//! What writes do to a record, and what they answer.

use serde_json::{Value, json};

use crate::harness::{Kind, Node, Socket, both};

fn put(key: &str, value: Value) -> Value {
    json!({"collection": "products", "key": key, "value": value})
}

fn patch(key: &str, value: Value) -> Value {
    json!({"collection": "products", "key": key, "value": value, "return": true})
}

/// `params` with further members.
fn with(mut params: Value, more: Value) -> Value {
    params.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    params
}

async fn value(socket: &mut Socket, key: &str) -> Value {
    socket.ok("get", json!(["products", key])).await["value"].take()
}

both! {
async fn put_replaces_the_whole_record(kind) {
    let node = Node::start(kind).await;
    let mut socket = Socket::open(&node).await;
    let full = json!({"name": "MUG", "price": 295, "stock": 41, "currency": "EUR", "attributes": {"colour": "red"}});
    let first = socket.ok("put", put("a", full)).await;
    let second = socket.ok("put", put("a", json!({"sku": "a", "name": "CUP", "price": 5}))).await;
    assert!(second["version"].as_u64() > first["version"].as_u64(), "{first} {second}");
    assert_eq!(first.get("value"), None);
    let expected = json!({"sku": "a", "name": "CUP", "price": 5, "stock": 0, "currency": "GBP", "attributes": {}});
    let read = socket.ok("get", json!(["products", "a"])).await;
    assert_eq!((&read["value"], &read["stamp"], &read["version"]), (&expected, &second["stamp"], &second["version"]));
    node.stop().await;
}

async fn patch_merges_columns_and_what_a_json_column_holds(kind) {
    let node = Node::start(kind).await;
    let mut socket = Socket::open(&node).await;
    let attributes = json!({"colour": "red", "size": {"w": 1, "h": 2}, "tags": [1, 2]});
    socket.ok("put", put("a", json!({"name": "MUG", "price": 295, "stock": 4, "attributes": attributes}))).await;
    let change = json!({"price": 300, "attributes": {"colour": null, "size": {"h": 3}, "tags": [9], "new": {"x": null, "y": 1}}});
    let answer = socket.ok("patch", patch("a", change)).await;
    let expected = json!({"size": {"w": 1, "h": 3}, "tags": [9], "new": {"y": 1}});
    assert_eq!((&answer["value"]["attributes"], &answer["value"]["price"]), (&expected, &json!(300)));
    assert_eq!((&answer["value"]["name"], &answer["value"]["stock"]), (&json!("MUG"), &json!(4)));
    assert_eq!(value(&mut socket, "a").await, answer["value"]);
    let answer = socket.ok("patch", with(patch("a", json!({"attributes": [1]})), json!({"return": false}))).await;
    assert_eq!(answer.get("value"), None);
    assert_eq!(value(&mut socket, "a").await["attributes"], json!([1]));

    socket.ok("put", json!(["readings", 7, {"label": "x", "amount": 1.5, "body": {"a": 1}}])).await;
    let change = json!({"collection": "readings", "key": 7, "value": {"label": null, "body": null}, "return": true});
    let answer = socket.ok("patch", change).await;
    assert_eq!((&answer["value"]["label"], &answer["value"]["body"]), (&Value::Null, &Value::Null));
    assert_eq!(answer["value"]["amount"], 1.5);
    let made = socket.ok("patch", patch("fresh", json!({"name": "NEW", "price": 1}))).await;
    assert_eq!((&made["value"]["stock"], &made["value"]["currency"]), (&json!(0), &json!("GBP")), "an absent record is made");
    node.stop().await;
}

async fn increments_are_exact(kind) {
    let node = Node::start(kind).await;
    let mut socket = Socket::open(&node).await;
    socket.ok("put", put("a", json!({"name": "MUG", "price": 9_007_199_254_740_993_u64, "stock": 41}))).await;
    let both = json!({"collection": "products", "key": "a", "value": {"name": "CUP"}, "increment": {"stock": -1, "price": 2}, "return": true});
    let value = socket.ok("patch", both).await["value"].take();
    assert_eq!((&value["stock"], &value["price"], &value["name"]), (&json!(40), &json!(9_007_199_254_740_995_u64), &json!("CUP")));
    let unclear = json!({"collection": "products", "key": "a", "value": {"price": 10}, "increment": {"price": 5}});
    assert_eq!(socket.refused("patch", unclear).await["code"], -32602);
    socket.send(r#"{"jsonrpc":"2.0","id":1,"method":"put","params":["readings",1,{"amount":0.1}]}"#).await;
    socket.text().await;
    for amount in ["0.2", "123456789012345678901234567890.000000000000000001", "-0.3"] {
        socket.send(format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"patch","params":{{"collection":"readings","key":1,"increment":{{"amount":{amount}}}}}}}"#
        )).await;
        assert!(socket.text().await["result"].is_object());
    }
    socket.send(r#"{"jsonrpc":"2.0","id":1,"method":"get","params":["readings",1]}"#).await;
    let Some(tungstenite::Message::Text(text)) = socket.frame().await else { panic!("no text") };
    assert!(text.contains(r#""amount":123456789012345678901234567890.000000000000000001,"#), "{text}");
    node.stop().await;
}

async fn if_stamp_guards_every_kind_of_write(kind) {
    let node = Node::start(kind).await;
    let mut socket = Socket::open(&node).await;
    let mug = json!({"name": "MUG", "price": 1});
    let mut current = socket.ok("put", with(put("a", mug.clone()), json!({"if_stamp": "0"}))).await["stamp"].take();
    for (method, params) in [
        ("put", put("a", json!({"name": "MUG", "price": 2}))),
        ("patch", patch("a", json!({"price": 3}))),
        ("delete", json!({"collection": "products", "key": "a"})),
    ] {
        for stale in ["0", "1.99999", "99.99"] {
            let error = socket.refused(method, with(params.clone(), json!({"if_stamp": stale}))).await;
            assert_eq!((&error["code"], &error["data"]["reason"]), (&json!(-32006), &json!("version_conflict")));
            assert_eq!(error["data"]["stamp"], current, "{method} {stale}");
        }
        let written = socket.ok(method, with(params, json!({"if_stamp": current}))).await;
        current = written["stamp"].clone();
    }
    // Deleted now: "0" and the tombstone's stamp both hold.
    let again = socket.ok("put", with(put("a", mug.clone()), json!({"if_stamp": "0"}))).await;
    assert!(again["version"].as_u64() > current.as_str().and_then(|s| s.rsplit('.').next()?.parse().ok()));
    let error = socket.refused("put", with(put("never", mug), json!({"if_stamp": "1.99999"}))).await;
    assert_eq!(error["code"], -32006);
    assert_eq!(value(&mut socket, "never").await, Value::Null);
    node.stop().await;
}

async fn a_tombstone_is_above_what_it_deleted_and_below_what_follows(kind) {
    let node = Node::start(kind).await;
    let mut socket = Socket::open(&node).await;
    let mut last = 0;
    for round in 0..5 {
        let made = socket.ok("put", put("a", json!({"name": "n", "price": round}))).await;
        let gone = socket.ok("delete", json!(["products", "a"])).await;
        let read = socket.ok("get", json!(["products", "a"])).await;
        assert_eq!((&read["value"], &read["stamp"]), (&Value::Null, &gone["stamp"]));
        let (made, gone) = (made["version"].as_u64().expect("n"), gone["version"].as_u64().expect("n"));
        assert!(last < made && made < gone, "{last} {made} {gone}");
        last = gone;
    }
    let nothing = socket.ok("delete", json!(["products", "a"])).await;
    assert_eq!(nothing["version"].as_u64(), Some(last), "deleting what is gone changes nothing");
    assert_eq!(socket.ok("delete", json!(["products", "never"])).await["version"], 0);
    node.stop().await;
}

async fn a_write_that_changes_nothing_keeps_the_stamp_and_wakes_nobody(kind) {
    let node = Node::start(kind).await;
    let (mut writer, mut watcher) = (Socket::open(&node).await, Socket::open(&node).await);
    let mug = json!({"name": "MUG", "price": 1, "attributes": {"a": 1}});
    let first = writer.ok("put", put("a", mug.clone())).await;
    watcher.ok("subscribe", json!(["products", "a"])).await;
    watcher.push().await;
    for (method, params) in [
        ("put", put("a", mug)), ("patch", patch("a", json!({"price": 1}))), ("patch", patch("a", json!({}))),
        ("patch", json!({"collection": "products", "key": "a", "increment": {"stock": 0}})),
        ("patch", patch("a", json!({"attributes": {"nothing": null}}))),
    ] {
        let written = writer.ok(method, params.clone()).await;
        assert_eq!(written["stamp"], first["stamp"], "{method} {params}");
    }
    let changed = writer.ok("patch", patch("a", json!({"price": 2}))).await;
    assert_eq!(watcher.push().await["stamp"], changed["stamp"], "the next thing pushed is the next state");
    node.stop().await;
}

async fn a_repeated_idempotency_key_is_answered_alike_and_applied_once(kind) {
    let node = Node::start(kind).await;
    let mut socket = Socket::open(&node).await;
    socket.ok("put", put("a", json!({"name": "MUG", "price": 1, "stock": 10}))).await;
    let take = json!({"collection": "products", "key": "a", "increment": {"stock": -1}, "idempotency_key": "order-1", "return": true});
    let first = socket.ok("patch", take.clone()).await;
    assert_eq!(socket.ok("patch", take.clone()).await["stamp"], first["stamp"]);
    let mut other = Socket::open(&node).await;
    assert_eq!(other.ok("patch", take.clone()).await["stamp"], first["stamp"]);
    assert_eq!(value(&mut socket, "a").await["stock"], 9);
    for different in [
        with(take.clone(), json!({"increment": {"stock": -2}})),
        with(take.clone(), json!({"if_stamp": first["stamp"]})),
    ] {
        let error = socket.refused("patch", different).await;
        assert_eq!((&error["code"], &error["data"]["reason"]), (&json!(-32602), &json!("idempotency_key_reused")));
    }
    let error = socket.refused("delete", json!({"collection": "products", "key": "a", "idempotency_key": "order-1"})).await;
    assert_eq!(error["data"]["reason"], "idempotency_key_reused");
    // The key is the record's: another record may have the same.
    let elsewhere = with(put("b", json!({"name": "CUP", "price": 1})), json!({"idempotency_key": "order-1"}));
    let made = socket.ok("put", elsewhere.clone()).await;
    socket.ok("delete", json!(["products", "b"])).await;
    assert_eq!(socket.ok("put", elsewhere).await["stamp"], made["stamp"], "answered as then, and not done again");
    assert_eq!(value(&mut socket, "b").await, Value::Null);
    // A refused write has not happened: its key is still free.
    let refused = json!({"collection": "products", "key": "a", "increment": {"stock": -100}, "idempotency_key": "order-2"});
    assert_eq!(socket.refused("patch", refused).await["code"], -32005);
    let fitting = json!({"collection": "products", "key": "a", "increment": {"stock": -2}, "idempotency_key": "order-2"});
    socket.ok("patch", fitting).await;
    assert_eq!(value(&mut socket, "a").await["stock"], 7);
    node.stop().await;
}

async fn repeats_at_the_same_time_are_applied_once(kind) {
    let node = Node::start(kind).await;
    let mut socket = Socket::open(&node).await;
    socket.ok("put", put("a", json!({"name": "MUG", "price": 1}))).await;
    for round in 1..=10 {
        let take = json!({"collection": "products", "key": "a", "increment": {"stock": 1}, "idempotency_key": format!("{round}")});
        let repeats = (0..8).map(|_| async {
            let mut socket = Socket::open(&node).await;
            socket.ok("patch", take.clone()).await["stamp"].clone()
        });
        let stamps = futures_util::future::join_all(repeats).await;
        assert!(stamps.iter().all(|stamp| *stamp == stamps[0]), "{stamps:?}");
        assert_eq!(value(&mut socket, "a").await["stock"], round);
    }
    node.stop().await;
}

async fn increments_of_one_key_by_fifty_clients_sum_exactly(kind) {
    let node = Node::start(kind).await;
    let mut socket = Socket::open(&node).await;
    socket.ok("put", put("a", json!({"name": "MUG", "price": 1}))).await;
    let clients = (0..50).map(|client: i64| {
        let node = &node;
        async move {
            let mut socket = Socket::open(node).await;
            for _ in 0..10 {
                let more = json!({"collection": "products", "key": "a", "increment": {"stock": client + 1, "price": 1}});
                socket.ok("patch", more).await;
            }
        }
    });
    futures_util::future::join_all(clients).await;
    let sum: i64 = (1..=50).map(|client| client * 10).sum();
    let value = value(&mut socket, "a").await;
    assert_eq!((&value["stock"], &value["price"]), (&json!(sum), &json!(501)));
    node.stop().await;
}
}

#[tokio::test]
async fn a_write_of_a_partition_that_is_gone_is_unavailable_and_no_internal_error() {
    let node = Node::start(Kind::Postgres).await;
    let mut socket = Socket::open(&node).await;
    socket.ok("put", put("a", json!({"name": "x", "price": 1}))).await;
    let partition = "SELECT tableoid::regclass::text FROM products WHERE sku = 'a'";
    let partition = node.database().value::<String>(partition).await;
    node.database().run(&format!("DROP TABLE {partition}")).await;
    let error = socket.refused("put", put("a", json!({"name": "y", "price": 2}))).await;
    assert_eq!(error["code"], -32010, "{error}");
    node.stop().await;
}
