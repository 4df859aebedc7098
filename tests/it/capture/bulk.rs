//! Large statements, and what they leave behind in a session's cached plans.

use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Executor, PgConnection};

use super::assert_faithful;
use crate::harness::{self, Poller, node::LIMIT};

const ROWS: usize = 100_000;

#[tokio::test]
async fn a_statement_of_100_000_rows_logs_each_once() {
    let database = harness::database().await;
    let mut poller = Poller::start(&database).await;
    let mut session = database.connect().await;
    // One row first: a plan cached for it must not make the large statements quadratic.
    execute(&mut session, "INSERT INTO products (sku, name, price) VALUES ('k0', 'n', 1)").await;
    execute(&mut session, "UPDATE products SET price = 2").await;
    execute(&mut session, "DELETE FROM products").await;
    poller.poll().await;
    let insert =
        format!("INSERT INTO products (sku, name, price) SELECT 'k' || i, 'n', 1 FROM generate_series(1, {ROWS}) i");
    for statement in [insert.as_str(), "UPDATE products SET price = 2", "DELETE FROM products"] {
        let took = execute(&mut session, statement).await;
        assert!(took < LIMIT, "{statement}: {took:?}");
        assert_eq!(poller.poll().await.len(), ROWS, "{statement}");
    }
    assert_faithful(&database, &poller).await;
}

#[tokio::test]
async fn a_repeatable_read_statement_of_many_rows_logs_each_once() {
    let database = harness::database().await;
    let mut poller = Poller::start(&database).await;
    database
        .run("BEGIN ISOLATION LEVEL REPEATABLE READ; INSERT INTO products (sku, name, price) SELECT 'k' || i, 'n', 1 FROM generate_series(1, 10000) i; COMMIT")
        .await;
    assert_eq!(poller.poll().await.len(), 10_000);
    assert_faithful(&database, &poller).await;
}

#[tokio::test]
async fn a_bulk_statement_does_not_slow_the_single_writes_after_it() {
    let database = harness::database().await;
    let mut session = database.connect().await;
    let before = singles(&mut session, "a").await;
    let bulk = "INSERT INTO products (sku, name, price) SELECT 'bulk' || i, 'n', 1 FROM generate_series(1, 20000) i";
    execute(&mut session, bulk).await;
    execute(&mut session, "UPDATE products SET price = 2").await;
    execute(&mut session, "DELETE FROM products WHERE sku LIKE 'bulk1%'").await;
    let after = singles(&mut session, "b").await;
    // 45 times slower is what a plan kept from the bulk statement did; noise on a shared machine is far less.
    assert!(after < before * 10, "{before:?} before, {after:?} after");
}

/// The time of 200 single inserts, updates and deletes.
async fn singles(session: &mut PgConnection, prefix: &str) -> Duration {
    let mut sum = Duration::ZERO;
    for i in 0..200 {
        for sql in [
            format!("INSERT INTO products (sku, name, price) VALUES ('{prefix}{i}', 'n', 1)"),
            format!("UPDATE products SET price = 3 WHERE sku = '{prefix}{i}'"),
            format!("DELETE FROM products WHERE sku = '{prefix}{i}'"),
        ] {
            sum += execute(session, &sql).await;
        }
    }
    sum
}

async fn execute(session: &mut PgConnection, sql: &str) -> Duration {
    let start = Instant::now();
    session.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await.expect(sql);
    start.elapsed()
}
