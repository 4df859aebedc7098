//! Screens of a database that falls silent: their watchers are told so, once, and once more when it is proven again.

use std::time::{Duration, Instant};

use freshet::{
    client::{Client, Event, Freshness, Options, Subscription},
    record::DatabaseId,
};
use serde_json::{Value, json};
use sqlx::Executor as _;

use crate::{
    databases::{keys, named, pair},
    harness::{Events, Kind, Link, Node, Proxy, Raw, Socket, TestDatabase, database, node::config, until, within},
};

/// How old a certificate may be in these tests.
const FRESH: Duration = Duration::from_millis(600);

/// The second database.
const HIGH: DatabaseId = DatabaseId(1);

/// A node over two databases, the second one behind a link that may be broken, and a key of each.
struct Two {
    node: Node,
    pair: [TestDatabase; 2],
    link: Proxy,
    low: Vec<String>,
    high: Vec<String>,
}

impl Two {
    async fn start() -> Self {
        let pair = pair().await;
        let link = Proxy::to(&pair[1].url()).await;
        let mut config = config();
        config.tiers.freshness.fresh = FRESH;
        let node = Node::over_all(vec![named("low", pair[0].url()), named("high", link.url())], config).await;
        let [low, high] = keys(&node, 8);
        for (database, keys) in pair.iter().zip([&low, &high]) {
            for key in keys {
                database.run(&format!("INSERT INTO products (sku, name, price) VALUES ('{key}', 'x', 1)")).await;
            }
        }
        Two { node, pair, link, low, high }
    }

    /// Lets the second database fall silent; returns when its certificate has lapsed for long.
    async fn fall_silent(&self) {
        self.link.set(Link::BlackHole);
        until("its certificate lapses", async || self.node.tiers().freshness_of(HIGH).age() > 2 * FRESH).await;
    }
}

/// The record of the next notification, which must be a push.
async fn pushed(socket: &mut Socket) -> Value {
    let (method, mut params) = socket.notification().await;
    assert_eq!(method, "freshet_subscription", "{params}");
    params["result"].take()
}

