//! Clients that ask for much and do not read it: what the node holds for them is bounded, and costs nobody else.

use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::harness::{
    Process, Raw,
    raw::{TEXT, masked, request},
    until, within,
};

const MIB: usize = 1024 * 1024;
/// `service.answer_max` by default.
const ANSWER_MAX: usize = 16 * MIB;
/// What a connection may hold as docs/operations.md states it, and what allocators and buffers add.
const CONNECTION_MAX: usize = 32 * MIB + 32 * MIB;
/// Records of almost a mebibyte.
const NAME_BYTES: usize = 1_000_000;

/// Writes the records `r0` to `r{count - 1}`, each almost a mebibyte.
async fn fill(writer: &mut Raw, count: usize) {
    let name = "x".repeat(NAME_BYTES);
    for at in 0..count {
        put(writer, &format!("r{at}"), &name).await;
    }
    put(writer, "small", "s").await;
}

async fn put(writer: &mut Raw, key: &str, name: &str) {
    writer.request(0, "put", &json!(["products", key, {"name": name, "price": 1}])).await;
    let answer = writer.value().await;
    assert!(answer["result"].is_object(), "{answer}");
}

/// Frames of many requests in one piece.
fn frames(texts: impl IntoIterator<Item = String>) -> Vec<u8> {
    texts.into_iter().flat_map(|text| masked(TEXT, text.as_bytes())).collect()
}

/// Asks a small record of the node until `greedy`, who reads nothing, must be stuck; every answer is there at once.
async fn the_neighbour_is_served(neighbour: &mut Raw) {
    for _ in 0..200 {
        neighbour.request(1, "get", &json!(["products", "small"])).await;
        assert_eq!(neighbour.value().await["result"]["value"]["name"], "s");
    }
}

