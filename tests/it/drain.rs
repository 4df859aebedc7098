//! A node that leaves: clients are told, answered, and find their place on the next one.

use std::time::{Duration, Instant};

use freshet::client::{Client, Options, Status, WriteOptions};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{
    Kind, Node, Raw, Socket, both, database,
    node::{SOON, config},
    raw::{CLOSE, masked},
    until, within,
};

both! {
async fn every_client_is_told_when_to_come_back_and_closed_with_1001(kind) {
    let mut config = config();
    config.session.reconnect_spread = Duration::from_secs(3);
    let node = Node::start_with(kind, config).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut raw = Raw::open(&node).await;
        raw.request(1, "subscribe", &json!(["products", "a"])).await;
        raw.value().await;
        raw.value().await;
        clients.push(raw);
    }
    let address = node.address();
    let began = Instant::now();
    let stopping = tokio::spawn(node.stop());
    let mut waits = std::collections::HashSet::new();
    for mut raw in clients {
        let notice = raw.value().await;
        assert_eq!((&notice["method"], notice.get("id")), (&json!("freshet_drain"), None), "{notice}");
        let wait = notice["params"]["reconnect_in_ms"].as_u64().expect("milliseconds");
        assert!(wait <= 3_000, "{wait}");
        waits.insert(wait);
        let (first, payload) = raw.frame().await.expect("a close frame");
        assert_eq!((first, &payload[..2]), (CLOSE, &1001_u16.to_be_bytes()[..]));
        raw.send(&masked(CLOSE, &payload[..2])).await;
        assert!(raw.ends().await);
    }
    assert!(waits.len() > 10, "spread over the clients: {waits:?}");
    within("the node ends", stopping).await.expect("ends well");
    assert!(began.elapsed() < SOON, "took {:?}", began.elapsed());
    assert!(TcpStream::connect(address).await.is_err(), "still listening");
}

async fn requests_sent_before_the_drain_are_answered(kind) {
    let node = Node::start(kind).await;
    let mut socket = Socket::open(&node).await;
    socket.ok("put", json!(["products", "a", {"name": "n", "price": 1}])).await;
    let mut raw = Raw::open(&node).await;
    for id in 1..=100 {
        raw.request(id, "patch", &json!({"collection": "products", "key": "a", "increment": {"stock": 1}})).await;
    }
    until("all are read", async || node.metric("freshet_session_messages_total").await >= 101.0).await;
    let stopping = tokio::spawn(node.stop());
    let mut answered = 0;
    let mut told = false;
    loop {
        match raw.frame().await {
            Some((CLOSE, payload)) => break assert_eq!(payload[..2], 1001_u16.to_be_bytes()),
            Some((_, payload)) => {
                let message: serde_json::Value = serde_json::from_slice(&payload).expect("JSON");
                told |= message["method"] == "freshet_drain";
                answered += u64::from(message["result"].is_object());
            }
            None => panic!("no close frame"),
        }
    }
    assert_eq!((answered, told), (100, true));
    raw.send(&masked(CLOSE, &1001_u16.to_be_bytes())).await;
    within("the node ends", stopping).await.expect("ends well");
}

async fn clients_that_do_not_answer_do_not_hold_the_node_up(kind) {
    let node = Node::start(kind).await;
    let mut silent = Vec::new();
    for _ in 0..5 {
        silent.push(Raw::open(&node).await);
    }
    let began = Instant::now();
    node.stop().await;
    assert!(began.elapsed() < Duration::from_secs(6), "took {:?}", began.elapsed());
}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_waits_for_a_row_is_answered_while_the_node_drains() {
    let node = Node::start(Kind::Postgres).await;
    node.database().run("INSERT INTO products (sku, name, price) VALUES ('held', 'x', 1)").await;
    let mut holder = node.database().connect().await;
    sqlx::raw_sql("BEGIN; UPDATE products SET price = 2").execute(&mut holder).await.expect("hold");
    let mut raw = Raw::open(&node).await;
    raw.request(1, "patch", &json!({"collection": "products", "key": "held", "increment": {"stock": 1}})).await;
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    until("the write waits", async || node.database().value::<i64>(waits).await > 0).await;
    let stopping = tokio::spawn(node.stop());
    assert_eq!(raw.value().await["method"], "freshet_drain");
    sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.expect("let go");
    let answer = raw.value().await;
    assert_eq!(answer["id"], 1);
    assert!(answer["result"].is_object(), "{answer}");
    assert_eq!(raw.close_code().await, Some(1001));
    raw.send(&masked(CLOSE, &1001_u16.to_be_bytes())).await;
    within("the node ends", stopping).await.expect("ends well");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rust_client_moves_to_the_next_node_and_never_steps_back() {
    let database = database().await;
    let mut config = config();
    config.session.reconnect_spread = Duration::from_millis(200);
    let (a, b) = (Node::over(&database.url(), config.clone()).await, Node::over(&database.url(), config).await);
    let balancer = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let url = format!("ws://{}/v1/ws", balancer.local_addr().expect("bound"));
    tokio::spawn(balance(balancer, [a.address(), b.address()]));

    let client = Client::connect(&url, Options::new()).await.expect("connect");
    let mut writer = Socket::open(&b).await;
    writer.ok("put", json!(["products", "k", {"name": "n", "price": 0}])).await;
    writer.ok("put", json!(["products", "still", {"name": "n", "price": 0}])).await;
    let mut subscription =
        client.subscribe("products", &["k", "still"], std::iter::empty::<(String, _)>()).await.expect("subscribe");
    for _ in 0..2 {
        within("a snapshot", subscription.next()).await.expect("open");
    }
    assert!(a.metric("freshet_hub_watchers").await >= 2.0 && b.metric("freshet_hub_watchers").await == 0.0);

    let mut status = client.status();
    let stopping = tokio::spawn(a.stop());
    let writing = async {
        for _ in 0..100 {
            writer.ok("patch", json!({"collection": "products", "key": "k", "increment": {"price": 1}})).await;
        }
    };
    let watching = async {
        let mut last = None;
        loop {
            let record = within("a state", subscription.next()).await.expect("open");
            assert_eq!(record.key, "k", "what had not changed came again");
            assert!(!record.reset && Some(record.stamp) > last, "{:?} after {last:?}", record.stamp);
            last = Some(record.stamp);
            if record.value.is_some_and(|value| value.get().contains("\"price\":100,")) {
                break;
            }
        }
    };
    tokio::join!(writing, watching);
    within("the client moved", status.wait_for(|status| *status == Status::Connected)).await.expect("alive");
    within("the node ends", stopping).await.expect("ends well");
    until("B serves the subscription", async || b.metric("freshet_hub_watchers").await == 2.0).await;
    let written = client.put("products", "k", r#"{"name":"m","price":1}"#, WriteOptions::new()).await.expect("put");
    assert_eq!(within("a state", subscription.next()).await.expect("open").stamp, written.stamp);
    client.close().await;
    b.stop().await;
}

/// Hands each connection to the first node that listens, as a load balancer would.
async fn balance(listener: TcpListener, nodes: [std::net::SocketAddr; 2]) {
    while let Ok((mut socket, _)) = listener.accept().await {
        tokio::spawn(async move {
            for node in nodes {
                if let Ok(mut upstream) = TcpStream::connect(node).await {
                    return drop(tokio::io::copy_bidirectional(&mut socket, &mut upstream).await);
                }
            }
        });
    }
}