/// Subscribes to `keys` and takes their snapshots; returns the subscription's id.
async fn subscribe(socket: &mut Socket, keys: &[&str]) -> Value {
    let id = socket.ok("subscribe", json!({"collection": "products", "keys": keys})).await;
    for _ in keys {
        pushed(socket).await;
    }
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_of_a_silent_database_are_told_once_with_the_age_and_once_when_it_is_proven_again() {
    let two = Two::start().await;
    let (mut socket, mut bystander) = (Socket::open(&two.node).await, Socket::open(&two.node).await);
    let whole = subscribe(&mut socket, &[&two.high[0], &two.high[1]]).await;
    let part = subscribe(&mut socket, &[&two.low[0], &two.high[2]]).await;
    subscribe(&mut bystander, &[&two.low[0]]).await;
    let silent = Instant::now();
    two.link.set(Link::BlackHole);
    let told = socket.freshness().await;
    let (elapsed, age) = (silent.elapsed(), Duration::from_millis(told["age_ms"].as_u64().expect("an age")));
    assert_eq!(told["fresh"], json!(false), "{told}");
    assert_eq!((&told["subscriptions"], &told["keys"]), (&json!([whole, part]), &json!({"s2": [two.high[2]]})));
    assert!(age > FRESH && age < elapsed + FRESH, "{told} after {elapsed:?}");
    // Nothing more is told while it lasts, of a change elsewhere not either, and the bystander hears of changes only.
    until("it lasts", async || two.node.tiers().freshness_of(HIGH).age() > 4 * FRESH).await;
    two.pair[0].run(&format!("UPDATE products SET price = 2 WHERE sku = '{}'", two.low[0])).await;
    assert_eq!(pushed(&mut socket).await["value"]["price"], json!(2));
    assert_eq!(pushed(&mut bystander).await["value"]["price"], json!(2));
    two.link.set(Link::Pass);
    let told = socket.freshness().await;
    assert_eq!(told["fresh"], json!(true), "{told}");
    assert!(told["age_ms"].as_u64().is_some_and(|age| u128::from(age) <= FRESH.as_millis()), "{told}");
    assert_eq!((&told["subscriptions"], &told["keys"]), (&json!([whole, part]), &json!({"s2": [two.high[2]]})));
    for (database, key) in two.pair.iter().zip([&two.low[0], &two.high[0]]) {
        database.run(&format!("UPDATE products SET price = 3 WHERE sku = '{key}'")).await;
    }
    assert_eq!(pushed(&mut bystander).await["value"]["price"], json!(3));
    for _ in 0..2 {
        assert_eq!(pushed(&mut socket).await["value"]["price"], json!(3));
    }
    two.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_join_in_the_silence_are_told_once_and_hear_of_what_they_missed_before_its_end() {
    let two = Two::start().await;
    let (cached, changed, unread) = (&two.high[0], &two.high[1], &two.high[2]);
    let mut first = Socket::open(&two.node).await;
    subscribe(&mut first, &[cached, changed]).await;
    two.fall_silent().await;
    two.pair[1].run(&format!("UPDATE products SET price = 2 WHERE sku = '{changed}'")).await;
    let mut socket = Socket::open(&two.node).await;
    // One that the node has, with its age, and one that it cannot read.
    let id = socket.ok("subscribe", json!({"collection": "products", "keys": [cached, unread]})).await;
    let (mut told, mut record) = (None, None);
    while told.is_none() || record.is_none() {
        match socket.notification().await {
            (method, params) if method == "freshet_freshness" => {
                assert!(told.is_none(), "told twice: {params}");
                told = Some(params);
            }
            (_, params) => record = Some(params["result"].clone()),
        }
    }
    let (told, record) = (told.expect("told"), record.expect("a snapshot"));
    assert_eq!(
        (&told["fresh"], &told["subscriptions"], told.get("keys")),
        (&json!(false), &json!([id]), None),
        "{told}"
    );
    assert!(record["key"] == json!(cached) && record["stale_ms"].is_u64(), "{record}");
    assert_eq!(first.freshness().await["fresh"], json!(false));
    two.link.set(Link::Pass);
    // The state that was missed, then that nothing is missing.
    let mut missed = None;
    let mut fresh = Vec::new();
    while fresh.len() < 2 {
        match first.notification().await {
            (method, params) if method == "freshet_freshness" => {
                assert_eq!(params["fresh"], json!(true), "{params}");
                let keys =
                    params["keys"]["s1"].as_array().cloned().unwrap_or_else(|| vec![json!(cached), json!(changed)]);
                assert!(
                    !keys.contains(&json!(changed)) || missed == Some(json!(2)),
                    "{params} before {changed} changed"
                );
                fresh.extend(keys);
            }
            (_, params) => missed = Some(params["result"]["value"]["price"].clone()),
        }
    }
    // The one that could not be read is fresh with its snapshot, or after it.
    let (mut has_come, mut fresh) = (false, Vec::new());
    while fresh.len() < 2 {
        match socket.notification().await {
            (method, params) if method == "freshet_freshness" => {
                assert_eq!(params["fresh"], json!(true), "{params}");
                let keys =
                    params["keys"]["s1"].as_array().cloned().unwrap_or_else(|| vec![json!(cached), json!(unread)]);
                assert!(!keys.contains(&json!(unread)) || has_come, "{params} before the snapshot");
                fresh.extend(keys);
            }
            (_, params) => has_come |= params["result"]["key"] == json!(unread),
        }
    }
    two.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_cannot_be_read_is_not_fresh_though_its_database_is() {
    let database = database().await;
    database
        .run("INSERT INTO products (sku, name, price) SELECT 'k' || n, 'x', 1 FROM generate_series(1, 999) n")
        .await;
    let locked: String = database.value("SELECT min(sku) FROM products_017").await;
    let free: String = database.value("SELECT min(sku) FROM products_018").await;
    let link = Proxy::to(&database.url()).await;
    let mut config = config();
    config.tiers.freshness.fresh = FRESH;
    let node = Node::over(&link.url(), config).await;
    let mut socket = Socket::open(&node).await;
    subscribe(&mut socket, &[&locked, &free]).await;
    let mut session = database.connect().await;
    // The node hears of the change when the lock is held already and the row can not be read.
    link.set_for("tail", Link::Delay(Duration::from_millis(200)));
    let lock = format!(
        "BEGIN; UPDATE products SET price = 2 WHERE sku = '{locked}'; COMMIT; \
         BEGIN; LOCK TABLE products_017 IN ACCESS EXCLUSIVE MODE"
    );
    session.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(lock))).await.expect("lock");
    let told = socket.freshness().await;
    assert_eq!((&told["fresh"], &told["keys"]), (&json!(false), &json!({"s1": [locked]})), "{told}");
    assert!(node.tiers().freshness_of(DatabaseId(0)).age() < FRESH, "the database answers");
    let asked = json!({"subscription": "s1"});
    let answer = socket.ok("freshness", asked.clone()).await;
    assert_eq!((&answer["fresh"], &answer["keys"]), (&json!(false), &json!([locked])), "{answer}");
    session.execute("COMMIT").await.expect("unlock");
    let state = pushed(&mut socket).await;
    assert_eq!((&state["key"], &state["value"]["price"]), (&json!(locked), &json!(2)));
    let told = socket.freshness().await;
    assert_eq!((&told["fresh"], &told["keys"]), (&json!(true), &json!({"s1": [locked]})), "{told}");
    assert_eq!(socket.ok("freshness", asked).await["fresh"], json!(true));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_asks_learns_up_to_when_its_keys_are_proven() {
    let two = Two::start().await;
    let mut socket = Socket::open(&two.node).await;
    let both = json!({"collection": "products", "keys": [two.low[0], two.high[0]]});
    let answer = socket.ok("freshness", both.clone()).await;
    assert!(answer["fresh"] == json!(true) && answer["age_ms"].as_u64().is_some_and(|age| age < 600), "{answer}");
    two.fall_silent().await;
    let answer = socket.ok("freshness", both).await;
    assert_eq!((&answer["fresh"], &answer["keys"]), (&json!(false), &json!([two.high[0]])), "{answer}");
    assert!(answer["age_ms"].as_u64().is_some_and(|age| age > 600), "{answer}");
    let answer = socket.ok("freshness", json!(["products", two.low[0]])).await;
    assert_eq!(answer["fresh"], json!(true), "{answer}");
    let refused = socket.refused("freshness", json!({"subscription": "s7"})).await;
    assert_eq!(refused["data"]["reason"], "invalid_params");
    // Over HTTP as well, by keys.
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "freshness", "params": ["products", two.high[0]]});
    let answer = reqwest::Client::new().post(two.node.http("/v1/rpc")).json(&body).send().await.expect("answered");
    let answer: Value = answer.json().await.expect("JSON");
    assert_eq!(answer["result"]["fresh"], json!(false), "{answer}");
    two.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_resumed_without_a_snapshot_is_told_to_be_fresh() {
    let node = Node::start(Kind::Postgres).await;
    let mut socket = Socket::open(&node).await;
    let stamp = socket.ok("put", json!(["products", "a", {"name": "x", "price": 1}])).await["stamp"].take();
    socket.ok("subscribe", json!({"collection": "products", "key": "a", "since": {"a": stamp}})).await;
    let told = socket.freshness().await;
    assert_eq!((&told["fresh"], &told["subscriptions"]), (&json!(true), &json!(["s1"])), "{told}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_does_not_read_is_told_the_latest_only() {
    let two = Two::start().await;
    let (hot, silent) = (&two.low[0], &two.high[0]);
    let mut writer = Socket::open(&two.node).await;
    let mut reader = Raw::narrow(&two.node, 4096).await;
    reader.request(1, "subscribe", &json!({"collection": "products", "keys": [hot, silent]})).await;
    for _ in 0..3 {
        reader.value().await;
    }
    let name = "x".repeat(8_000);
    let mut price = 1;
    until("the reader is stuck", async || {
        for _ in 0..50 {
            price += 1;
            writer.ok("put", json!(["products", hot, {"name": name, "price": price}])).await;
        }
        two.node.metric("freshet_session_blocked_total").await >= 1.0
    })
    .await;
    for _ in 0..2 {
        two.fall_silent().await;
        two.link.set(Link::Pass);
        until("it is proven", async || two.node.tiers().freshness_of(HIGH).age() < FRESH).await;
    }
    two.fall_silent().await;
    price += 1;
    writer.ok("put", json!(["products", hot, {"name": "x", "price": price}])).await;
    let (mut told, mut seen) = (Vec::new(), 0);
    while seen < price || told.is_empty() {
        let message = reader.value().await;
        match message["method"].as_str() {
            Some("freshet_freshness") => told.push(message["params"].clone()),
            _ => seen = message["params"]["result"]["value"]["price"].as_u64().expect("a price"),
        }
    }
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((&told[0]["fresh"], &told[0]["keys"]), (&json!(false), &json!({"s1": [silent]})));
    two.link.set(Link::Pass);
    assert_eq!(reader.value().await["params"]["fresh"], json!(true));
    two.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_stream_tells_it_in_an_event_of_its_own() {
    let two = Two::start().await;
    let path = format!("/v1/products/{}/events?key={}", two.low[0], two.high[0]);
    let mut stream = Events::open(&two.node, &path, "").await;
    let mut last = String::new();
    for _ in 0..2 {
        last = stream.next().await.0;
    }
    two.link.set(Link::BlackHole);
    let told = stream.freshness().await;
    assert_eq!((&told["fresh"], &told["keys"]), (&json!(false), &json!([two.high[0]])), "{told}");
    assert!(told["age_ms"].as_u64().is_some_and(|age| age > 600), "{told}");
    two.link.set(Link::Pass);
    let told = stream.freshness().await;
    assert_eq!((&told["fresh"], &told["keys"]), (&json!(true), &json!([two.high[0]])), "{told}");
    drop(stream);
    let told = Events::open(&two.node, &path, &last).await.freshness().await;
    assert_eq!(told["fresh"], json!(true), "a key that is resumed without a snapshot: {told}");
    two.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rust_client_knows_of_each_key_and_of_its_own_connection() {
    let two = Two::start().await;
    let client = Client::connect(&two.node.url(), Options::new()).await.expect("a client");
    let keys = [two.low[0].as_str(), &two.high[0]];
    let mut subscription = client.subscribe("products", &keys, []).await.expect("granted");
    assert!(!subscription.is_fresh() || subscription.age().is_none());
    until("both are fresh", async || {
        subscription.event().await.expect("an event");
        subscription.is_fresh()
    })
    .await;
    two.link.set(Link::BlackHole);
    let freshness = becomes(&mut subscription, &two.high[0], false).await;
    assert!(freshness.age().is_some_and(|age| age > FRESH), "{freshness:?}");
    assert!(!subscription.is_fresh() && subscription.age().is_some());
    assert!(subscription.freshness(&two.low[0]).is_fresh(), "the other database answers");
    let proven = client.freshness("products", &keys).await.expect("an answer");
    assert!(!proven.fresh && proven.keys == [two.high[0].clone()], "{proven:?}");
    two.link.set(Link::Pass);
    becomes(&mut subscription, &two.high[0], true).await;
    assert!(subscription.is_fresh() && subscription.age().is_none());
    two.node.stop().await;
    becomes(&mut subscription, &two.low[0], false).await;
    assert!(!subscription.is_fresh() && subscription.age().is_some());
}

/// Waits until `key` is fresh, or no longer.
async fn becomes(subscription: &mut Subscription, key: &str, is_fresh: bool) -> Freshness {
    loop {
        match within("an event", subscription.event()).await.expect("an event") {
            Event::Freshness { key: changed, freshness } if changed == key && freshness.is_fresh() == is_fresh => {
                return freshness;
            }
            _ => {}
        }
    }
}
