//! One service over two databases of four shards each: a record lies where its shard is, and each database fails alone.

use std::time::{Duration, Instant};

use freshet::{
    app::{App, Error, Place},
    record::{DatabaseId, KeyKind, ShardId, shard::shard_of},
    store::postgres,
    tiers::freshness::Verdict,
};
use serde_json::{Value, json};

use crate::harness::{
    Link, Node, Proxy, Socket, TestDatabase, Watcher, blank_database,
    node::{SOON, config},
    until,
};

pub const MODULUS: u32 = 8;

/// Two databases, each with half of the shards of products.
pub async fn pair() -> [TestDatabase; 2] {
    [half("0,1,2,3").await, half("4,5,6,7").await]
}

pub async fn half(shards: &str) -> TestDatabase {
    let database = blank_database().await;
    database.run(&format!("SELECT freshet.create_shards('products', {MODULUS}, ARRAY[{shards}])")).await;
    database
}

pub fn named(name: &str, url: String) -> postgres::Config {
    postgres::Config { name: name.to_owned(), ..postgres::Config::at(url) }
}

/// A node over them, the second one behind a link that may be broken.
async fn node_behind(pair: &[TestDatabase; 2]) -> (Node, Proxy) {
    let proxy = Proxy::to(&pair[1].url()).await;
    let mut config = config();
    config.service.deadline = Duration::from_secs(2);
    let node = Node::over_all(vec![named("low", pair[0].url()), named("high", proxy.url())], config).await;
    (node, proxy)
}

/// So many keys of each database, the first one's first.
pub fn keys(node: &Node, count: usize) -> [Vec<String>; 2] {
    let all: Vec<String> = (0..count * 8).map(|n| format!("k{n}")).collect();
    let (low, high): (Vec<_>, Vec<_>) = all.into_iter().partition(|key| shard(node, key).0 < MODULUS / 2);
    [low, high].map(|keys| keys.into_iter().take(count).collect())
}

/// The shard of a product.
pub fn shard(node: &Node, key: &str) -> ShardId {
    let id = node.service().record("products", key).expect("a key");
    ShardId(shard_of(KeyKind::Text, id.key.as_str(), MODULUS).expect("a shard"))
}

async fn put(socket: &mut Socket, key: &str, price: u32) -> Value {
    socket.ok("put", json!(["products", key, {"name": "x", "price": price}])).await
}

