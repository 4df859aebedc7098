//! A relation that somebody has locked, or that is slow to read, holds up its own reads and nobody else's.

use std::time::{Duration, Instant};

use freshet::{service::Error, store, tiers::ReadOptions};
use futures_util::future::join_all;
use serde_json::json;
use sqlx::{Connection as _, Executor as _};
use tokio::task::JoinHandle;

use crate::harness::{
    Node, Socket, TestDatabase, database,
    node::{SOON, config},
    until,
};

/// A node over as many products and readings, none of them cached.
async fn start(deadline: Duration) -> (Node, TestDatabase) {
    let database = database().await;
    database
        .run(
            "INSERT INTO products (sku, name, price) SELECT 'k' || n, 'x', 1 FROM generate_series(0, 999) n;
             INSERT INTO readings (id, label) SELECT n, 'x' FROM generate_series(0, 999) n;
             INSERT INTO parcels (id, note) SELECT gen_random_uuid(), 'x' FROM generate_series(0, 299)",
        )
        .await;
    let mut config = config();
    config.service.deadline = deadline;
    config.tiers.filter.enabled = false;
    (Node::over(&database.url(), config).await, database)
}

async fn get(node: &Node, collection: &str, key: &str) -> Result<(), Error> {
    let id = node.service().record(collection, key)?;
    node.service().get(&id, &ReadOptions::default()).await.map(drop)
}

fn spawn_gets(node: &Node, collection: &str, keys: &[String]) -> Vec<JoinHandle<Result<(), Error>>> {
    let get = |key: &String| {
        let (service, id) = (node.service().clone(), node.service().record(collection, key).expect("a key"));
        tokio::spawn(async move { service.get(&id, &ReadOptions::default()).await.map(drop) })
    };
    keys.iter().map(get).collect()
}

/// Reads records of `collection`, one after the other, each of which must be answered promptly.
async fn read_cold(node: &Node, collection: &str, keys: impl Iterator<Item = impl ToString>) {
    for key in keys {
        let begun = Instant::now();
        get(node, collection, &key.to_string()).await.expect("a read of a table that is free");
        assert!(begun.elapsed() < SOON, "a cold read of {collection} took {:?}", begun.elapsed());
    }
}

