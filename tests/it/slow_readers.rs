//! Clients that do not read: they skip states, end on the latest, and cost nobody else.

use std::time::Duration;

use serde_json::json;

use crate::harness::{
    Kind, Node, Process, Raw, Socket, both,
    node::config,
    raw::{TEXT, masked, request},
    within,
};

both! {
async fn a_reader_that_stops_gets_what_was_on_the_way_and_then_the_latest(kind) {
    // Ten thousand commits of one row take a busy machine a minute.
    let changes = if kind == Kind::Memory { 10_000 } else { 2_000 };
    let mut config = config();
    config.session.heartbeat_interval = Duration::from_secs(600);
    let node = Node::start_with(kind, config).await;
    let mut writer = Raw::open(&node).await;
    writer.request(0, "put", &json!(["products", "hot", {"name": "x".repeat(8_000), "price": 1}])).await;
    writer.value().await;
    let mut reader = Raw::narrow(&node, 4096).await;
    reader.request(1, "subscribe", &json!(["products", "hot"])).await;
    let (_, snapshot) = (reader.value().await, reader.value().await);
    let mut last = snapshot["params"]["result"]["version"].as_u64().expect("a version");

    within("the reader is stuck", async {
        while node.metric("freshet_session_blocked_total").await < 1.0 {
            change(&mut writer, 200).await;
        }
    })
    .await;
    change(&mut writer, changes).await;
    // On its way already: in the sockets' buffers or in the part of a write that the socket did not take.
    let sent = node.metric("freshet_session_pushes_total").await;
    let offered = node.metric("freshet_hub_published_total").await;
    assert!(offered - sent > changes as f64 / 2.0, "{sent} of {offered} were sent");
    writer.request(0, "get", &json!(["products", "hot"])).await;
    let current = writer.value().await["result"]["version"].as_u64().expect("a version");
    let mut received = 0.0;
    while last < current {
        let version = reader.value().await["params"]["result"]["version"].as_u64().expect("a version");
        assert!(version > last, "{version} after {last}");
        (last, received) = (version, received + 1.0);
    }
    assert_eq!(last, current);
    assert!(received <= sent + 2.0, "{received} came, {sent} were on the way");
    // Live again.
    change(&mut writer, 1).await;
    assert!(reader.value().await["params"]["result"]["version"].as_u64() > Some(current));
    node.stop().await;
}

async fn a_stuck_reader_of_many_keys_ends_on_the_latest_of_each(kind) {
    const KEYS: usize = 50;
    let node = Node::start(kind).await;
    let mut writer = Socket::open(&node).await;
    let mut reader = Raw::narrow(&node, 4096).await;
    let keys: Vec<_> = (0..KEYS).map(|key| format!("k{key}")).collect();
    reader.request(1, "subscribe", &json!({"collection": "products", "keys": keys})).await;
    for _ in 0..=KEYS {
        reader.value().await;
    }
    let name = "x".repeat(8_000);
    for round in 0..20 {
        for key in &keys {
            writer.ok("put", json!(["products", key, {"name": name, "price": round}])).await;
        }
    }
    // An answer waits its turn behind the pushes that were on their way.
    reader.request(9, "get", &json!(["products", "k0"])).await;
    let (mut versions, mut done, mut answered) = (std::collections::HashMap::new(), 0, false);
    while done < KEYS || !answered {
        let message = reader.value().await;
        if message["id"] == 9 {
            answered = true;
            continue;
        }
        let record = &message["params"]["result"];
        let (key, version) = (record["key"].to_string(), record["version"].as_u64());
        let before = versions.insert(key, version);
        assert!(before.flatten() < version, "{version:?} after {before:?}");
        done += usize::from(record["value"]["price"] == 19);
    }
    node.stop().await;
}
}

/// Changes the record `hot` so many times.
async fn change(writer: &mut Raw, times: u64) {
    let increment = json!({"collection": "products", "key": "hot", "increment": {"stock": 1}});
    for some in (0..times).step_by(200).map(|from| from..times.min(from + 200)) {
        let frames = some.clone().flat_map(|id| masked(TEXT, request(id, "patch", &increment).as_bytes()));
        writer.send(&frames.collect::<Vec<u8>>()).await;
        for _ in some {
            let answer = writer.value().await;
            assert!(answer["result"].is_object(), "{answer}");
        }
    }
}

/// What the node keeps for readers that stopped: measured as the growth of its process's resident memory over the
/// same writes without them. One run of the writes comes first, so that caches and logs are as large as they get.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stuck_readers_are_cheap_and_their_neighbour_sees_every_state() {
    const STUCK: usize = 300;
    let node = Process::start(&[("FRESHET__SESSION__HEARTBEAT_INTERVAL", "600s")]).await;
    let keys: Vec<_> = (0..50).map(|key| format!("k{key}")).collect();
    let subscribe = json!({"collection": "products", "keys": keys});
    let mut writer = Raw::narrow_at(node.public, 1 << 20).await;
    let mut neighbour = Raw::narrow_at(node.public, 1 << 20).await;
    neighbour.request(1, "subscribe", &subscribe).await;
    for _ in 0..=keys.len() {
        neighbour.value().await;
    }
    write_all(&mut writer, &mut neighbour, &keys, 0).await;
    write_all(&mut writer, &mut neighbour, &keys, 1).await;
    let before = node.resident_bytes();

    let mut stuck = Vec::new();
    for _ in 0..STUCK {
        let mut reader = Raw::narrow_at(node.public, 4096).await;
        reader.request(1, "subscribe", &subscribe).await;
        for _ in 0..=keys.len() {
            reader.text().await;
        }
        stuck.push(reader);
    }
    write_all(&mut writer, &mut neighbour, &keys, 2).await;
    let blocked = node.metric("freshet_session_blocked_total").await;
    assert!(blocked >= STUCK as f64, "only {blocked} readers were stuck");
    let each = node.resident_bytes().saturating_sub(before) / STUCK;
    assert!(each <= 64 * 1024, "{} KiB for each stuck reader", each / 1024);
}

/// Writes each key 40 times while `neighbour` reads; it must see each state, in order.
async fn write_all(writer: &mut Raw, neighbour: &mut Raw, keys: &[String], era: u64) {
    let name = "x".repeat(8_000);
    let writing = async {
        for round in 1..=40 {
            for key in keys {
                writer.request(1, "put", &json!(["products", key, {"name": name, "price": era * 100 + round}])).await;
                let answer = writer.value().await;
                assert!(answer["result"].is_object(), "{answer}");
            }
        }
    };
    let reading = async {
        let mut seen = std::collections::HashMap::new();
        for _ in 0..40 * keys.len() {
            let record = neighbour.value().await["params"]["result"].take();
            let next = seen.entry(record["key"].to_string()).or_insert(era * 100 + 1);
            assert_eq!(record["value"]["price"], *next, "{}", record["key"]);
            *next += 1;
        }
    };
    within("every state is seen", async { tokio::join!(writing, reading) }).await;
}