pub async fn probe(node: &Node) -> (u16, String) {
    let answer = reqwest::get(format!("http://{}/readyz", node.operations())).await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("text"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_lies_where_its_shard_is_and_its_watchers_hear_of_every_writer() {
    let pair = pair().await;
    let (node, _proxy) = node_behind(&pair).await;
    let [low, high] = keys(&node, 100);
    let all = [&low[..], &high[..]].concat();
    let mut socket = Socket::open(&node).await;
    for (price, key) in (1..).zip(&all) {
        put(&mut socket, key, price).await;
    }
    for (database, own) in pair.iter().zip([&low, &high]) {
        let rows: Vec<(String, String)> = sqlx::query_as("SELECT sku, tableoid::regclass::text FROM products")
            .fetch_all(database.pool())
            .await
            .expect("rows");
        assert_eq!(rows.len(), own.len());
        for (sku, partition) in rows {
            let shard = shard(&node, &sku);
            assert_eq!(partition, format!("products_{:03}", shard.0), "{sku}");
        }
    }
    // Reads of many keys, and changes by others on either database.
    let read = socket.ok("get_many", json!({"collection": "products", "keys": all})).await;
    assert!(read["records"].as_array().expect("records").iter().all(|record| record["value"].is_object()), "{read}");
    let mut watcher = Watcher::of(&node, &[&low[0], &high[0]]).await;
    for (database, key) in pair.iter().zip([&low[0], &high[0]]) {
        database.run(&format!("UPDATE products SET stock = 7 WHERE sku = '{key}'")).await;
        let pushed = watcher.push().await;
        assert_eq!((pushed["key"].as_str(), &pushed["value"]["stock"]), (Some(&**key), &json!(7)));
    }
    assert_eq!(probe(&node).await, (200, "ready\n".into()));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_database_costs_its_own_records_only() {
    let pair = pair().await;
    let (node, proxy) = node_behind(&pair).await;
    let [low, high] = keys(&node, 40);
    let mut socket = Socket::open(&node).await;
    for key in [&low[..20], &high[..20]].concat() {
        put(&mut socket, &key, 1).await;
    }
    for (database, own) in pair.iter().zip([&low, &high]) {
        for key in &own[20..] {
            database.run(&format!("INSERT INTO products (sku, name, price) VALUES ('{key}', 'x', 1)")).await;
        }
    }
    let mut watcher = Watcher::of(&node, &[&low[0]]).await;
    proxy.set(Link::BlackHole);
    until("its certificate is too old", async || node.tiers().freshness_of(DatabaseId(1)).verdict() != Verdict::Fresh)
        .await;
    // Its own: what is cached with its age, the rest an error in time.
    let aged = socket.ok("get", json!(["products", high[0]])).await;
    assert!(aged["stale_ms"].is_u64(), "{aged}");
    let begun = Instant::now();
    let refused = socket.refused("get", json!(["products", high[30]])).await;
    assert!([-32010, -32011].contains(&refused["code"].as_i64().expect("a code")), "{refused}");
    let put_there = json!(["products", high[0], {"name": "x", "price": 2}]);
    let refused = socket.refused("put", put_there).await;
    assert!([-32010, -32011].contains(&refused["code"].as_i64().expect("a code")), "{refused}");
    assert!(begun.elapsed() < Duration::from_secs(4) + SOON, "it took {:?}", begun.elapsed());
    // The other's: fresh, cached or not, written and pushed.
    for (n, key) in low.iter().enumerate() {
        let read = socket.ok("get", json!(["products", key])).await;
        assert!(read.get("stale_ms").is_none() && read["value"].is_object(), "{read}");
        put(&mut socket, key, n as u32 + 2).await;
    }
    assert_eq!(watcher.push().await["value"]["price"], 2);
    let (status, text) = probe(&node).await;
    assert!(status == 200 && text.contains("store high failed") && text.ends_with("degraded\n"), "{status}: {text}");
    assert!(!text.contains("low"), "{text}");

    pair[1].run("UPDATE products SET stock = 9").await;
    proxy.set(Link::Pass);
    let mut late = Watcher::of(&node, &high[..20]).await;
    late.until_true_to(&pair[1]).await;
    until("it is ready again", async || probe(&node).await == (200, "ready\n".into())).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_starts_while_one_database_is_away_and_takes_it_in_when_it_comes() {
    let pair = pair().await;
    let proxy = Proxy::to(&pair[0].url()).await;
    proxy.set(Link::Cut);
    let databases = vec![named("low", proxy.url()), named("high", pair[1].url())];
    let node = Node::over_some(databases, config()).await;
    let [low, high] = keys(&node, 1);
    let mut socket = Socket::open(&node).await;
    until("the other is served", async || node.tiers().freshness_of(DatabaseId(1)).verdict() == Verdict::Fresh).await;
    put(&mut socket, &high[0], 1).await;
    let refused = socket.refused("put", json!(["products", low[0], {"name": "x", "price": 1}])).await;
    assert_eq!(refused["code"], -32010, "{refused}");
    let (status, text) = probe(&node).await;
    assert!(status == 200 && text.contains("store low failed") && text.ends_with("degraded\n"), "{status}: {text}");
    proxy.set(Link::Pass);
    until("it is served", async || probe(&node).await == (200, "ready\n".into())).await;
    put(&mut socket, &low[0], 1).await;
    let mut watcher = Watcher::of(&node, &[&low[0]]).await;
    pair[0].run("UPDATE products SET price = 3").await;
    assert_eq!(watcher.push().await["value"]["price"], 3);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generation_that_rises_on_one_database_leaves_the_others_entries() {
    let pair = pair().await;
    let (node, _proxy) = node_behind(&pair).await;
    let [low, high] = keys(&node, 20);
    let mut socket = Socket::open(&node).await;
    for key in [&low[..], &high[..]].concat() {
        put(&mut socket, &key, 1).await;
    }
    let mut watcher = Watcher::of(&node, &[&low[0], &high[0]]).await;
    pair[1].run("UPDATE feed.shard_state SET gen = gen + 1").await;
    // Watchers of that database only are told to start over.
    let told = watcher.push().await;
    assert_eq!((told["key"].as_str(), &told["reset"]), (Some(&*high[0]), &json!(true)), "{told}");
    let read = async |socket: &mut Socket, keys: &[String]| {
        let before = node.metric("freshet_tiers_store_reads_total").await;
        for key in keys {
            socket.ok("get", json!(["products", key])).await;
        }
        node.metric("freshet_tiers_store_reads_total").await - before
    };
    assert_eq!(read(&mut socket, &low).await, 0.0, "they stand in L1 as before");
    assert!(read(&mut socket, &high[1..]).await > 0.0, "what was cached of the old history is gone");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_none_or_two_own_is_named_and_the_others_are_served() {
    let databases = [half("0,1,2").await, half("2,4,5,6,7").await];
    let all = vec![named("low", databases[0].url()), named("high", databases[1].url())];
    let node = Node::over_all(all, config()).await;
    let mut socket = Socket::open(&node).await;
    let mut seen = [0; MODULUS as usize];
    for n in 0..200 {
        let key = format!("k{n}");
        let shard = shard(&node, &key).0;
        seen[shard as usize] += 1;
        if shard == 2 || shard == 3 {
            for (method, params) in
                [("get", json!(["products", key])), ("put", json!(["products", key, {"name": "x", "price": 1}]))]
            {
                let refused = socket.refused(method, params).await;
                assert_eq!((&refused["code"], &refused["data"]["shard"]), (&json!(-32010), &json!(shard)), "{refused}");
            }
        } else {
            put(&mut socket, &key, 1).await;
        }
    }
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
    // Nobody restarts for a shard that comes.
    databases[0].run(&format!("SELECT freshet.create_shards('products', {MODULUS}, ARRAY[3])")).await;
    let key = (0..1_000).map(|n| format!("n{n}")).find(|key| shard(&node, key).0 == 3);
    let key = key.expect("one of a thousand");
    until("the shard is served", async || {
        let put = json!(["products", key, {"name": "x", "price": 1}]);
        socket.call("put", put).await.get("result").is_some()
    })
    .await;
    // A mark after it, so that the feed has met its row.
    let applied = node.tiers().applied(DatabaseId(0));
    until("the feed goes on", async || node.tiers().applied(DatabaseId(0)) > applied).await;
    assert_eq!(node.metric("freshet_changes_resyncs_total").await, 0.0, "nobody's history was lost");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn databases_that_do_not_fit_together_are_refused_by_name() {
    let pair = pair().await;
    let twice = vec![named("one", pair[0].url()), named("other", pair[0].url())];
    let refused = App::build(&config(), &Place::Databases(twice), None).await.err().expect("two names of one database");
    let Error::Store(refused) = refused else { panic!("{refused}") };
    assert!(refused.to_string().contains("one from other"), "{refused}");

    let third = half("4,5,6,7").await;
    pair[1].run("ALTER TABLE products ADD color text").await;
    let node = Node::over_some(
        vec![named("low", pair[0].url()), named("odd", pair[1].url()), named("high", third.url())],
        config(),
    )
    .await;
    let (_, text) = probe(&node).await;
    assert!(text.contains("store odd failed") && text.contains("\"color\""), "{text}");
    node.stop().await;
}
