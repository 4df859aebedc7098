//! A database that takes no marks: the node says so, goes on, and answers what it can.

use std::process::Command;

use freshet::{record::DatabaseId, tiers::ReadOptions};
use futures_util::future::join_all;
use sqlx::Executor as _;

use super::keys;
use crate::harness::{Kind, Node, TestDatabase, Watcher, node::config, until};

/// A session in which marks can be read and not written.
async fn locked(database: &TestDatabase) -> sqlx::PgConnection {
    let mut session = database.connect().await;
    let lock = "BEGIN; LOCK TABLE feed.mark IN EXCLUSIVE MODE";
    session.execute(sqlx::raw_sql(lock)).await.expect("lock");
    session
}

async fn readyz(node: &Node) -> (u16, String) {
    let answer = reqwest::get(format!("http://{}/readyz?verbose", node.operations())).await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("a text"))
}

fn doctor(database: &TestDatabase) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_freshet"));
    let ran = command.args(["doctor", "--database-url", &database.url()]).output().expect("run");
    (ran.status.code(), String::from_utf8(ran.stdout).expect("text"))
}

#[tokio::test]
async fn a_database_that_takes_no_marks_makes_the_node_not_ready_and_doctor_fails() {
    let node = Node::start(Kind::Postgres).await;
    let database = node.database();
    assert_eq!(readyz(&node).await.0, 200);
    assert_eq!(doctor(database).0, Some(0));
    let mut watcher = Watcher::of(&node, &["a"]).await;
    let mut session = locked(database).await;
    until("the node says that it is not ready", async || readyz(&node).await.0 == 503).await;
    let (_, said) = readyz(&node).await;
    assert!(said.contains("the database takes no marks"), "{said}");
    let (code, found) = doctor(database);
    assert!(code == Some(1) && found.contains("the database takes no marks"), "{code:?}: {found}");
    // What is committed all the same reaches its watchers.
    database.run("INSERT INTO products (sku, name, price) VALUES ('a', 'A', 1)").await;
    watcher.until_true_to(database).await;
    session.execute("COMMIT").await.expect("unlock");
    until("the node is ready again", async || readyz(&node).await.0 == 200).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_memory_of_floors_is_bounded_and_reads_are_answered_though_no_mark_is_written() {
    let mut config = config();
    config.tiers.floors_max = 1_000;
    config.tiers.filter.enabled = false;
    let node = Node::start_with(Kind::Postgres, config).await;
    let database = node.database();
    database
        .run("INSERT INTO products (sku, name, price) SELECT 'k' || n, 'x', 1 FROM generate_series(0, 1999) n")
        .await;
    let (mut session, keys) = (locked(database).await, keys("k", 2_000));
    for price in 2..5 {
        // Changes and reads take floors, more than there is room for, all between the same two marks.
        let update = format!("UPDATE products SET price = {price}");
        let changing = database.run(&update);
        let reading = join_all(keys.iter().map(async |key| {
            let id = node.service().record("products", key).expect("a key");
            node.service().get(&id, &ReadOptions::default()).await.expect("an answer").state
        }));
        let ((), read) = tokio::join!(changing, reading);
        assert!(read.iter().all(|state| state.value.is_some()));
        until("few floors are held", async || {
            node.tiers().observe();
            node.metric("freshet_tiers_floors").await <= 1_000.0
        })
        .await;
    }
    // The next mark comes after every change.
    let before = node.tiers().applied(DatabaseId(0));
    session.execute("COMMIT").await.expect("unlock");
    let state = async |key: &str| {
        let id = node.service().record("products", key).expect("a key");
        let value = node
            .service()
            .get(&id, &ReadOptions::default())
            .await
            .expect("an answer")
            .state
            .value
            .expect("it is there");
        serde_json::from_slice::<serde_json::Value>(&value).expect("JSON")["price"].clone()
    };
    until("every change is applied", async || node.tiers().applied(DatabaseId(0)) > before).await;
    for key in &keys {
        assert_eq!(state(key).await, 4, "{key} is older than its last change");
    }
    node.stop().await;
}
