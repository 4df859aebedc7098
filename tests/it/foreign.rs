//! A client that knows nothing of Freshet: jsonrpsee's, as it comes from its registry, through the scenario that the
//! npm clients go through in `tests/js/foreign`. It does not reconnect, so nothing here waits for that.

use jsonrpsee_core::{
    client::{ClientT as _, Error, Subscription, SubscriptionClientT as _},
    params::{BatchRequestBuilder, ObjectParams},
    rpc_params,
};
use jsonrpsee_ws_client::{WsClient, WsClientBuilder, types::ErrorObjectOwned};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::harness::{Kind, Node, both, within};

/// What `freshet_drain` carries.
#[derive(Deserialize)]
struct Drain {
    reconnect_in_ms: u64,
}

async fn connect(node: &Node) -> WsClient {
    within("connect", WsClientBuilder::default().build(node.url())).await.expect("connect")
}

/// Parameters by name, from an object.
fn named(params: Value) -> ObjectParams {
    let Value::Object(members) = params else { panic!("{params} is no object") };
    let mut named = ObjectParams::new();
    for (name, value) in members {
        named.insert(&name, value).expect("a value");
    }
    named
}

async fn ok(client: &WsClient, method: &str, params: Value) -> Value {
    within(method, client.request(method, named(params))).await.unwrap_or_else(|error| panic!("{method}: {error}"))
}

async fn refused(client: &WsClient, method: &str, params: Value) -> ErrorObjectOwned {
    match within(method, client.request::<Value, _>(method, named(params))).await {
        Err(Error::Call(error)) => error,
        other => panic!("{method} came to {other:?}"),
    }
}

fn reason(error: &ErrorObjectOwned) -> Value {
    let data: Value = serde_json::from_str(error.data().expect("data").get()).expect("JSON");
    data["reason"].clone()
}

/// The stock of the next push.
async fn stock(subscription: &mut Subscription<Value>) -> Value {
    let record = within("a push", subscription.next()).await.expect("subscribed").expect("a record");
    record["value"]["stock"].clone()
}

both! {
async fn jsonrpsee_reads_writes_and_is_refused(kind) {
    let node = Node::start(kind).await;
    let client = connect(&node).await;
    let absent: Value = client.request("get", rpc_params!["products", "a"]).await.expect("an answer");
    assert_eq!((&absent["value"], &absent["version"]), (&Value::Null, &json!(0)));
    let tea = json!({"name": "tea", "price": 295, "stock": 41});
    let made = ok(&client, "put", json!({"collection": "products", "key": "a", "value": tea, "if_stamp": "0"})).await;
    let patch = json!({"collection": "products", "key": "a", "value": {"name": "green tea"}, "increment": {"stock": -1}, "return": true});
    let patched = ok(&client, "freshet_patch", patch).await;
    assert_eq!((&patched["value"]["name"], &patched["value"]["stock"]), (&json!("green tea"), &json!(40)));
    let record = ok(&client, "get", json!({"collection": "products", "key": "a", "min_stamp": patched["stamp"]})).await;
    assert_eq!((&record["stamp"], &record["value"]["stock"]), (&patched["stamp"], &json!(40)));
    let many: Value = client.request("freshet_get_many", rpc_params!["products", ["nope", "a"]]).await.expect("records");
    assert_eq!((&many["records"][0]["value"], &many["records"][1]["stamp"]), (&Value::Null, &patched["stamp"]));

    let late = json!({"collection": "products", "key": "a", "value": tea, "if_stamp": made["stamp"]});
    let conflict = refused(&client, "put", late).await;
    let data: Value = serde_json::from_str(conflict.data().expect("data").get()).expect("JSON");
    assert_eq!((conflict.code(), &data["reason"], &data["stamp"]), (-32006, &json!("version_conflict"), &patched["stamp"]));
    let unknown = refused(&client, "nope", json!({})).await;
    assert_eq!((unknown.code(), reason(&unknown)), (-32601, json!("method_not_found")));
    let invalid = refused(&client, "get", json!({"collection": "products"})).await;
    assert_eq!((invalid.code(), reason(&invalid)), (-32602, json!("invalid_params")));
    assert!(invalid.message().contains("key"), "{}", invalid.message());

    let gone = ok(&client, "delete", json!({"collection": "products", "key": "a"})).await;
    let record = ok(&client, "get", json!({"collection": "products", "key": "a"})).await;
    assert_eq!((&record["value"], &record["stamp"]), (&Value::Null, &gone["stamp"]));
    node.stop().await;
}

async fn jsonrpsee_gets_a_batch_answered_in_its_order(kind) {
    let node = Node::start(kind).await;
    let client = connect(&node).await;
    let mut batch = BatchRequestBuilder::new();
    batch.insert("put", rpc_params!["products", "a", json!({"name": "tea", "price": 1})]).expect("params");
    batch.insert("nope", rpc_params![]).expect("params");
    batch.insert("get", named(json!({"collection": "products", "key": "b"}))).expect("params");
    let answers: Vec<_> = within("a batch", client.batch_request::<Value>(batch)).await.expect("answers").into_iter().collect();
    assert_eq!(answers[0].as_ref().expect("written")["key"], "a");
    assert_eq!(answers[1].as_ref().expect_err("no such method").code(), -32601);
    assert_eq!(answers[2].as_ref().expect("a record")["key"], "b");
    node.stop().await;
}

async fn jsonrpsee_follows_a_record_until_it_unsubscribes(kind) {
    let node = Node::start(kind).await;
    let (client, writer) = (connect(&node).await, connect(&node).await);
    let put = async |stock: u64| {
        let value = json!({"name": "tea", "price": 1, "stock": stock});
        ok(&writer, "put", json!({"collection": "products", "key": "a", "value": value})).await
    };
    put(1).await;
    let mut watched: Subscription<Value> = client
        .subscribe("freshet_subscribe", rpc_params!["products", ["a"]], "freshet_unsubscribe")
        .await
        .expect("subscribed");
    assert_eq!(stock(&mut watched).await, 1);
    for changed in 2..6 {
        put(changed).await;
        assert_eq!(stock(&mut watched).await, changed);
    }
    ok(&writer, "delete", json!({"collection": "products", "key": "a"})).await;
    let gone = within("a push", watched.next()).await.expect("subscribed").expect("a record");
    assert_eq!(gone["value"], Value::Null);
    within("unsubscribe", watched.unsubscribe()).await.expect("unsubscribed");
    // By name, and dropped: jsonrpsee then unsubscribes by itself.
    let params = named(json!({"collection": "products", "key": "a"}));
    let mut again: Subscription<Value> = client.subscribe("subscribe", params, "unsubscribe").await.expect("subscribed");
    assert_eq!(stock(&mut again).await, Value::Null);
    drop(again);
    crate::harness::until("nothing is watched", async || node.metric("freshet_hub_watchers").await == 0.0).await;
    node.stop().await;
}
}

#[tokio::test]
async fn jsonrpsee_is_told_of_a_drain() {
    let node = Node::start(Kind::Memory).await;
    let client = connect(&node).await;
    let mut drains: Subscription<Drain> = client.subscribe_to_method("freshet_drain").await.expect("registered");
    node.stop().await;
    let drain = within("a notification", drains.next()).await.expect("registered").expect("its parameters");
    assert!(drain.reconnect_in_ms <= 5_000, "{}", drain.reconnect_in_ms);
    within("the close", client.on_disconnect()).await;
}
