//! A database that takes no marks: the node goes on and answers what it can.

use freshet::tiers::Wish;
use futures_util::future::join_all;
use sqlx::Executor as _;

use super::keys;
use crate::harness::{Kind, Node, TestDatabase, node::config, until};

/// A session in which marks can be read and not written.
async fn locked(database: &TestDatabase) -> sqlx::PgConnection {
    let mut session = database.connect().await;
    let lock = "BEGIN; LOCK TABLE feed.mark IN EXCLUSIVE MODE";
    session.execute(sqlx::raw_sql(lock)).await.expect("lock");
    session
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_memory_of_floors_is_bounded_and_reads_are_answered_though_no_mark_is_written() {
    let mut config = config();
    config.tiers.floors_max = 100;
    config.tiers.filter.enabled = false;
    let node = Node::start_with(Kind::Postgres, config).await;
    let database = node.database();
    database
        .run("INSERT INTO products (sku, name, price) SELECT 'k' || n, 'x', 1 FROM generate_series(0, 1999) n")
        .await;
    let (mut session, keys) = (locked(database).await, keys("k", 2_000));
    for price in 2..5 {
        // Changes and reads take floors, twenty times as many as there is room for, all between the same two marks.
        let update = format!("UPDATE products SET price = {price}");
        let changing = database.run(&update);
        let reading = join_all(keys.iter().map(async |key| {
            let id = node.service().record("products", key).expect("a key");
            node.service().get(&id, &Wish::default()).await.expect("an answer").state
        }));
        let ((), read) = tokio::join!(changing, reading);
        assert!(read.iter().all(|state| state.value.is_some()));
        until("few floors are held", async || {
            node.tiers().observe();
            node.metric("freshet_tiers_floors").await <= 100.0
        })
        .await;
    }
    session.execute("COMMIT").await.expect("unlock");
    let state = async |key: &str| {
        let id = node.service().record("products", key).expect("a key");
        let value =
            node.service().get(&id, &Wish::default()).await.expect("an answer").state.value.expect("it is there");
        serde_json::from_slice::<serde_json::Value>(&value).expect("JSON")["price"].clone()
    };
    let applied = async || node.metric("freshet_changes_applied_total").await >= 8_000.0;
    until("every change is applied", applied).await;
    for key in &keys {
        assert_eq!(state(key).await, 4, "{key} is older than its last change");
    }
    node.stop().await;
}
