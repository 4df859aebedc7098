//! A subscription: its id, then a snapshot, then every newer state and never an older one.

use serde_json::{Value, json};

use crate::harness::{
    Kind, Node, Raw, Socket, both,
    raw::{TEXT, masked, request},
    within,
};

fn put(key: &str, price: u64) -> Value {
    json!({"collection": "products", "key": key, "value": {"name": "n", "price": price}})
}

both! {
async fn the_id_comes_first_then_the_snapshot_then_changes(kind) {
    let node = Node::start(kind).await;
    let (mut writer, mut raw) = (Socket::open(&node).await, Raw::open(&node).await);
    let first = writer.ok("put", put("a", 1)).await;
    for (method, params) in [
        ("subscribe", json!(["products", "a"])), ("freshet_subscribe", json!({"key": "a", "collection": "products"})),
        ("subscribe", json!(["products", ["a"]])), ("subscribe", json!({"collection": "products", "keys": ["a"]})),
    ] {
        raw.request(1, method, &params).await;
        let answer = raw.value().await;
        let id = answer["result"].as_str().unwrap_or_else(|| panic!("{answer}"));
        let pushed = raw.value().await;
        assert_eq!((&pushed["method"], &pushed["params"]["subscription"]), (&json!("freshet_subscription"), &json!(id)));
        assert_eq!((pushed.get("id"), &pushed["params"]["result"]["stamp"]), (None, &first["stamp"]));
        assert_eq!(pushed["params"]["result"].get("reset"), None);
        raw.request(1, "unsubscribe", &json!([id])).await;
        assert_eq!(raw.value().await["result"], true);
    }
    raw.request(1, "subscribe", &json!(["products", "a"])).await;
    raw.value().await;
    raw.value().await;
    for price in 2..30 {
        let written = writer.ok("put", put("a", price)).await;
        let pushed = raw.value().await["params"]["result"].take();
        assert_eq!((&pushed["stamp"], &pushed["value"]["price"]), (&written["stamp"], &json!(price)));
    }
    node.stop().await;
}

async fn subscribers_that_come_and_go_see_rising_versions_and_the_last(kind) {
    const WRITES: u64 = 600;
    let node = Node::start(kind).await;
    Socket::open(&node).await.ok("put", put("hot", 0)).await;
    let mut writer = Raw::open(&node).await;
    let writing = async {
        for id in 1..=WRITES {
            writer.request(id, "patch", &json!({"collection": "products", "key": "hot", "increment": {"stock": 1}})).await;
            let answer = writer.value().await;
            assert!(answer["result"].is_object(), "{answer}");
            // Lets subscribers in on a node with one thread to spare.
            tokio::task::yield_now().await;
        }
    };
    let watching = futures_util::future::join_all((0..200).map(|at| {
        let node = &node;
        async move {
            let mut raw = Raw::open(node).await;
            // Half of them leave and come back some states later.
            for round in 0..=(at % 2) {
                let mut seen = 0;
                raw.request(1, "subscribe", &json!(["products", "hot"])).await;
                let id = raw.value().await["result"].take();
                assert!(id.is_string());
                let leaves = round == 0 && at % 2 == 1;
                for states in 0.. {
                    let pushed = raw.value().await["params"].take();
                    let record = &pushed["result"];
                    let version = record["version"].as_u64().unwrap_or_else(|| panic!("{pushed}"));
                    assert_eq!(pushed["subscription"], id);
                    assert!(version > seen, "{version} after {seen}");
                    seen = version;
                    if record["value"]["stock"] == WRITES || (leaves && states > at % 7) {
                        break;
                    }
                }
                if leaves {
                    raw.request(2, "unsubscribe", &json!([id])).await;
                    loop {
                        let message = raw.value().await;
                        if message["id"] == 2 {
                            break assert_eq!(message["result"], true);
                        }
                    }
                }
            }
        }
    }));
    within("everybody sees the last state", async { tokio::join!(writing, watching) }).await;
    node.stop().await;
}

async fn since_skips_what_is_current_and_nothing_else(kind) {
    let node = Node::start(kind).await;
    let mut socket = Socket::open(&node).await;
    let mut stamps = std::collections::HashMap::new();
    for key in ["same", "newer", "gone"] {
        stamps.insert(key, socket.ok("put", put(key, 1)).await["stamp"].take());
    }
    let newer = socket.ok("put", put("newer", 2)).await["stamp"].take();
    let gone = socket.ok("delete", json!(["products", "gone"])).await["stamp"].take();
    let since = json!({"same": stamps["same"], "newer": stamps["newer"], "gone": gone, "never": "1.5"});
    let keys = ["same", "newer", "gone", "never"];
    socket.ok("subscribe", json!({"collection": "products", "keys": keys, "since": since})).await;
    let mut told = std::collections::HashMap::new();
    for _ in 0..3 {
        let record = socket.push().await;
        told.insert(record["key"].as_str().expect("a key").to_owned(), record);
    }
    assert_eq!((&told["newer"]["stamp"], &told["newer"]["value"]["price"]), (&newer, &json!(2)));
    assert_eq!((&told["gone"]["value"], &told["gone"]["stamp"]), (&Value::Null, &gone), "absence is always sent");
    assert_eq!((&told["never"]["value"], &told["never"]["version"]), (&Value::Null, &json!(0)));
    // The one that was skipped is live all the same.
    let written = socket.ok("put", put("same", 3)).await;
    assert_eq!(socket.push().await["stamp"], written["stamp"]);
    node.stop().await;
}

async fn each_subscription_to_a_key_has_its_own_snapshot_and_pushes(kind) {
    let node = Node::start(kind).await;
    let mut raw = Raw::open(&node).await;
    raw.request(1, "put", &put("a", 1)).await;
    raw.value().await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        raw.request(1, "subscribe", &json!({"collection": "products", "keys": ["a", "a", "a"]})).await;
        ids.push(raw.value().await["result"].take());
        let pushed = raw.value().await["params"].take();
        assert_eq!((&pushed["subscription"], &pushed["result"]["value"]["price"]), (ids.last().expect("one"), &json!(1)));
    }
    assert_ne!(ids[0], ids[1]);
    raw.request(7, "put", &put("a", 2)).await;
    let mut pushed = Vec::new();
    for _ in 0..3 {
        let message = raw.value().await;
        if message["id"] != 7 {
            assert_eq!(message["params"]["result"]["value"]["price"], 2);
            pushed.push(message["params"]["subscription"].clone());
        }
    }
    pushed.sort_by_key(Value::to_string);
    assert_eq!(pushed, ids);
    node.stop().await;
}