/// Sends `asked` over a connection that reads nothing, and returns what the node's memory grew by, at most.
async fn growth(node: &Process, neighbour: &mut Raw, asked: &[u8]) -> (Raw, usize) {
    let before = node.resident_bytes();
    let mut greedy = Raw::narrow_at(node.public, 4096).await;
    greedy.offer(asked, std::time::Duration::from_secs(1)).await;
    let mut most = 0;
    for _ in 0..10 {
        the_neighbour_is_served(neighbour).await;
        most = most.max(node.resident_bytes().saturating_sub(before));
    }
    (greedy, most)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_makes_the_node_hold_no_more_than_its_bound() {
    for capacity in ["256 MiB", "1 MiB"] {
        // With the small cache, every large record comes from the store.
        let node = Process::start(&[("FRESHET__TIERS__LOCAL__CAPACITY", capacity)]).await;
        let mut neighbour = Raw::narrow_at(node.public, 1 << 20).await;
        fill(&mut neighbour, 8).await;
        let keys: Vec<_> = (0..1_000).map(|at| format!("r{}", at % 8)).collect();
        let get =
            |id: usize| json!({"jsonrpc": "2.0", "id": id, "method": "get", "params": ["products", keys[id % 8]]});
        let batch = Value::from((0..1_000).map(get).collect::<Vec<_>>()).to_string();
        let stamped = json!({"collection": "products", "key": "r0", "min_stamp": "1.1"});
        let few = json!(["products", keys[..8]]);
        for (what, asked) in [
            ("a get_many of a thousand", frames([request(1, "get_many", &json!(["products", keys]))])),
            ("a batch of a thousand gets", frames([batch])),
            ("pipelined get_manys", frames((0..256).map(|id| request(id, "get_many", &few)))),
            ("pipelined gets", frames((0..2_000).map(|id| get(id).to_string()))),
            ("pipelined gets that ask for more", frames((0..2_000).map(|id| request(id, "get", &stamped)))),
        ] {
            let (greedy, most) = growth(&node, &mut neighbour, &asked).await;
            assert!(most < CONNECTION_MAX, "{what} ({capacity}): {} MiB", most / MIB);
            drop(greedy);
            until("the memory is given back", async || node.metric("freshet_service_answer_bytes").await == 0.0).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_beyond_the_limit_are_refused_and_those_within_it_come_whole() {
    let node = Process::start(&[]).await;
    let mut client = Raw::narrow_at(node.public, 1 << 20).await;
    fill(&mut client, 8).await;
    let keys = |count: usize| (0..count).map(|at| format!("r{}", at % 8)).collect::<Vec<_>>();
    client.request(1, "get_many", &json!(["products", keys(17)])).await;
    let refused = client.value().await;
    assert_eq!((&refused["error"]["code"], &refused["error"]["data"]["reason"]), (&json!(-32007), &json!("answer")));
    client.request(2, "get_many", &json!(["products", keys(15)])).await;
    let records = client.value().await["result"]["records"].take();
    let records = records.as_array().expect("records");
    assert!(records.len() == 15 && records.iter().zip(keys(15)).all(|(record, key)| record["key"] == key.as_str()));

    // In a batch, what no longer fits is refused by itself.
    let get = |id: usize| json!({"jsonrpc": "2.0", "id": id, "method": "get", "params": ["products", format!("r{}", id % 8)]});
    client.send_text(&Value::from((0..20).map(get).collect::<Vec<_>>()).to_string()).await;
    let answers = client.value().await;
    let answers = answers.as_array().expect("a batch");
    let whole = answers.iter().filter(|answer| answer["result"]["value"]["name"].is_string()).count();
    assert!((14..=16).contains(&whole), "{whole} of {} fitted", answers.len());
    assert!(answers.iter().all(|answer| answer["result"].is_object() || answer["error"]["data"]["reason"] == "answer"));

    // However much is asked for at once, whoever reads it gets it.
    client.send(&frames((0..64).map(|id| get(id).to_string()))).await;
    let mut answered = Vec::new();
    for _ in 0..64 {
        let answer = client.value().await;
        assert_eq!(
            answer["result"]["value"]["name"].as_str().map(str::len),
            Some(NAME_BYTES),
            "{:.200}",
            answer.to_string()
        );
        answered.push(answer["id"].as_u64());
    }
    answered.sort();
    assert_eq!(answered, (0..64).map(Some).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_answers_are_bounded_as_well() {
    let node = Process::start(&[]).await;
    let mut client = Raw::narrow_at(node.public, 1 << 20).await;
    fill(&mut client, 8).await;
    let before = node.resident_bytes();
    let url = |count: usize| {
        let keys = (0..count).map(|at| format!("key=r{}", at % 8)).collect::<Vec<_>>().join("&");
        format!("http://{}/v1/products?{keys}", node.public)
    };
    let refused = reqwest::get(url(1_000)).await.expect("answered");
    assert_eq!(refused.status(), 413);
    assert_eq!(refused.json::<Value>().await.expect("JSON")["error"]["data"]["reason"], "answer");
    let whole = reqwest::get(url(12)).await.expect("answered").json::<Value>().await.expect("JSON");
    assert_eq!(whole["records"].as_array().map(Vec::len), Some(12));
    let batch = Value::from((0..100).map(|id| json!({"jsonrpc": "2.0", "id": id, "method": "get_many", "params": ["products", ["r0", "r1", "r2", "r3"]]})).collect::<Vec<_>>());
    let rpc = reqwest::Client::new().post(format!("http://{}/v1/rpc", node.public)).json(&batch).send().await;
    let answers = rpc.expect("answered").json::<Value>().await.expect("JSON");
    let refused =
        answers.as_array().expect("a batch").iter().filter(|answer| answer["error"]["data"]["reason"] == "answer");
    assert!(refused.count() >= 95);
    let grown = node.resident_bytes().saturating_sub(before);
    assert!(grown < 4 * ANSWER_MAX, "{} MiB", grown / MIB);
    until("the memory is given back", async || node.metric("freshet_service_answer_bytes").await == 0.0).await;
}

/// Adds clients that do not read until there is no room for the neighbour's large answer; returns them and its refusal. The
/// sockets' buffers take a part of each answer, which is not held, so their number is not known.
async fn take_all(node: &Process, neighbour: &mut Raw) -> (Vec<Raw>, Value) {
    let all = json!(["products", (0..8).map(|at| format!("r{at}")).collect::<Vec<_>>()]);
    let (mut greedy, mut refused) = (Vec::new(), Value::Null);
    until("there is no room", async || {
        let mut client = Raw::narrow_at(node.public, 4096).await;
        client.request(1, "get_many", &all).await;
        greedy.push(client);
        neighbour.request(2, "get_many", &all).await;
        refused = neighbour.value().await["error"].take();
        !refused.is_null()
    })
    .await;
    (greedy, refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_large_answers_hold_all_they_may_small_ones_still_come() {
    let node =
        Process::start(&[("FRESHET__SERVICE__ANSWERS_MAX", "32 MiB"), ("FRESHET__SESSION__SEND_LIMIT", "12s")]).await;
    let mut neighbour = Raw::narrow_at(node.public, 1 << 20).await;
    fill(&mut neighbour, 8).await;
    let (mut greedy, refused) = take_all(&node, &mut neighbour).await;
    assert_eq!(refused["data"]["reason"], "overloaded", "{refused}");
    assert!(refused["data"]["retry_after_ms"].is_u64());
    the_neighbour_is_served(&mut neighbour).await;

    // Who takes nothing of much is let go, and there is room again.
    until("the memory is given back", async || node.metric("freshet_service_answer_bytes").await == 0.0).await;
    neighbour.request(3, "get_many", &json!(["products", ["r0", "r1"]])).await;
    assert_eq!(neighbour.value().await["result"]["records"].as_array().map(Vec::len), Some(2));
    within("they were closed", greedy.remove(0).ends()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_clients_that_do_not_read_are_let_go() {
    let node = Process::start(&[("FRESHET__GATEWAY__SEND_LIMIT", "2s")]).await;
    let mut neighbour = Raw::narrow_at(node.public, 1 << 20).await;
    fill(&mut neighbour, 8).await;
    let mut greedy = TcpStream::connect(node.public).await.expect("connect");
    let asked = format!(
        "GET /v1/products?key=r0&key=r1&key=r2&key=r3&key=r4&key=r5&key=r6 HTTP/1.1\r\nHost: {}\r\n\r\n",
        node.public
    );
    greedy.write_all(asked.as_bytes()).await.expect("sent");
    until("its answer waits", async || node.metric("freshet_service_answer_bytes").await > 5e6).await;
    the_neighbour_is_served(&mut neighbour).await;
    until("the memory is given back", async || node.metric("freshet_service_answer_bytes").await == 0.0).await;
}

/// An error would say that nothing was written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_value_has_no_room_in_the_answer_is_answered_with_its_stamp() {
    let node = Process::start(&[("FRESHET__SERVICE__ANSWERS_MAX", "1 KiB")]).await;
    let mut client = Raw::narrow_at(node.public, 1 << 20).await;
    fill(&mut client, 1).await;
    let patch = json!({"collection": "products", "key": "r0", "increment": {"stock": 1}, "return": true});
    client.request(1, "patch", &patch).await;
    let alone = client.value().await;
    let patch = |id| json!({"jsonrpc": "2.0", "id": id, "method": "patch", "params": patch});
    client.send_text(&json!([patch(2)]).to_string()).await;
    let batched = client.value().await;
    for answer in [&alone, &batched[0]] {
        assert!(
            answer["result"]["stamp"].is_string() && answer["result"]["value"].is_null(),
            "{:.300}",
            answer.to_string()
        );
    }
    assert!(batched[0]["result"]["version"].as_u64() > alone["result"]["version"].as_u64());
}
