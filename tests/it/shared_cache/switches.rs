//! What of Redis a node uses is switched while it runs.

use serde_json::{Value, json};

use super::{hits, node, price, without_local};
use crate::harness::{Node, Redis, Socket, TestDatabase, command::freshet, database, node as nodes, until};

/// A node that Redis answers, about `a` among others.
async fn answered() -> (TestDatabase, Redis, Node, Socket) {
    let (database, redis) = (database().await, Redis::start().await);
    database.run("INSERT INTO products (sku, name, price) SELECT 'k' || n, 'x', n FROM generate_series(0, 99) n").await;
    let mut config = without_local(&redis.url());
    (config.tiers.audit.share, config.tiers.audit.per_second_max) = (0.0, 200);
    let node = node(&database, config).await;
    let mut socket = Socket::open(&node).await;
    is_answered(&node, &mut socket).await;
    (database, redis, node, socket)
}

async fn is_answered(node: &Node, socket: &mut Socket) {
    let before = hits(node);
    until("Redis answers", async || {
        price(socket, "k1").await;
        hits(node) > before
    })
    .await;
}

async fn switch(node: &Node, changes: &[&str]) -> Value {
    let address = format!("http://{}", node.operations());
    let arguments = [&["switch", "--format", "json", "--node", &address], changes].concat();
    tokio::task::block_in_place(|| freshet(&arguments)).json()
}

fn lookups(node: &Node, outcome: &str) -> u64 {
    node.metrics().where_label("freshet_shared_lookups_total", "outcome", outcome)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_that_are_switched_off_go_to_the_database_until_they_are_on_again() {
    let (database, redis, node, mut socket) = answered().await;
    let other = super::node(&database, without_local(&redis.url())).await;
    assert_eq!(switch(&node, &["reads=off"]).await["reads"], json!(false));
    let (before, looked) = (hits(&node), lookups(&node, "missed"));
    for n in 0..100 {
        assert_eq!(price(&mut socket, &format!("k{n}")).await, json!(n));
    }
    assert_eq!((hits(&node), lookups(&node, "missed")), (before, looked), "Redis is not asked");
    is_answered(&other, &mut Socket::open(&other).await).await;
    assert_eq!(switch(&node, &["reads=on"]).await["reads"], json!(true));
    is_answered(&node, &mut socket).await;
    for node in [node, other] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_fills_redis_is_read_and_not_written() {
    let (database, redis, node, mut socket) = answered().await;
    switch(&node, &["fills=off"]).await;
    let before = lookups(&node, "filled");
    for n in 50..100 {
        assert_eq!(price(&mut socket, &format!("k{n}")).await, json!(n));
    }
    is_answered(&node, &mut socket).await;
    // Nor for those who watch a record.
    socket.ok("subscribe", json!(["products", "k70"])).await;
    database.run("UPDATE products SET price = 700 WHERE sku = 'k70'").await;
    until("it is pushed", async || socket.push().await["value"]["price"] == json!(700)).await;
    assert_eq!(lookups(&node, "filled"), before);
    assert_eq!(redis.command::<Vec<String>>(&["KEYS", "*:products:k[5-9]?"]).await, Vec::<String>::new());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_hints_a_node_polls_as_it_does_without_redis() {
    let (database, _redis, node, _socket) = answered().await;
    let told = || node.metrics().sum("freshet_changes_told");
    until("it is told", async || told() == Some(1)).await;
    switch(&node, &["hints=off"]).await;
    until("it is told nothing", async || told() == Some(0)).await;
    let mut socket = Socket::open(&node).await;
    socket.ok("subscribe", json!(["products", "k5"])).await;
    database.run("UPDATE products SET price = 500 WHERE sku = 'k5'").await;
    until("the change is pushed", async || socket.push().await["value"]["price"] == json!(500)).await;
    switch(&node, &["hints=on"]).await;
    until("it is told", async || told() == Some(1)).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shadow_is_filled_and_compared_and_never_answers() {
    let (_database, redis, node, mut socket) = answered().await;
    let said = switch(&node, &["reads=off", "shadow=100%"]).await;
    assert_eq!((&said["reads"], &said["shadow"]), (&json!(false), &json!(1.0)));
    let before = hits(&node);
    until("what was read is there", async || {
        for n in 50..100 {
            assert_eq!(price(&mut socket, &format!("k{n}")).await, json!(n));
        }
        redis.command::<Vec<String>>(&["KEYS", "*:products:k[5-9]?"]).await.len() == 50
    })
    .await;
    let compared = || node.metrics().where_label("freshet_tiers_audits_total", "tier", "shadow");
    until("it is compared", async || {
        assert_eq!(price(&mut socket, "k77").await, json!(77));
        compared() > 10
    })
    .await;
    assert_eq!(hits(&node), before, "the database answers");
    assert_eq!(node.tiers().findings().wrong, 0);
    // What it would have answered is wrong, and counts as a difference.
    let names: Vec<String> = redis.command(&["KEYS", "*:products:k77"]).await;
    let stored: Vec<u8> = redis.command(&["GET", &names[0]]).await;
    let mut slot = freshet::shared::Slot::decode(&names[0], stored).expect("a slot");
    slot.state.value = Some("{}".into());
    redis.command::<()>(&["SET", &names[0], &String::from_utf8(slot.encode(&names[0])).expect("text")]).await;
    until("the difference is found", async || {
        assert_eq!(price(&mut socket, "k77").await, json!(77));
        node.tiers().findings().wrong > 0
    })
    .await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switches_are_shown_and_what_cannot_be_switched_is_named() {
    let (_database, _redis, node, _socket) = answered().await;
    let address = format!("http://{}", node.operations());
    let run = |arguments: &[&str]| {
        tokio::task::block_in_place(|| freshet(&[&["switch", "--node", &address], arguments].concat()))
    };
    run(&[]).says(0, &["reads", "fills", "hints", "on", "0 %"]);
    run(&["reads=off", "fills=off"]).says(0, &["off", "on"]);
    run(&["reads=maybe"]).says(2, &["reads=maybe", "reads=on, reads=off"]);
    run(&["shadow=7"]).says(2, &["5% or 0.05"]);
    let clients = format!("http://{}", node.address());
    tokio::task::block_in_place(|| freshet(&["switch", "--node", &clients]))
        .says(69, &["this is the address of clients", "--operations"]);
    let readyz =
        reqwest::get(format!("{address}/readyz?verbose")).await.expect("an answer").text().await.expect("text");
    assert!(readyz.contains("; switched off: reads, fills\n") && readyz.ends_with("ready\n"), "{readyz}");

    let client = reqwest::Client::new();
    let patch = |body: &'static str| client.patch(format!("{address}/switches")).body(body);
    let json = ("content-type", "application/json");
    for (request, status, part) in [
        (patch("{\"l2\": false}").header(json.0, json.1), 400, "unknown field `l2`"),
        (patch("{\"shadow\": 7}").header(json.0, json.1), 400, "a share from 0 to 1"),
        (patch("{\"reads\": true}"), 415, "application/json"),
        (patch("{\"reads\": true}").header(json.0, json.1).header("origin", "http://localhost"), 403, "pages may not"),
    ] {
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), status);
        let said = answer.text().await.expect("text");
        assert!(said.contains(part), "{said}");
    }
    let without = Node::start_with(nodes::Kind::Memory, nodes::config()).await;
    let address = format!("http://{}", without.operations());
    tokio::task::block_in_place(|| freshet(&["switch", "--node", &address])).says(69, &["no [redis]"]);
    for node in [node, without] {
        node.stop().await;
    }
}
