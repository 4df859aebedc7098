//! A table of the feed that is locked for a while, as a vacuum locks one that it shortens, delays writes and fails none.

use std::time::Duration;

use freshet::{
    service::{Conditions, Error, Service},
    store,
};
use futures_util::future::join_all;
use sqlx::{Connection as _, Executor as _};

use super::{node_with_products, parse};
use crate::harness::{Node, database, node::config, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writes_wait_for_a_locked_table_of_the_feed() {
    let (node, database) = node_with_products(64, 40).await;
    write_all(node.service(), "before").await.expect("writes");
    let mut session = database.connect().await;
    for table in ["outbox", "mark", "tomb", "idempotency", "shard_state"] {
        let mut holding = session.begin().await.expect("begin");
        let lock = format!("LOCK TABLE feed.{table} IN ACCESS EXCLUSIVE MODE");
        holding.execute(sqlx::AssertSqlSafe(lock)).await.expect("lock");
        let service = node.service().clone();
        let writing = tokio::spawn(async move { write_all(&service, table).await });
        let waits = format!(
            "SELECT count(*) > 0 FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT l.granted
                AND l.relation = 'feed.{table}'::regclass AND a.application_name = 'freshet writes'"
        );
        until("a write waits", async || database.value::<bool>(&waits).await).await;
        // A vacuum that shortens a table looks every 20 ms whether somebody waits.
        tokio::time::sleep(Duration::from_millis(120)).await;
        assert!(!writing.is_finished(), "{table} was not needed");
        holding.rollback().await.expect("let go");
        writing.await.expect("joins").unwrap_or_else(|error| panic!("{table}: {error}"));
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_write_that_waits_for_the_feed_until_its_deadline_did_not_happen() {
    let database = database().await;
    let mut config = config();
    config.service.deadline = Duration::from_secs(2);
    let node = Node::over(&database.url(), config).await;
    let put = async |key: String| {
        let conditions = Conditions { idempotency_key: Some(key.clone()), ..Conditions::default() };
        let id = node.service().record("products", &key).expect("a key");
        node.service().put(id, r#"{"name": "new", "price": 1}"#, conditions).await
    };
    put("before".to_owned()).await.expect("a write");
    // Alone, or behind one that takes most of the time.
    for (n, first) in [None, Some("outbox"), Some("outbox")].into_iter().enumerate() {
        let (mut brief, mut long) = (database.connect().await, database.connect().await);
        let mut long = long.begin().await.expect("begin");
        long.execute("LOCK TABLE feed.idempotency IN ACCESS EXCLUSIVE MODE").await.expect("lock");
        let holding = async {
            let Some(table) = first else { return };
            let mut holding = brief.begin().await.expect("begin");
            let lock = format!("LOCK TABLE feed.{table} IN ACCESS EXCLUSIVE MODE");
            holding.execute(sqlx::AssertSqlSafe(lock)).await.expect("lock");
            tokio::time::sleep(Duration::from_millis(700 * n as u64)).await;
            holding.rollback().await.expect("let go");
        };
        let (written, ()) = tokio::join!(put(format!("new{n}")), holding);
        let error = written.expect_err("the table was locked all the time");
        assert!(matches!(error, Error::Store(store::Error::Deadline)), "behind {first:?}: {error}");
        long.rollback().await.expect("let go");
        let found = format!("SELECT count(*) FROM products WHERE sku = 'new{n}'");
        assert_eq!(database.value::<i64>(&found).await, 0);
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_table_of_the_feed_that_is_locked_for_seconds_is_no_silent_database() {
    let (node, database) = node_with_products(64, 40).await;
    let mut session = database.connect().await;
    let mut holding = session.begin().await.expect("begin");
    holding.execute("LOCK TABLE feed.outbox IN ACCESS EXCLUSIVE MODE").await.expect("lock");
    // Nothing is read: neither a write nor a poll of the feed is answered but by the lock's limit.
    let writing = (0..40).map(|n| {
        let service = node.service().clone();
        tokio::spawn(async move {
            // More often than a silent database is tried.
            tokio::time::sleep(Duration::from_millis(120) * n).await;
            let id = service.record("products", &format!("k{n}")).expect("a key");
            service.patch(id, parse("{}", &[("stock", 1)]), Conditions::default()).await
        })
    });
    let writing: Vec<_> = writing.collect();
    tokio::time::sleep(Duration::from_secs(6)).await;
    holding.rollback().await.expect("let go");
    for write in join_all(writing).await {
        write.expect("joins").expect("delayed, not failed");
    }
    node.stop().await;
}

/// Writes of every kind, half of them with idempotency keys, side by side.
async fn write_all(service: &Service, round: &str) -> Result<(), Error> {
    let writes = (0..40).map(|n| async move {
        let record = |key: String| service.record("products", &key).expect("a key");
        let conditions =
            Conditions { idempotency_key: (n % 2 == 0).then(|| format!("{round} {n}")), ..Conditions::default() };
        match n % 4 {
            0 | 1 => service.patch(record(format!("k{n}")), parse("{}", &[("stock", 1)]), conditions).await,
            2 => service.put(record(format!("{round}{n}")), r#"{"name": "new", "price": 1}"#, conditions).await,
            _ => service.delete(record(format!("k{n}")), conditions).await,
        }
        .map(drop)
    });
    join_all(writes).await.into_iter().collect()
}
