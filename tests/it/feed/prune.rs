//! What is past its retention goes, in an order that no reader of the feed can mistake for a whole history.

use std::{sync::Arc, time::Duration};

use freshet::{
    record::DatabaseId,
    resilience::Deadline,
    store::{Postgres, Store, postgres, postgres::Counters},
    telemetry::Telemetry,
};

use serde_json::json;

use crate::harness::{
    Node, Socket, TestDatabase, database,
    node::{LIMIT, config},
    until,
};

/// A store that keeps nothing of the feed.
async fn forgetful(database: &TestDatabase) -> Store {
    let mut config = postgres::Config::at(database.url());
    (config.retention, config.idempotency_retention) = (Duration::ZERO, Duration::ZERO);
    Store::Postgres(Arc::new(
        Postgres::open(vec![config], &Counters::new(&Telemetry::new()), Deadline::after(LIMIT)).await.expect("open"),
    ))
}

const COUNTS: &str = "SELECT format('%s %s %s', (SELECT count(*) FROM feed.mark), (SELECT count(*) FROM feed.outbox), \
                      (SELECT count(*) FROM feed.tomb))";

#[tokio::test]
async fn what_is_past_the_retention_goes_but_the_newest_mark() {
    let database = database().await;
    let store = forgetful(&database).await;
    let mut lead = store.lead(DatabaseId(0)).await.expect("the database answers").expect("nobody else leads");
    database.run("INSERT INTO products (sku, name, price) VALUES ('a', 'A', 1), ('b', 'B', 1)").await;
    database.run("DELETE FROM products WHERE sku = 'a'").await;
    for _ in 0..5 {
        lead.mark().await.expect("mark");
    }
    assert_eq!(database.value::<String>(COUNTS).await, "5 3 1");
    // Transactions of other databases hold a snapshot's lower end back too; later marks are past them.
    until("only the newest mark is left", async || {
        lead.mark().await.expect("mark");
        lead.prune().await.expect("prune");
        database.value::<String>(COUNTS).await == "1 0 0"
    })
    .await;
    store.close().await;
}

#[tokio::test]
async fn an_old_mark_goes_before_the_changes_that_follow_it() {
    let database = database().await;
    let store = forgetful(&database).await;
    let mut lead = store.lead(DatabaseId(0)).await.expect("the database answers").expect("nobody else leads");
    lead.mark().await.expect("mark");
    database.run("INSERT INTO products (sku, name, price) VALUES ('a', 'A', 1)").await;
    lead.mark().await.expect("mark");
    let mut session = database.connect().await;
    let hold = "BEGIN; LOCK TABLE feed.outbox IN SHARE MODE";
    sqlx::raw_sql(hold).execute(&mut session).await.expect("lock");
    // A node that stands at the first mark must not find it once the change after it may be gone.
    let pruning = tokio::spawn(async move { lead.prune().await });
    let first = "SELECT count(*) FROM feed.mark WHERE n = 1";
    until("the old mark is gone", async || database.value::<i64>(first).await == 0).await;
    assert_eq!(database.value::<i64>("SELECT count(*) FROM feed.outbox").await, 1);
    sqlx::raw_sql("COMMIT").execute(&mut session).await.expect("unlock");
    pruning.await.expect("joins").expect("prune");
    store.close().await;
}

#[tokio::test]
async fn an_idempotency_key_past_its_retention_is_a_new_one() {
    let database = database().await;
    let put =
        json!({"collection": "products", "key": "k", "value": {"name": "x", "price": 1}, "idempotency_key": "once"});
    let node = Node::over(&database.url(), config()).await;
    let mut socket = Socket::open(&node).await;
    let first = socket.ok("put", put.clone()).await;
    let second = socket.ok("put", json!(["products", "k", {"name": "x", "price": 2}])).await;
    assert_eq!(
        socket.ok("put", put.clone()).await["stamp"],
        first["stamp"],
        "within the retention it is the same write"
    );
    node.stop().await;

    let store = forgetful(&database).await;
    let mut lead = store.lead(DatabaseId(0)).await.expect("the database answers").expect("nobody else leads");
    lead.prune().await.expect("prune");
    assert_eq!(database.value::<i64>("SELECT count(*) FROM feed.idempotency").await, 0);
    drop(lead);
    store.close().await;

    let node = Node::over(&database.url(), config()).await;
    let third = Socket::open(&node).await.ok("put", put).await;
    assert!(third["version"].as_u64() > second["version"].as_u64(), "{third} after {second}");
    node.stop().await;
}
