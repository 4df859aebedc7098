//! The database goes and comes back: what is cached is answered with its age, the rest fails by name, nothing is lost.

use std::time::{Duration, Instant};

use freshet::{
    config::Config,
    store::postgres::{
        self, migrate,
        server::{Options, PrivateServer},
    },
    tiers::freshness::Verdict,
};
use serde_json::json;

use crate::harness::{
    Link, Node, Proxy, Socket, Watcher, database, durable_server,
    node::{SOON, config},
    until,
};

/// Freshness is lost within tenths of a second, operations end within two.
fn impatient() -> Config {
    let mut config = config();
    config.service.deadline = Duration::from_secs(2);
    config.tiers.freshness.fresh = Duration::from_millis(400);
    config.tiers.freshness.usable = Duration::from_millis(1_200);
    config
}

async fn stale(node: &Node) {
    until("the node is past its freshness", async || node.tiers().freshness().verdict() != Verdict::Fresh).await;
}

async fn expired(node: &Node) {
    until("the node is past its use", async || matches!(node.tiers().freshness().verdict(), Verdict::Expired(_))).await;
}

/// A link that is broken by `link`: what clients see from the first moment to the recovery.
async fn an_outage(link: Link, codes: &[i64]) {
    let database = database().await;
    database.run("INSERT INTO products (sku, name, price) SELECT 'k' || n, 'x', 1 FROM generate_series(0, 9) n").await;
    let proxy = Proxy::to(&database.url()).await;
    let node = Node::over(&proxy.url(), impatient()).await;
    let mut watcher = Watcher::of(&node, &["k0", "k1", "k2"]).await;
    let mut client = Socket::open(&node).await;
    let cached = client.ok("get", json!(["products", "k5"])).await;
    assert!(cached.get("stale_ms").is_none());
    let later = client.ok("get", json!(["products", "k6"])).await;
    let absent = client.ok("get", json!(["products", "absent"])).await;
    assert_eq!(absent["value"], json!(null));

    proxy.set(link);
    let fresh = client.ok("get", json!(["products", "k5"])).await;
    assert_eq!(fresh, cached);
    for cached in [&cached, &later] {
        let key = cached["key"].as_str().expect("a key");
        if key == "k5" {
            stale(&node).await;
        } else {
            expired(&node).await;
        }
        let begun = Instant::now();
        let aged = client.ok("get", json!(["products", key])).await;
        assert!(aged["stale_ms"].as_u64().is_some_and(|age| age >= 400), "{aged}");
        assert_eq!((&aged["stamp"], &aged["value"]), (&cached["stamp"], &cached["value"]));
        assert!(begun.elapsed() < Duration::from_secs(2), "it took {:?}", begun.elapsed());
        let begun = Instant::now();
        let exact = json!({"collection": "products", "key": key, "max_stale_ms": 0});
        for asked in [exact, json!(["products", "k9"])] {
            let refused = client.refused("get", asked).await;
            assert!(codes.contains(&refused["code"].as_i64().expect("a code")), "{refused}");
        }
        assert!(begun.elapsed() < Duration::from_secs(4) + SOON, "two of them took {:?}", begun.elapsed());
    }
    let put = json!({"collection": "products", "key": "k5", "value": {"name": "n", "price": 2}});
    let refused = client.refused("put", put.clone()).await;
    assert!([-32010, -32011].contains(&refused["code"].as_i64().expect("a code")), "{refused}");

    database.run("UPDATE products SET stock = 7; DELETE FROM products WHERE sku = 'k1'").await;
    proxy.set(Link::Pass);
    watcher.until_true_to(&database).await;
    until("answers are fresh", async || {
        let answer = client.call("get", json!(["products", "k5"])).await;
        answer["result"]["value"]["stock"] == 7 && answer["result"].get("stale_ms").is_none()
    })
    .await;
    until("writes go on", async || client.call("put", put.clone()).await.get("result").is_some()).await;
    assert_eq!(node.metric("freshet_changes_resyncs_total").await, 0.0, "the place in the feed was kept");
    node.stop().await;
}

#[tokio::test]
async fn a_database_that_refuses_connections_is_survived() {
    an_outage(Link::Cut, &[-32010]).await;
}

#[tokio::test]
async fn a_database_that_says_nothing_is_survived() {
    an_outage(Link::BlackHole, &[-32011, -32010]).await;
}

#[tokio::test]
async fn what_is_older_than_may_be_served_is_refused_unless_more_is_asked_for() {
    const STALE_MAX: u64 = 1_500;
    let database = database().await;
    database.run("INSERT INTO products (sku, name, price) VALUES ('k', 'x', 1)").await;
    let proxy = Proxy::to(&database.url()).await;
    let mut config = impatient();
    config.tiers.freshness.stale_max = Duration::from_millis(STALE_MAX);
    let node = Node::over(&proxy.url(), config).await;
    let mut client = Socket::open(&node).await;
    client.ok("get", json!(["products", "k"])).await;
    proxy.set(Link::Cut);
    let mut refused = json!(null);
    until("it is too old", async || {
        let mut answer = client.call("get", json!(["products", "k"])).await;
        let age = answer["result"]["stale_ms"].as_u64();
        assert!(age.is_none_or(|age| age <= STALE_MAX), "{answer}");
        refused = answer["error"].take();
        !refused.is_null()
    })
    .await;
    assert_eq!(refused["data"]["reason"], "unavailable", "{refused}");
    let patient = json!({"collection": "products", "key": "k", "max_stale_ms": 3_600_000});
    let aged = client.ok("get", patient).await;
    assert!(aged["stale_ms"].as_u64().is_some_and(|age| age > STALE_MAX), "{aged}");
    node.stop().await;
}

