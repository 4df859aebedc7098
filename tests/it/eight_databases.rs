//! One service over eight databases on two servers.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use freshet::{record::DatabaseId, tiers::freshness::Verdict};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{
    harness::{
        Node, Socket, Watcher,
        cluster::{DATABASES, EightDatabases, place, shard},
        node::{SOON, config},
        until,
    },
    verify::verify,
};

/// Records written through the node.
const RECORDS: usize = 10_000;
/// Writes in flight.
const AT_ONCE: usize = 250;
/// The database that is away when the node starts.
const AWAY: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_lie_where_their_shards_are_and_nowhere_else_and_every_writer_is_heard() {
    let eight = EightDatabases::start().await;
    eight.cluster.close(AWAY).await.expect("close");
    let node = Node::over_some(eight.cluster.databases(), config()).await;
    let keys: Vec<String> = (0..RECORDS).map(|n| format!("k{n}")).collect();
    until("the others are served", async || {
        (0..8)
            .filter(|id| *id != AWAY)
            .all(|id| node.tiers().freshness_of(DatabaseId(id as u16)).verdict() == Verdict::Fresh)
    })
    .await;
    let mut socket = Socket::open(&node).await;
    let refused = put_all(&mut socket, &keys).await;
    assert!(refused.iter().all(|key| place(key) == AWAY), "{refused:?}");
    assert_eq!(refused.len(), keys.iter().filter(|key| place(key) == AWAY).count());
    eight.cluster.open(AWAY).await.expect("open");
    until("it is taken in", async || node.tiers().freshness().verdict() == Verdict::Fresh).await;
    assert_eq!(put_all(&mut socket, &refused).await, Vec::<String>::new());

    let databases: Vec<PgPool> = (0..DATABASES.len()).map(|place| eight.outside(place)).collect();
    let mut found = HashSet::new();
    for (number, database) in databases.iter().enumerate() {
        let rows: Vec<(String, String)> = sqlx::query_as("SELECT sku, tableoid::regclass::text FROM products")
            .fetch_all(database)
            .await
            .expect("rows");
        for (key, partition) in rows {
            assert_eq!((number, partition), (place(&key), format!("products_{:03}", shard(&key))), "{key}");
            assert!(found.insert(key));
        }
    }
    assert_eq!(found.len(), RECORDS);

    let watched: Vec<&String> =
        (0..DATABASES.len()).map(|number| keys.iter().find(|key| place(key) == number).expect("one of many")).collect();
    let mut watcher = Watcher::of(&node, &watched).await;
    for (database, key) in databases.iter().zip(&watched) {
        let update = sqlx::query("UPDATE products SET stock = 7 WHERE sku = $1").bind(key);
        update.execute(database).await.expect("update");
        let pushed = watcher.push().await;
        assert_eq!((pushed["key"].as_str(), &pushed["value"]["stock"]), (Some(&***key), &json!(7)));
    }
    node.stop().await;
    eight.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_costs_its_own_records_only() {
    let mut eight = EightDatabases::start().await;
    let node = Node::over_all(eight.cluster.databases(), config()).await;
    let keys: Vec<String> = (0..2_000).map(|n| format!("k{n}")).collect();
    let mut socket = Socket::open(&node).await;
    put_all(&mut socket, &keys).await;
    let (ours, frozen): (Vec<String>, Vec<String>) = keys.iter().cloned().partition(|key| place(key) < 4);
    let watched: Vec<&String> = ours.iter().take(20).chain(frozen.iter().take(20)).collect();
    let mut watcher = Watcher::of(&node, &watched).await;
    let outside = eight.outside(0);
    work(&mut socket, &ours, &outside).await;
    let sessions = sessions(&outside).await;

    eight.cluster.server("b").expect("it is there").freeze().expect("freeze");
    let begun = Instant::now();
    let mut slowest = Duration::ZERO;
    // Until its certificates are too old, and some seconds more.
    while begun.elapsed() < Duration::from_secs(8) {
        slowest = slowest.max(work(&mut socket, &ours, &outside).await);
        // Asked for over the same connection, answered or not.
        let other = &frozen[begun.elapsed().subsec_micros() as usize % frozen.len()];
        let id = begun.elapsed().as_micros().to_string();
        socket
            .send(json!({"jsonrpc": "2.0", "id": id, "method": "get", "params": ["products", other]}).to_string())
            .await;
    }
    assert!(slowest < SOON, "one took {slowest:?}");
    assert_eq!(node.tiers().freshness_of(DatabaseId(0)).verdict(), Verdict::Fresh);
    assert_ne!(node.tiers().freshness_of(DatabaseId(7)).verdict(), Verdict::Fresh);
    let now = self::sessions(&outside).await;
    // A connection more of a pool that had not needed all of its own is no trace of the outage.
    assert!(now <= sessions + 2, "{now} sessions on the other server, and {sessions} before");

    eight.cluster.server("b").expect("it is there").thaw().expect("thaw");
    until("all is fresh again", async || node.tiers().freshness().verdict() == Verdict::Fresh).await;
    for (number, stock) in (0..DATABASES.len()).zip(100..) {
        let update = format!("UPDATE products SET stock = {stock}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(update)).execute(&eight.outside(number)).await.expect("update");
    }
    while watched.iter().any(|key| watcher.value(key)["stock"].as_u64() < Some(100)) {
        watcher.push().await;
    }
    node.stop().await;
    eight.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_finds_nothing_wrong_while_databases_come_and_go() {
    let mut eight = EightDatabases::start().await;
    let configuration = eight.folder().join("freshet.toml");
    std::fs::write(&configuration, eight.cluster.configuration()).expect("write");
    let nodes = [
        Node::over_all(eight.cluster.databases(), config()).await,
        Node::over_all(eight.cluster.databases(), config()).await,
    ];
    let urls = nodes.each_ref().map(Node::url);
    let configuration = configuration.display().to_string();
    let words = [&urls[0], &urls[1], "--config", &configuration, "--seconds", "14", "--settle", "30s"];
    let run = verify(&words);
    let faults = async {
        let changed = "SELECT count(*) FROM products WHERE stock > 100";
        let outside = eight.outside(7);
        let count = async || sqlx::query_scalar::<_, i64>(changed).fetch_one(&outside).await.expect("a count");
        until("verify has made its records, and changes them", async || count().await > 0).await;
        // Each lasts long enough to be met by writes, reads and polls; what it does to them is what is looked at.
        eight.cluster.server("b").expect("it is there").freeze().expect("freeze");
        tokio::time::sleep(Duration::from_secs(4)).await;
        eight.cluster.server("b").expect("it is there").thaw().expect("thaw");
        eight.cluster.close(1).await.expect("close");
        tokio::time::sleep(Duration::from_secs(2)).await;
        eight.cluster.open(1).await.expect("open");
        let lost = "UPDATE feed.shard_state SET gen = gen + 1";
        sqlx::raw_sql(lost).execute(&eight.outside(6)).await.expect("raise the generation");
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE pid <> pg_backend_pid() AND datname = current_database()";
        sqlx::raw_sql(end).execute(&eight.outside(2)).await.expect("end the sessions");
    };
    let (ran, ()) = tokio::join!(run, faults);
    ran.is_clean();
    for node in nodes {
        node.stop().await;
    }
    eight.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cluster_example_names_replicas_that_follow_and_what_is_promoted() {
    let mut eight = EightDatabases::start_with_standbys().await;
    let before = eight.cluster.databases();
    let stock = |url: String| async move {
        let pool = PgPool::connect(&url).await.expect("connect");
        sqlx::query_scalar::<_, i32>("SELECT max(stock) FROM products").fetch_optional(&pool).await.ok().flatten()
    };
    for (number, database) in before.iter().enumerate() {
        let [replica] = &*database.replicas else { panic!("one replica: {database:?}") };
        let key = (0..1_000).map(|n| format!("k{n}")).find(|key| place(key) == number).expect("one of many");
        let insert = "INSERT INTO products (sku, name, price, stock) VALUES ($1, 'x', 1, 5)";
        sqlx::query(insert).bind(key).execute(&eight.outside(number)).await.expect("insert");
        until("the replica shows it", async || stock(replica.clone()).await == Some(5)).await;
    }
    let pair = eight.cluster.pair_with("b").expect("a pair");
    pair.primary.kill().await.expect("kill");
    pair.promote().await.expect("promote");
    pair.rebuild().await.expect("rebuild");
    for (number, (before, after)) in before.iter().zip(eight.cluster.databases()).enumerate() {
        let expected = match number < 4 {
            true => (&before.url, &before.replicas),
            false => (&before.replicas[0], &vec![before.url.clone()]),
        };
        assert_eq!((&after.url, &after.replicas), expected);
        assert_eq!(stock(after.replicas[0].clone()).await, Some(5), "it follows");
        let written: Result<_, _> = sqlx::query("UPDATE products SET stock = 6").execute(&eight.outside(number)).await;
        written.expect("a primary takes writes");
    }
    eight.cluster.stop().await;
}

/// Puts `keys`, many at once; returns those that were refused.
async fn put_all(socket: &mut Socket, keys: &[String]) -> Vec<String> {
    let mut refused = Vec::new();
    for keys in keys.chunks(AT_ONCE) {
        for key in keys {
            let params = json!(["products", key, {"name": "x", "price": 1}]);
            socket.send(json!({"jsonrpc": "2.0", "id": key, "method": "put", "params": params}).to_string()).await;
        }
        for _ in keys {
            let answer = socket.text().await;
            if answer.get("error").is_some() {
                refused.push(answer["id"].as_str().expect("an id").to_owned());
            }
        }
    }
    refused
}

/// Reads, writes, and a change from outside; returns how long the slowest took.
async fn work(socket: &mut Socket, keys: &[String], database: &PgPool) -> Duration {
    let mut slowest = Duration::ZERO;
    for key in keys.iter().step_by(50) {
        let begun = Instant::now();
        let read: Value = socket.ok("get", json!(["products", key])).await;
        assert!(read.get("stale_ms").is_none() && read["value"].is_object(), "{read}");
        socket.ok("patch", json!({"collection": "products", "key": key, "increment": {"stock": 1}})).await;
        slowest = slowest.max(begun.elapsed());
    }
    sqlx::query("UPDATE products SET stock = stock + 1 WHERE sku = $1")
        .bind(&keys[0])
        .execute(database)
        .await
        .expect("update");
    slowest
}

/// The sessions of nodes on a database's server.
async fn sessions(database: &PgPool) -> i64 {
    let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'freshet %'";
    sqlx::query_scalar(count).fetch_one(database).await.expect("a count")
}
