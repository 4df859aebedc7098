//! What ends a connection, and with which code: frames that break RFC 6455, and silence.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{
    Kind, Node, Raw,
    node::{SOON, config},
    raw::{BINARY, CLOSE, PING, PONG, TEXT, masked},
};

/// The close code that `bytes` are answered with, and that the node then hangs up.
async fn code_for(node: &Node, bytes: &[u8]) -> u16 {
    let mut raw = Raw::open(node).await;
    raw.request(1, "get", &json!(["products", "a"])).await;
    assert_eq!(raw.value().await["id"], 1);
    raw.send(bytes).await;
    let code = raw.close_code().await.expect("a close frame");
    raw.send(&masked(CLOSE, &code.to_be_bytes())).await;
    assert!(raw.ends().await);
    code
}

#[tokio::test]
async fn each_breach_has_its_close_code_and_harms_no_other_connection() {
    let node = Node::start(Kind::Memory).await;
    let mut neighbour = Raw::open(&node).await;
    let text = br#"{"jsonrpc":"2.0","id":1,"method":"get","params":["products","a"]}"#;
    let mut unmasked = vec![TEXT, u8::try_from(text.len()).expect("short")];
    unmasked.extend_from_slice(text);
    for (what, bytes, code) in [
        ("a binary frame", masked(BINARY, b"\x00\x01"), 1003),
        ("a binary frame and a request behind it", [masked(BINARY, b"x"), masked(TEXT, text)].concat(), 1003),
        ("a text that is no UTF-8", masked(TEXT, b"\"\xff\xfe\""), 1007),
        ("a text cut within a character", masked(TEXT, "é".as_bytes().split_last().expect("two").1), 1007),
        ("an oversized message", masked(TEXT, &vec![b' '; (2 << 20) + 1]), 1009),
        ("an unmasked frame", unmasked, 1002),
        ("a reserved bit", masked(TEXT | 0x40, text), 1002),
        ("a reserved opcode", masked(0x83, text), 1002),
        ("a reserved control opcode", masked(0x8b, b""), 1002),
        ("a continuation of nothing", masked(0x80, text), 1002),
        ("a fragmented ping", masked(0x09, b""), 1002),
        ("a long ping", masked(PING, &[0; 126]), 1002),
        ("a short length in two bytes", [&[TEXT, 0x80 | 126, 0, 2, 0, 0, 0, 0], &b"{}"[..]].concat(), 1002),
        (
            "a length in eight bytes, none of it needed",
            [TEXT, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0].into(),
            1002,
        ),
        ("a new message within one", [masked(0x01, b"a"), masked(TEXT, b"b")].concat(), 1002),
    ] {
        assert_eq!(code_for(&node, &bytes).await, code, "{what}");
    }
    let fragments = [vec![0x01; 1], vec![0x00; 40]].concat();
    let pieces: Vec<u8> = fragments.iter().flat_map(|&first| masked(first, &vec![b' '; 64 * 1024])).collect();
    assert_eq!(code_for(&node, &pieces).await, 1009, "many fragments beyond the limit");
    neighbour.request(2, "get", &json!(["products", "a"])).await;
    assert_eq!(neighbour.value().await["id"], 2);
    node.stop().await;
}

#[tokio::test]
async fn a_text_in_fragments_with_a_ping_between_is_one_request() {
    let node = Node::start(Kind::Memory).await;
    let mut raw = Raw::open(&node).await;
    let text = r#"{"jsonrpc":"2.0","id":"é","method":"get","params":["products","a"]}"#.as_bytes();
    let cut = 25;
    raw.send(&masked(0x01, &text[..cut])).await;
    raw.send(&masked(PING, b"are you there")).await;
    assert_eq!(raw.frame().await, Some((PONG, b"are you there".to_vec())));
    // A byte at a time, as a hostile network would deliver it.
    for byte in masked(0x80, &text[cut..]) {
        raw.send(&[byte]).await;
    }
    assert_eq!(raw.value().await["id"], "é");
    node.stop().await;
}

