//! What is written as new without looking for its row: answers tell what was committed, whatever stood there.

use std::collections::HashSet;

use freshet::{
    service::{Conditions, Service},
    store::Written,
};
use futures_util::future::join_all;

use crate::harness::{Kind, Link, Node, Proxy, TestDatabase, database, node::config, until};

async fn put(service: &Service, key: &str, price: i64) -> Written {
    let id = service.record("products", key).expect("a key");
    let value = format!(r#"{{"name": "own", "price": {price}}}"#);
    service.put(id, &value, Conditions::default()).await.expect("a write")
}

async fn delete(service: &Service, key: &str) -> Written {
    let id = service.record("products", key).expect("a key");
    service.delete(id, Conditions::default()).await.expect("a write")
}

/// Every change of every key, as the feed tells it.
async fn logged(database: &TestDatabase) -> HashSet<(String, i64, bool)> {
    let rows = sqlx::query_as("SELECT key, version, op = 'D' FROM feed.outbox").fetch_all(database.pool()).await;
    rows.expect("the outbox").into_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_version_answered_while_records_come_and_go_was_committed() {
    const ROUNDS: i64 = 60;
    let node = Node::start(Kind::Postgres).await;
    let come_and_go = (0..8).map(|writer| {
        let service = node.service();
        async move {
            let mut answered = Vec::new();
            for round in 0..ROUNDS {
                // A record that comes again, and one that never was.
                let (again, new) = (format!("again{writer}"), format!("new{writer}-{round}"));
                for (key, deletes) in
                    [&again, &new].into_iter().flat_map(|key| [(key, false), (key, true), (key, false)])
                {
                    let written = if deletes { delete(service, key).await } else { put(service, key, round).await };
                    answered.push((key.clone(), written.stamp.version.cast_signed(), deletes));
                }
            }
            answered
        }
    });
    // Tombstones above versions that inserts have just taken.
    let elsewhere = async {
        for n in 0..ROUNDS {
            let insert = format!("INSERT INTO products (sku, name, price) VALUES ('psql{n}', 'n', 1)");
            node.database().run(&format!("{insert}; DELETE FROM products WHERE sku = 'psql{n}'")).await;
        }
    };
    let (answered, ()) = tokio::join!(join_all(come_and_go), elsewhere);
    let logged = logged(node.database()).await;
    let answered: Vec<_> = answered.into_iter().flatten().collect();
    for change in &answered {
        assert!(logged.contains(change), "answered and not committed: {change:?}");
    }
    let versions: HashSet<i64> = answered.iter().map(|(_, version, _)| *version).collect();
    assert_eq!(versions.len(), answered.len(), "two writes were answered with one version");
    node.stop().await;
}

/// A node whose filter does not learn of what others insert.
async fn cut_off_from_the_feed(database: &TestDatabase) -> (Node, Proxy) {
    let proxy = Proxy::to(&database.url()).await;
    let node = Node::over(&proxy.url(), config()).await;
    let products = node.service().catalogue().find("products").expect("products").id;
    until("the filter is built", async || node.tiers().is_filtered(products)).await;
    proxy.set_for("tail", Link::BlackHole);
    (node, proxy)
}

#[tokio::test]
async fn a_put_of_what_psql_inserted_a_moment_ago_is_an_update() {
    let database = database().await;
    let (node, proxy) = cut_off_from_the_feed(&database).await;
    database.run("INSERT INTO products (sku, name, price, stock) VALUES ('k', 'theirs', 1, 5)").await;
    let written = put(node.service(), "k", 2).await;
    let row = "SELECT format('%s %s %s %s', name, price, stock, freshet_version) FROM products WHERE sku = 'k'";
    assert_eq!(database.value::<String>(row).await, format!("own 2 0 {}", written.stamp.version));
    assert!(logged(&database).await.contains(&("k".to_owned(), written.stamp.version.cast_signed(), false)));
    proxy.set(Link::Pass);
    node.stop().await;
}

#[tokio::test]
async fn a_put_that_waited_for_a_delete_is_answered_with_the_version_above_it() {
    let database = database().await;
    let (node, proxy) = cut_off_from_the_feed(&database).await;
    database.run("INSERT INTO products (sku, name, price) VALUES ('k', 'theirs', 1)").await;
    let mut deleter = database.connect().await;
    sqlx::raw_sql("BEGIN; DELETE FROM products WHERE sku = 'k'").execute(&mut deleter).await.expect("delete");
    let service = node.service().clone();
    let putting = tokio::spawn(async move { put(&service, "k", 2).await });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()
                    AND application_name = 'freshet waiting writes'";
    until("the put waits apart", async || database.value::<i64>(waits).await > 0).await;
    // It has taken its version; this deletion's is above.
    let again = "INSERT INTO products (sku, name, price) VALUES ('k', 'theirs', 3);
                 DELETE FROM products WHERE sku = 'k'; COMMIT";
    sqlx::raw_sql(again).execute(&mut deleter).await.expect("commit");
    let version = putting.await.expect("joins").stamp.version.cast_signed();
    assert_eq!(version, database.value::<i64>("SELECT freshet_version FROM products WHERE sku = 'k'").await);
    assert!(version > database.value::<i64>("SELECT max(version) FROM feed.tomb").await);
    assert!(logged(&database).await.contains(&("k".to_owned(), version, false)));
    proxy.set(Link::Pass);
    node.stop().await;
}
