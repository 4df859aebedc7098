//! Writes that were not sent when the store closes are told so: they did not happen, and may be repeated.

use std::time::Duration;

use freshet::{
    service::{Conditions, Error, Service},
    store::{self, Written, postgres},
};
use sqlx::{Connection as _, Executor as _};
use tokio::task::JoinHandle;

use crate::harness::{Node, TestDatabase, database, node::config, until, within};

async fn start() -> (Node, TestDatabase) {
    let database = database().await;
    database.run("INSERT INTO products (sku, name, price) SELECT 'k' || n, 'x', 1 FROM generate_series(0, 9) n").await;
    let mut config = config();
    config.service.deadline = Duration::from_secs(60);
    let settings = postgres::Config { write_lanes: 1, ..postgres::Config::at(database.url()) };
    (Node::on(settings, config).await, database)
}

fn put(node: &Node, key: &str) -> JoinHandle<Result<Written, Error>> {
    let service: Service = node.service().clone();
    let id = service.record("products", key).expect("a key");
    tokio::spawn(async move { service.put(id, r#"{"name": "own", "price": 7}"#, Conditions::default()).await })
}

async fn is_told(write: JoinHandle<Result<Written, Error>>) {
    let error = within("the write is answered", write).await.expect("joins").expect_err("it was not sent");
    assert!(matches!(error, Error::Store(store::Error::Unavailable { .. })), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writes_that_still_queue_when_the_store_closes_are_told_that_they_did_not_happen() {
    let (node, database) = start().await;
    let mut session = database.connect().await;
    let mut holding = session.begin().await.expect("begin");
    holding.execute("LOCK TABLE feed.outbox IN ACCESS EXCLUSIVE MODE").await.expect("lock");
    let sent = put(&node, "k0");
    // Longer than a group waits before it starts over with more patience.
    let waits = "SELECT count(*) > 0 FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT l.granted \
                 AND l.relation = 'feed.outbox'::regclass AND a.application_name = 'freshet writes' \
                 AND clock_timestamp() - a.query_start > interval '100 ms'";
    until("the first waits", async || database.value::<bool>(waits).await).await;
    let queued: Vec<_> = (1..5).map(|n| put(&node, &format!("k{n}"))).collect();
    node.stop().await;
    for queued in queued {
        is_told(queued).await;
    }
    holding.rollback().await.expect("let go");
    within("the first is answered", sent)
        .await
        .expect("joins")
        .expect("it was sent, and nothing kept it from its commit");
    assert_eq!(database.value::<i64>("SELECT count(*) FROM products WHERE price = 7").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn held_writes_are_told_that_they_did_not_happen_when_the_store_closes() {
    let (node, database) = start().await;
    let mut session = database.connect().await;
    let mut holding = session.begin().await.expect("begin");
    holding.execute("UPDATE products SET stock = 1").await.expect("hold");
    let held: Vec<_> = (0..10).map(|n| put(&node, &format!("k{n}"))).collect();
    let waits = "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'freshet waiting writes' \
                 AND wait_event_type = 'Lock' AND datname = current_database()";
    until("a write waits", async || database.value::<bool>(waits).await).await;
    node.stop().await;
    for held in held {
        is_told(held).await;
    }
    holding.rollback().await.expect("let go");
    assert_eq!(database.value::<i64>("SELECT count(*) FROM products WHERE price = 7").await, 0);
}
