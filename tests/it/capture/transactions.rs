//! What a transaction's beginning, end and settings do to its events.

use sqlx::{Connection, Executor};

use super::{assert_faithful, captured, polled};
use crate::harness::{self, Poller};

fn insert(sku: &str) -> String {
    format!("INSERT INTO products (sku, name, price) VALUES ('{sku}', 'n', 1)")
}

#[tokio::test]
async fn an_open_transaction_delays_only_its_own_rows() {
    let database = harness::database().await;
    let mut poller = Poller::start(&database).await;
    let mut open = database.connect().await;
    let mut transaction = open.begin().await.expect("begin");
    transaction.execute(sqlx::AssertSqlSafe(insert("slow"))).await.expect("insert");
    for sku in ["a", "b", "c"] {
        assert_eq!(captured(&database, &mut poller, &insert(sku)).await, [format!("U {sku}")]);
    }
    transaction.commit().await.expect("commit");
    assert_eq!(polled(&mut poller).await, ["U slow"]);
    assert_eq!(polled(&mut poller).await, [""; 0]);
    assert_faithful(&database, &poller).await;
}

#[tokio::test]
async fn a_rolled_back_transaction_leaves_nothing() {
    let database = harness::database().await;
    let mut poller = Poller::start(&database).await;
    let sql = format!("BEGIN; {}; ROLLBACK", insert("a"));
    assert_eq!(captured(&database, &mut poller, &sql).await, [""; 0]);
    let refused =
        database.try_run("INSERT INTO products (sku, name, price) VALUES ('b', 'n', 1), ('c', 'n', -1)").await;
    assert!(refused.is_err());
    assert_eq!(polled(&mut poller).await, [""; 0]);
}

#[tokio::test]
async fn a_savepoint_rolled_back_takes_only_its_own_events() {
    let database = harness::database().await;
    let mut poller = Poller::start(&database).await;
    let sql = format!(
        "BEGIN; {}; SAVEPOINT s; {}; DELETE FROM products WHERE sku = 'a'; ROLLBACK TO s; \
         SAVEPOINT t; {}; RELEASE t; COMMIT",
        insert("a"),
        insert("b"),
        insert("c"),
    );
    assert_eq!(captured(&database, &mut poller, &sql).await, ["U a", "U c"]);
    assert_faithful(&database, &poller).await;
}

#[tokio::test]
async fn writes_of_one_key_in_one_transaction_end_with_the_last() {
    let database = harness::database().await;
    let mut poller = Poller::start(&database).await;
    let sql = format!("BEGIN; {0}; DELETE FROM products; {0}; UPDATE products SET price = 2; COMMIT", insert("a"));
    assert_eq!(captured(&database, &mut poller, &sql).await, ["D a", "U a", "U a", "U a"]);
    assert_faithful(&database, &poller).await;
}

#[tokio::test]
async fn asynchronous_commit_becomes_local_for_every_kind_of_write() {
    let database = harness::database().await;
    let mut connection = database.connect().await;
    connection.execute("SET synchronous_commit = off").await.expect("set");
    let writes = [insert("a"), "UPDATE products SET price = 2".to_owned(), "DELETE FROM products".to_owned()];
    for write in writes {
        let mut transaction = connection.begin().await.expect("begin");
        transaction.execute(sqlx::AssertSqlSafe(write.clone())).await.expect("write");
        let show = "SHOW synchronous_commit";
        let inside: String = sqlx::query_scalar(show).fetch_one(&mut *transaction).await.expect("show");
        transaction.commit().await.expect("commit");
        let after: String = sqlx::query_scalar(show).fetch_one(&mut connection).await.expect("show");
        assert_eq!((inside.as_str(), after.as_str()), ("local", "off"), "{write}");
    }
}

#[tokio::test]
async fn a_stronger_commit_setting_is_left_alone() {
    let database = harness::database().await;
    let mut connection = database.connect().await;
    let mut transaction = connection.begin().await.expect("begin");
    transaction.execute("SET LOCAL synchronous_commit = remote_apply").await.expect("set");
    transaction.execute(sqlx::AssertSqlSafe(insert("a"))).await.expect("insert");
    let inside: String =
        sqlx::query_scalar("SHOW synchronous_commit").fetch_one(&mut *transaction).await.expect("show");
    assert_eq!(inside, "remote_apply");
}