async fn unsubscribe_is_true_once_and_ends_the_pushes(kind) {
    let node = Node::start(kind).await;
    let mut raw = Raw::open(&node).await;
    raw.request(1, "subscribe", &json!({"collection": "products", "keys": ["a", "b"]})).await;
    let ended = raw.value().await["result"].take();
    raw.value().await;
    raw.value().await;
    raw.request(1, "subscribe", &json!(["products", "a"])).await;
    let kept = raw.value().await["result"].take();
    raw.value().await;
    for (id, known) in [(ended.clone(), true), (ended.clone(), false), (json!("s999"), false), (json!("nonsense"), false), (json!(""), false)] {
        raw.request(1, "freshet_unsubscribe", &json!({"id": id})).await;
        assert_eq!(raw.value().await["result"], known, "{id}");
    }
    for price in 1..20 {
        raw.request(7, "put", &put("b", price)).await;
        assert_eq!(raw.value().await["id"], 7, "nothing but the answer");
        raw.request(7, "put", &put("a", price)).await;
        let (one, two) = (raw.value().await, raw.value().await);
        let push = if one["id"] == 7 { two } else { one };
        assert_eq!(push["params"]["subscription"], kept);
    }
    // Another connection's subscription is not this one's to end.
    let mut other = Socket::open(&node).await;
    assert_eq!(other.ok("unsubscribe", json!([kept])).await, false);
    node.stop().await;
}

async fn a_record_that_goes_and_comes_back_is_followed(kind) {
    let node = Node::start(kind).await;
    let mut socket = Socket::open(&node).await;
    socket.ok("subscribe", json!(["products", "a"])).await;
    let mut last = socket.push().await;
    assert_eq!((&last["value"], &last["version"]), (&Value::Null, &json!(0)));
    for price in 1..15 {
        let written = socket.ok("put", put("a", price)).await;
        let there = socket.push().await;
        assert_eq!((&there["stamp"], &there["value"]["price"]), (&written["stamp"], &json!(price)));
        let deleted = socket.ok("delete", json!(["products", "a"])).await;
        let gone = socket.push().await;
        assert_eq!((&gone["stamp"], &gone["value"]), (&deleted["stamp"], &Value::Null));
        let versions = [&last, &there, &gone].map(|record| record["version"].as_u64());
        assert!(versions.is_sorted() && versions[1] != versions[2], "{versions:?}");
        assert!(there.get("reset").is_none() && gone.get("reset").is_none());
        last = gone;
    }
    node.stop().await;
}
}

/// One thread: the writes of one read are carried out before any watcher has its turn.
#[tokio::test]
async fn a_watcher_sees_each_state_that_came_before_its_turn() {
    const WRITES: u64 = 60;
    let node = Node::start(Kind::Memory).await;
    let (mut writer, mut watcher) = (Raw::open(&node).await, Socket::open(&node).await);
    writer.request(0, "put", &put("hot", 0)).await;
    writer.value().await;
    watcher.ok("subscribe", json!(["products", "hot"])).await;
    watcher.push().await;
    let writes = (1..=WRITES).flat_map(|price| masked(TEXT, request(price, "put", &put("hot", price)).as_bytes()));
    writer.send(&writes.collect::<Vec<u8>>()).await;
    for price in 1..=WRITES {
        assert_eq!(watcher.push().await["value"]["price"], price);
    }
    node.stop().await;
}