#[tokio::test]
async fn a_close_is_answered_with_its_code_and_the_socket_is_let_go_although_a_request_runs() {
    let node = Node::start(Kind::Postgres).await;
    let mut holder = node.database().connect().await;
    sqlx::raw_sql("INSERT INTO products (sku, name, price) VALUES ('held', 'x', 1)")
        .execute(&mut holder)
        .await
        .expect("insert");
    sqlx::raw_sql("BEGIN; UPDATE products SET price = 2 WHERE sku = 'held'").execute(&mut holder).await.expect("hold");
    let mut raw = Raw::open(&node).await;
    let increment = json!({"collection": "products", "key": "held", "increment": {"stock": 1}});
    raw.request(1, "patch", &increment).await;
    raw.send(&masked(CLOSE, &[&1000_u16.to_be_bytes()[..], b"bye"].concat())).await;
    let began = Instant::now();
    assert_eq!(raw.close_code().await, Some(1000));
    assert_eq!(raw.frame().await, None, "nothing follows a close frame");
    assert!(began.elapsed() < SOON, "the socket was held for {:?}", began.elapsed());
    sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.expect("let go");
    node.stop().await;
}

#[tokio::test]
async fn a_silent_client_is_pinged_and_then_closed_with_4408() {
    let node = tight().await;
    let began = Instant::now();
    let mut silent = Raw::open(&node).await;
    let mut pings = 0;
    let code = loop {
        match silent.frame().await.expect("a close frame first") {
            (PING, _) => pings += 1,
            (CLOSE, payload) => break u16::from_be_bytes([payload[0], payload[1]]),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((code, pings), (4408, 2));
    assert!(began.elapsed() >= Duration::from_millis(400), "after {:?}", began.elapsed());
    assert!(silent.ends().await);
    node.stop().await;
}

#[tokio::test]
async fn a_client_that_answers_pings_stays() {
    let node = tight().await;
    let (mut alive, mut silent) = (Raw::open(&node).await, Raw::open(&node).await);
    let watching = async {
        let mut pings = 0;
        while pings < 6 {
            let (first, payload) = alive.frame().await.expect("still open");
            assert_eq!(first, PING);
            alive.send(&masked(PONG, &payload)).await;
            pings += 1;
        }
        alive.request(1, "get", &json!(["products", "a"])).await;
        assert_eq!(alive.value().await["result"]["value"], Value::Null);
    };
    let ((), code) = tokio::join!(watching, silent.close_code());
    assert_eq!(code, Some(4408));
    node.stop().await;
}

/// Its pongs stand in line behind requests that wait for room, so reading is what shows that it lives.
#[tokio::test]
async fn a_slow_reader_is_alive_as_long_as_it_reads() {
    const GETS: u64 = 60;
    let node = tight().await;
    let mut raw = Raw::narrow(&node, 8 * 1024).await;
    let value = json!({"name": "x".repeat(256 * 1024), "price": 1});
    raw.request(0, "put", &json!({"collection": "products", "key": "big", "value": value})).await;
    raw.value().await;
    for id in 0..GETS {
        raw.request(id, "get", &json!({"collection": "products", "key": "big"})).await;
    }
    let began = Instant::now();
    let mut answers = 0;
    while answers < GETS {
        match raw.frame().await.expect("still open") {
            (PING, payload) => raw.send(&masked(PONG, &payload)).await,
            (TEXT, _) => {
                answers += 1;
                // The pace of a slow network: well beyond the heartbeat's limits in all.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            other => panic!("{:x} after {:?} and {answers} answers", other.0, began.elapsed()),
        }
    }
    assert!(began.elapsed() > Duration::from_secs(1));
    node.stop().await;
}

#[tokio::test]
async fn a_client_that_neither_reads_nor_answers_is_ended() {
    let node = tight().await;
    let mut writer = Raw::open(&node).await;
    let value = json!({"name": "x".repeat(60_000), "price": 1});
    writer.request(1, "put", &json!({"collection": "products", "key": "big", "value": value})).await;
    writer.value().await;
    let mut stuck = Raw::narrow(&node, 4096).await;
    for id in 0..200 {
        stuck.request(id, "get", &json!(["products", "big"])).await;
    }
    drop(writer);
    crate::harness::until("the stuck client is ended", async || node.metric("freshet_session_open").await == 0.0).await;
    assert!(node.metrics().by_label("freshet_session_closed_total")["4408"] >= 1);
    drop(stuck);
    node.stop().await;
}

/// A node that notices silence within half a second.
async fn tight() -> Node {
    let mut config = config();
    config.session.heartbeat_interval = Duration::from_millis(200);
    config.session.heartbeat_timeout = Duration::from_millis(100);
    config.session.heartbeat_failures = 2;
    Node::start_with(Kind::Memory, config).await
}