async fn read_waits(database: &TestDatabase) {
    let waits = "SELECT count(*) > 0 FROM pg_locks l JOIN pg_stat_activity a USING (pid)
                  WHERE NOT l.granted AND a.application_name LIKE 'freshet%reads' AND a.datname = current_database()";
    until("a read waits for the lock", async || database.value::<bool>(waits).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_locked_table_holds_up_neither_reads_of_others_nor_pushes_nor_readiness() {
    let (node, database) = start(Duration::from_secs(15)).await;
    let mut client = Socket::open(&node).await;
    let watched: Vec<String> = (900..1_000).map(|n| format!("k{n}")).collect();
    client.ok("subscribe", json!({"collection": "products", "keys": watched})).await;
    client.ok("subscribe", json!({"collection": "readings", "keys": ["900"]})).await;
    for _ in 0..101 {
        client.push().await;
    }
    let mut session = database.connect().await;
    let mut locking = session.begin().await.expect("begin");
    locking.execute("LOCK TABLE products, parcels IN ACCESS EXCLUSIVE MODE").await.expect("lock");
    let keys: Vec<String> = (0..400).map(|n| format!("k{n}")).collect();
    let parcels: Vec<String> = (0..200).map(|n| format!("00000000-0000-4000-8000-{n:012}")).collect();
    let mut held = spawn_gets(&node, "products", &keys);
    held.extend(spawn_gets(&node, "parcels", &parcels));
    read_waits(&database).await;
    for round in 0..12 {
        read_cold(&node, "readings", 10 * round..10 * round + 10).await;
        let begun = Instant::now();
        database.run(&format!("UPDATE readings SET label = 'r{round}' WHERE id = 900")).await;
        assert_eq!(client.push().await["value"]["label"], format!("r{round}"));
        assert!(begun.elapsed() < SOON, "a push took {:?}", begun.elapsed());
        let ready = reqwest::get(format!("http://{}/readyz?verbose", node.operations())).await.expect("an answer");
        assert_eq!(ready.status(), 200, "{}", ready.text().await.expect("text"));
    }
    assert!(held.iter().all(|held| !held.is_finished()), "a read passed the lock");
    locking.commit().await.expect("unlock");
    for held in held {
        held.await.expect("joins").expect("the table was let go in time");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_read_of_a_locked_table_ends_by_its_deadline_and_holds_no_connection_of_others() {
    let (node, database) = start(Duration::from_secs(2)).await;
    let mut session = database.connect().await;
    let mut locking = session.begin().await.expect("begin");
    locking.execute("LOCK TABLE products IN ACCESS EXCLUSIVE MODE").await.expect("lock");
    let keys: Vec<String> = (0..400).map(|n| format!("k{n}")).collect();
    let begun = Instant::now();
    let held = spawn_gets(&node, "products", &keys);
    read_waits(&database).await;
    let waits = "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
                  WHERE NOT l.granted AND a.application_name LIKE 'freshet%' AND a.datname = current_database()";
    // Each shard is tried once, for a moment, before it is known to be locked.
    let mut looks = 0;
    until("no more than two sessions wait", async || {
        looks = if database.value::<i64>(waits).await <= 2 { looks + 1 } else { 0 };
        looks == 20
    })
    .await;
    assert!(held.iter().any(|held| !held.is_finished()), "they wait no longer");
    for held in join_all(held).await {
        let error = held.expect("joins").expect_err("the table was locked all the time");
        assert!(matches!(error, Error::Store(store::Error::Deadline)), "{error}");
    }
    assert!(begun.elapsed() < Duration::from_secs(2) + SOON, "it took {:?}", begun.elapsed());
    locking.commit().await.expect("unlock");
    read_cold(&node, "products", (0..50).map(|n| format!("k{n}"))).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_locked_partition_leaves_the_others_of_its_table_alone() {
    let (node, database) = start(Duration::from_secs(15)).await;
    let keys = |of: &str| format!("SELECT array_agg(sku) FROM products WHERE {of} tableoid = 'products_017'::regclass");
    let (locked, free): (Vec<String>, Vec<String>) =
        (database.value(&keys("")).await, database.value(&keys("NOT")).await);
    let mut session = database.connect().await;
    let mut locking = session.begin().await.expect("begin");
    locking.execute("LOCK TABLE products_017 IN ACCESS EXCLUSIVE MODE").await.expect("lock");
    let held = spawn_gets(&node, "products", &locked);
    read_waits(&database).await;
    read_cold(&node, "products", free.iter().take(200)).await;
    assert!(held.iter().all(|held| !held.is_finished()), "a read passed the lock");
    locking.commit().await.expect("unlock");
    for held in held {
        held.await.expect("joins").expect("the partition was let go in time");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reads_wait_for_a_locked_table_of_the_feed() {
    let (node, database) = start(Duration::from_secs(15)).await;
    let mut session = database.connect().await;
    for (n, table) in ["mark", "shard_state", "tomb"].into_iter().enumerate() {
        let mut locking = session.begin().await.expect("begin");
        let lock = format!("LOCK TABLE feed.{table} IN ACCESS EXCLUSIVE MODE");
        locking.execute(sqlx::AssertSqlSafe(lock)).await.expect("lock");
        let held = spawn_gets(&node, "products", &[format!("k{n}"), format!("absent{n}")]);
        read_waits(&database).await;
        locking.rollback().await.expect("unlock");
        for held in held {
            held.await.expect("joins").unwrap_or_else(|error| panic!("{table}: {error}"));
        }
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn slow_reads_of_one_collection_leave_connections_to_the_others() {
    let database = database().await;
    database
        .run(
            "CREATE TYPE pace AS ENUM ('slow');
             CREATE FUNCTION pace_json(pace) RETURNS json LANGUAGE plpgsql AS
                 $$ BEGIN PERFORM pg_sleep(2); RETURN '\"slow\"'; END $$;
             CREATE CAST (pace AS json) WITH FUNCTION pace_json(pace);
             ALTER TABLE products ADD COLUMN pace pace DEFAULT 'slow';
             INSERT INTO products (sku, name, price) SELECT 'k' || n, 'x', 1 FROM generate_series(0, 399) n;
             INSERT INTO readings (id, label) SELECT n, 'x' FROM generate_series(0, 399) n",
        )
        .await;
    let mut config = config();
    config.service.deadline = Duration::from_secs(3);
    config.tiers.filter.enabled = false;
    let node = Node::over(&database.url(), config).await;
    let keys: Vec<String> = (0..400).map(|n| format!("k{n}")).collect();
    let slow = spawn_gets(&node, "products", &keys);
    let running = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";
    until("the slow ones have what they may", async || database.value::<i64>(running).await == 6).await;
    read_cold(&node, "readings", 0..100).await;
    until("the slow ones have timed out", async || slow.iter().filter(|slow| slow.is_finished()).count() > 200).await;
    read_cold(&node, "readings", 100..200).await;
    slow.iter().for_each(JoinHandle::abort);
    node.stop().await;
}
