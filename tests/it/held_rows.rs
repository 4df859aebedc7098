//! A row that somebody else holds delays its own writes and nobody else's.

use std::time::Duration;

use freshet::{
    service::{Conditions, Error, Service},
    store::{self, Written},
};
use futures_util::future::join_all;
use sqlx::{Connection as _, Executor as _, PgConnection};

use crate::harness::{Kind, Node, node::config, until, within};

async fn put(service: &Service, key: &str, price: i64) -> Result<Written, Error> {
    let id = service.record("products", key).expect("a key");
    service.put(id, &format!(r#"{{"name": "own", "price": {price}}}"#), Conditions::default()).await
}

async fn start(deadline: Duration) -> (Node, PgConnection) {
    let mut config = config();
    config.service.deadline = deadline;
    let node = Node::start_with(Kind::Postgres, config).await;
    node.database()
        .run("INSERT INTO products (sku, name, price) SELECT 'k' || n, 'x', 0 FROM generate_series(0, 9) n")
        .await;
    let session = node.database().connect().await;
    (node, session)
}

/// Two hundred writes of other keys, one connection's worth at a time.
async fn others_complete(service: &Service) {
    within("the writes of other keys", async {
        for round in 0..10 {
            let keys: Vec<String> = (0..20).map(|n| format!("free{n}")).collect();
            for written in join_all(keys.iter().map(|key| put(service, key, round))).await {
                written.expect("a write of a key that nobody holds");
            }
        }
    })
    .await;
}

fn is_deadline(error: &Error) -> bool {
    matches!(error, Error::Store(store::Error::Deadline))
}

#[tokio::test]
async fn a_held_row_ends_its_write_by_the_deadline_and_delays_no_other() {
    let (node, mut session) = start(Duration::from_secs(2)).await;
    let mut holding = session.begin().await.expect("begin");
    holding.execute("UPDATE products SET stock = 1 WHERE sku = 'k3'").await.expect("hold");
    let held = tokio::spawn({
        let service = node.service().clone();
        async move { put(&service, "k3", 7).await }
    });
    others_complete(node.service()).await;
    assert!(!held.is_finished(), "two hundred writes took longer than the deadline of the one that waits");
    let error = held.await.expect("joins").expect_err("the row was held all the time");
    assert!(is_deadline(&error), "{error}");
    holding.commit().await.expect("commit");
    assert_eq!(node.database().value::<i64>("SELECT price FROM products WHERE sku = 'k3'").await, 0);
    node.stop().await;
}

#[tokio::test]
async fn a_write_goes_on_when_its_row_is_let_go() {
    for hold in [
        "UPDATE products SET stock = 1 WHERE sku = 'k3'",
        "INSERT INTO products (sku, name, price) VALUES ('new', 'psql', 1)",
        "DELETE FROM products WHERE sku = 'k3'",
        "LOCK TABLE products IN ACCESS EXCLUSIVE MODE",
        "ALTER TABLE products ADD COLUMN IF NOT EXISTS weight integer",
    ] {
        let (node, mut session) = start(Duration::from_secs(10)).await;
        let mut holding = session.begin().await.expect("begin");
        holding.execute(hold).await.expect("hold");
        let written = ["k3", "new"].map(|key| {
            let service = node.service().clone();
            tokio::spawn(async move { put(&service, key, 7).await })
        });
        let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted \
                     AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
                     OR NOT granted AND locktype = 'transactionid'";
        until("a write waits", async || node.database().value::<i64>(waits).await > 0).await;
        holding.commit().await.expect("commit");
        for written in written {
            written.await.expect("joins").unwrap_or_else(|error| panic!("after {hold}: {error}"));
        }
        let both = "SELECT sum(price)::bigint FROM products WHERE sku IN ('k3', 'new')";
        assert_eq!(node.database().value::<i64>(both).await, 14, "{hold}");
        node.stop().await;
    }
}

#[tokio::test]
async fn a_key_that_is_being_inserted_elsewhere_delays_no_other() {
    let (node, mut session) = start(Duration::from_secs(2)).await;
    let mut holding = session.begin().await.expect("begin");
    holding.execute("INSERT INTO products (sku, name, price) VALUES ('new', 'psql', 1)").await.expect("hold");
    let held = tokio::spawn({
        let service = node.service().clone();
        async move { put(&service, "new", 7).await }
    });
    others_complete(node.service()).await;
    assert!(!held.is_finished());
    assert!(is_deadline(&held.await.expect("joins").expect_err("the key was held all the time")));
    holding.rollback().await.expect("roll back");
    put(node.service(), "new", 8).await.expect("the key is free now");
    node.stop().await;
}

#[tokio::test]
async fn writes_refused_for_their_value_do_not_wait_behind_held_ones() {
    let (node, mut session) = start(Duration::from_secs(5)).await;
    let mut holding = session.begin().await.expect("begin");
    holding.execute("UPDATE products SET stock = 1").await.expect("hold");
    let held: Vec<_> = (0..10)
        .map(|n| {
            let service = node.service().clone();
            tokio::spawn(async move { put(&service, &format!("k{n}"), 7).await })
        })
        .collect();
    for n in 0..20 {
        let error = put(node.service(), &format!("free{n}"), -1).await.expect_err("a negative price");
        assert!(matches!(error, Error::Store(store::Error::InvalidValue { .. })), "{error}");
    }
    assert!(held.iter().all(|held| !held.is_finished()), "the bad ones are answered while the held ones wait");
    holding.commit().await.expect("commit");
    for held in held {
        held.await.expect("joins").expect("its row was let go in time");
    }
    node.stop().await;
}

#[tokio::test]
async fn writes_of_one_held_row_leave_connections_for_another() {
    let (node, mut session) = start(Duration::from_secs(5)).await;
    let mut other = node.database().connect().await;
    let mut holding = session.begin().await.expect("begin");
    holding.execute("UPDATE products SET stock = 1 WHERE sku = 'k3'").await.expect("hold");
    let many: Vec<_> = (0..20)
        .map(|n| {
            let service = node.service().clone();
            tokio::spawn(async move { put(&service, "k3", n).await })
        })
        .collect();
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'freshet waiting writes' \
                   AND wait_event_type = 'Lock' AND datname = current_database()";
    until("a write waits", async || node.database().value::<i64>(waiting).await == 1).await;
    let mut brief = other.begin().await.expect("begin");
    brief.execute("UPDATE products SET stock = 1 WHERE sku = 'k4'").await.expect("hold");
    let service = node.service().clone();
    let one = tokio::spawn(async move { put(&service, "k4", 7).await });
    until("the other key's write waits, too", async || node.database().value::<i64>(waiting).await == 2).await;
    brief.commit().await.expect("commit");
    one.await.expect("joins").expect("its row was let go");
    assert!(many.iter().all(|write| !write.is_finished()), "the first row is held still");
    holding.commit().await.expect("commit");
    for write in many {
        write.await.expect("joins").expect("its row was let go in time");
    }
    node.stop().await;
}

#[tokio::test]
async fn writers_in_the_opposite_order_do_not_lock_each_other_out() {
    let (node, mut session) = start(Duration::from_secs(10)).await;
    let service = node.service().clone();
    let writing = tokio::spawn(async move {
        for round in 0..40 {
            let keys: Vec<String> = (0..10).map(|n| format!("k{n}")).collect();
            for written in join_all(keys.iter().map(|key| put(&service, key, round))).await {
                written.expect("a write beside a transaction of many rows");
            }
        }
    });
    let mut transactions = 0;
    while !writing.is_finished() {
        let mut open = session.begin().await.expect("begin");
        for n in (0..10).rev() {
            let sql = sqlx::query("UPDATE products SET stock = stock + 1 WHERE sku = 'k' || $1").bind(n);
            sql.execute(&mut *open).await.expect("no deadlock: the node waits for no row while it holds another");
        }
        open.commit().await.expect("commit");
        transactions += 1;
    }
    writing.await.expect("every write was answered");
    assert!(transactions > 3, "only {transactions} transactions raced with the writes");
    node.stop().await;
}
