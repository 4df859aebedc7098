//! Rows and keys that other transactions hold delay their own writes, in any number.

use freshet::{
    record::shard,
    service::{Conditions, Error},
    store,
};
use futures_util::future::join_all;
use sqlx::{Connection as _, Executor as _};

use super::{node_with_products, patch, patch_all};
use crate::harness::{self, Node, until};

async fn bystanders(node: &Node, keys: std::ops::Range<u32>) {
    harness::node::within("the writes of other keys", async {
        for round in 0..5 {
            let patches: Vec<_> = keys.clone().map(|n| (format!("k{n}"), format!(r#"{{"stock": {round}}}"#))).collect();
            for written in patch_all(node.service(), &patches).await {
                written.expect("a write of a key that nobody holds");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_held_rows_and_keys_wait_and_nobody_else_does() {
    for shards in [1, 64] {
        let (node, database) = node_with_products(shards, 400).await;
        let (mut rows, mut keys) = (database.connect().await, database.connect().await);
        let mut rows = rows.begin().await.expect("begin");
        rows.execute("UPDATE products SET price = 2 WHERE substr(sku, 2)::int < 200").await.expect("hold rows");
        let mut keys = keys.begin().await.expect("begin");
        let insert =
            "INSERT INTO products (sku, name, price) SELECT 'new' || n, 'psql', 1 FROM generate_series(0, 19) n";
        keys.execute(insert).await.expect("hold keys");
        let held: Vec<_> = (0..220)
            .map(|n| {
                let service = node.service().clone();
                tokio::spawn(async move {
                    if n < 200 {
                        return patch(&service, &format!("k{n}"), r#"{"stock": 7}"#).await;
                    }
                    let id = service.record("products", &format!("new{}", n - 200)).expect("a key");
                    service.put(id, r#"{"name": "own", "price": 5}"#, Conditions::default()).await
                })
            })
            .collect();
        bystanders(&node, 200..400).await;
        assert!(held.iter().all(|held| !held.is_finished()), "a held write was answered");
        rows.rollback().await.expect("let the rows go");
        let sold = "SELECT count(*) FROM products WHERE stock = 7";
        until("all rows are written", async || database.value::<i64>(sold).await == 200).await;
        assert!(held[200..].iter().all(|held| !held.is_finished()), "a key is held still");
        keys.commit().await.expect("let the keys go");
        for held in held {
            held.await.expect("joins").expect("it was let go in time");
        }
        assert_eq!(database.value::<i64>("SELECT count(*) FROM products WHERE price = 5").await, 20);
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn held_writes_beyond_the_bound_are_refused_and_no_others() {
    let (node, database) = node_with_products(64, 2_000).await;
    let mut session = database.connect().await;
    let mut holding = session.begin().await.expect("begin");
    holding.execute("UPDATE products SET price = 2 WHERE substr(sku, 2)::int < 1800").await.expect("hold");
    let held: Vec<_> = (0..1_800)
        .map(|n| {
            let service = node.service().clone();
            tokio::spawn(async move { patch(&service, &format!("k{n}"), r#"{"stock": 7}"#).await })
        })
        .collect();
    until("some are refused", async || held.iter().filter(|held| held.is_finished()).count() >= 1_800 - 1_024).await;
    bystanders(&node, 1_800..2_000).await;
    holding.rollback().await.expect("let go");
    let (mut written, mut refused) = (0, 0);
    for held in join_all(held).await {
        match held.expect("joins") {
            Ok(_) => written += 1,
            Err(Error::Store(store::Error::Overloaded)) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((written, refused), (1_024, 1_800 - 1_024));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_locked_partition_holds_its_own_writes_only() {
    let (node, database) = node_with_products(64, 200).await;
    let mut session = database.connect().await;
    let mut holding = session.begin().await.expect("begin");
    let partition: String = database.value("SELECT tableoid::regclass::text FROM products WHERE sku = 'k0'").await;
    holding
        .execute(sqlx::AssertSqlSafe(format!("LOCK TABLE {partition} IN ACCESS EXCLUSIVE MODE")))
        .await
        .expect("lock");
    let service = node.service().clone();
    let held = tokio::spawn(async move { patch(&service, "k0", r#"{"stock": 7}"#).await });
    let free: Vec<u32> = {
        let catalogue = node.service().catalogue();
        let products = catalogue.find("products").expect("products");
        let shard = |key: &str| shard::shard_of(products.key_kind, key, products.modulus);
        (1..200).filter(|n| shard(&format!("k{n}")) != shard("k0")).collect()
    };
    harness::node::within("the writes of other partitions", async {
        for round in 0..5 {
            let patches: Vec<_> = free.iter().map(|n| (format!("k{n}"), format!(r#"{{"stock": {round}}}"#))).collect();
            assert!(patch_all(node.service(), &patches).await.iter().all(Result::is_ok));
        }
    })
    .await;
    assert!(!held.is_finished());
    holding.rollback().await.expect("let go");
    held.await.expect("joins").expect("it was let go in time");
    node.stop().await;
}
