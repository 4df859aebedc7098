//! Lists are few at once, on connections of their own, and end with their deadline: others do not notice them.

use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::{Connection as _, Executor as _};

use super::{all_places_taken, page};
use crate::harness::{
    Node, Socket, database,
    node::{LIMIT, SOON, config},
    until,
};

/// Sessions of the node's lists that run a statement.
const RUNNING: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                        AND application_name = 'freshet lists' AND state = 'active'";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn lists_that_wait_for_a_locked_table_cost_others_nothing_and_one_too_many_is_refused() {
    let database = database().await;
    database
        .run(
            "INSERT INTO products (sku, name, price) SELECT 'k' || n, 'x', 1 FROM generate_series(0, 999) n;
             INSERT INTO readings (id, label) SELECT n, 'x' FROM generate_series(0, 999) n",
        )
        .await;
    let mut config = config();
    config.tiers.filter.enabled = false;
    config.service.deadline = LIMIT;
    let node = Node::over(&database.url(), config).await;
    let mut session = database.connect().await;
    let mut locking = session.begin().await.expect("begin");
    locking.execute("LOCK TABLE products_007 IN ACCESS EXCLUSIVE MODE").await.expect("lock");
    let sockets = all_places_taken(&node).await;
    let mut other = Socket::open(&node).await;
    until("two of them run", async || database.value::<i64>(RUNNING).await == 2).await;
    let begun = Instant::now();
    let refused = other.refused("list", json!(["readings"])).await;
    assert_eq!((&refused["data"]["reason"], &refused["data"]["retry_after_ms"]), (&json!("overloaded"), &json!(500)));
    assert!(begun.elapsed() < SOON, "it was refused after {:?}", begun.elapsed());
    // Reads of other tables, and of other partitions of this one, go on.
    for round in 0..100 {
        let begun = Instant::now();
        other.ok("get", json!(["readings", round])).await;
        let key = (0..9).map(|n| format!("k{}", round * 9 + n)).find(|key| crate::harness::cluster::shard(key) != 7);
        other.ok("get", json!(["products", key])).await;
        other.ok("put", json!(["readings", 5_000 + round, {"label": "y"}])).await;
        assert!(begun.elapsed() < SOON, "round {round} took {:?}", begun.elapsed());
    }
    locking.rollback().await.expect("let go");
    for mut socket in sockets {
        assert_eq!(socket.text().await["result"]["records"].as_array().map(Vec::len), Some(100));
    }
    page(&mut other, json!(["readings"])).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_is_given_up_ends_in_the_database_as_well() {
    let database = database().await;
    let mut config = config();
    config.service.deadline = Duration::from_millis(500);
    let node = Node::over(&database.url(), config).await;
    let mut session = database.connect().await;
    let mut locking = session.begin().await.expect("begin");
    locking.execute("LOCK TABLE products_007 IN ACCESS EXCLUSIVE MODE").await.expect("lock");
    let mut socket = Socket::open(&node).await;
    let refused = socket.refused("list", json!(["products"])).await;
    assert_eq!(
        (&refused["data"]["reason"], &refused["data"]["database"]),
        (&json!("deadline"), &json!("main")),
        "{refused}"
    );
    until("its statement has ended while the lock is held", async || database.value::<i64>(RUNNING).await == 0).await;
    locking.rollback().await.expect("let go");
    until("lists are answered again", async || socket.call("list", json!(["products"])).await.get("error").is_none())
        .await;
    node.stop().await;
}