#[tokio::test]
async fn a_connection_that_cannot_be_had_in_time_is_given_up() {
    let database = database().await;
    database.run("INSERT INTO products (sku, name, price) VALUES ('k', 'x', 1)").await;
    let proxy = Proxy::to(&database.url()).await;
    // Longer than the default, and far below the deadline.
    let limit = Duration::from_secs(4);
    let node = Node::on(postgres::Config { connect_limit: limit, ..postgres::Config::at(proxy.url()) }, config()).await;
    let mut client = Socket::open(&node).await;
    // Connections that the node has opened at its start are of no more use.
    proxy.set_for("reads", Link::Cut);
    client.refused("get", json!(["products", "k"])).await;
    proxy.set_for("reads", Link::BlackHole);
    let begun = Instant::now();
    let refused = client.refused("get", json!(["products", "k"])).await;
    assert_eq!(refused["data"]["reason"], "unavailable", "{refused}");
    assert!((limit..limit + SOON).contains(&begun.elapsed()), "it took {:?}", begun.elapsed());
    node.stop().await;
}

#[tokio::test]
async fn a_silent_link_costs_its_connections_once() {
    let database = database().await;
    database.run("INSERT INTO products (sku, name, price) SELECT 'k' || n, 'x', 1 FROM generate_series(0, 49) n").await;
    let proxy = Proxy::to(&database.url()).await;
    let mut config = impatient();
    config.tiers.filter.enabled = false;
    config.service.deadline = Duration::from_secs(8);
    let node = Node::over(&proxy.url(), config).await;
    let get = async |key: String| {
        let id = node.service().record("products", &key).expect("a key");
        node.service().get(&id, &freshet::tiers::ReadOptions::default()).await
    };
    // Several connections are open and idle when the link falls silent.
    let warm = futures_util::future::join_all((0..20).map(|n| get(format!("k{n}")))).await;
    assert!(warm.iter().all(Result::is_ok));
    let pids = "SELECT coalesce(array_agg(pid), '{}') FROM pg_stat_activity \
                WHERE datname = current_database() AND application_name = 'freshet reads'";
    let before: Vec<i32> = database.value(pids).await;
    assert!(before.len() > 1, "{before:?}");
    proxy.set_for("reads", Link::BlackHoleThese);
    let mut failed = 0;
    for n in 30..50 {
        failed += usize::from(get(format!("k{n}")).await.is_err());
    }
    assert!(failed <= 1, "{failed} reads ran into {} silent connections", before.len());
    node.stop().await;
}

async fn migrated(server: &PrivateServer) -> String {
    migrate::create_database(&server.url("postgres"), "shop").await.expect("create");
    let url = server.url("shop");
    migrate::migrate_only(&url, 64, migrate::Source::Demo).await.expect("migrate");
    url
}

#[tokio::test]
async fn a_database_that_is_stopped_and_started_again_is_followed_on() {
    let (server, folder) = durable_server(&[]).await;
    let url = migrated(&server).await;
    let node = Node::over(&url, impatient()).await;
    let mut client = Socket::open(&node).await;
    let mut watcher = Watcher::of(&node, &["a", "b"]).await;
    let put = |key: &str, stock: i64| json!({"collection": "products", "key": key, "value": {"name": "n", "price": 2, "stock": stock}});
    client.ok("put", put("a", 1)).await;
    assert_eq!(watcher.push().await["value"]["stock"], 1);
    server.stop().await;
    stale(&node).await;
    assert!(client.ok("get", json!(["products", "a"])).await["stale_ms"].is_number());
    assert_eq!(client.refused("put", put("b", 1)).await["code"], -32010);
    let server = PrivateServer::start(Options::new(folder.path().join("data"))).await.expect("start again");
    until("writes go on", async || client.call("put", put("b", 2)).await.get("result").is_some()).await;
    client.ok("put", put("a", 3)).await;
    while watcher.value("a")["stock"] != 3 || watcher.value("b")["stock"] != 2 {
        watcher.push().await;
    }
    assert_eq!(node.metric("freshet_changes_resyncs_total").await, 0.0);
    node.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn a_slow_answer_of_the_database_says_how_old_it_is_unless_the_feed_proves_it_fresh() {
    let database = database().await;
    database.run("INSERT INTO products (sku, name, price) SELECT 'k' || n, 'x', 1 FROM generate_series(0, 9) n").await;
    let proxy = Proxy::to(&database.url()).await;
    let mut config = impatient();
    config.tiers.filter.enabled = false;
    config.service.deadline = Duration::from_secs(5);
    let node = Node::over(&proxy.url(), config).await;
    let mut client = Socket::open(&node).await;
    client.ok("get", json!(["products", "k0"])).await;
    proxy.set_for("reads", Link::Delay(Duration::from_millis(1_000)));
    let proven = client.ok("get", json!(["products", "k1"])).await;
    assert!(proven.get("stale_ms").is_none(), "{proven}: changes were heard of all the time");
    proxy.set_for("tail", Link::BlackHole);
    // Whole before the feed fell silent, and answered when it was silent for longer than `fresh`.
    for asked in [json!(["products", "k2"]), json!(["products", "absent"])] {
        let answer = client.ok("get", asked).await;
        assert!(answer["stale_ms"].as_u64().is_some_and(|age| (400..5_000).contains(&age)), "{answer}");
    }
    // One that may not be that old is asked for again, in vain.
    let exact = json!({"collection": "products", "key": "k3", "max_stale_ms": 0});
    assert_eq!(client.refused("get", exact).await["code"], -32011);
    proxy.set(Link::Pass);
    until("answers are fresh", async || client.ok("get", json!(["products", "k2"])).await.get("stale_ms").is_none())
        .await;
    node.stop().await;
}
