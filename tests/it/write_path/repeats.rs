//! A repeated write happens once, whichever group or node it meets.

use freshet::{
    service::{Conditions, Service},
    tiers::ReadOptions,
};
use futures_util::future::join_all;
use sqlx::{Connection as _, Executor as _};

use super::{node_with_products, parse};
use crate::harness::{Link, Node, Proxy, node::config, until};

async fn sell(service: &Service, key: &str, token: &str) -> u64 {
    let id = service.record("products", key).expect("a key");
    let conditions = Conditions { idempotency_key: Some(token.to_owned()), ..Conditions::default() };
    service.patch(id, parse("{}", &[("stock", -1)]), conditions).await.expect("a write").stamp.version
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_idempotency_key_is_one_write_across_groups_and_nodes() {
    let (a, database) = node_with_products(64, 20).await;
    let b = Node::over(&database.url(), config()).await;
    // Each key with three tokens, each token four times on either node, all at once.
    let sales = (0..20).flat_map(|key| (0..3).flat_map(move |token| (0..4).map(move |n| (key, token, n))));
    let sold = join_all(sales.map(|(key, token, n)| {
        let node = if n % 2 == 0 { &a } else { &b };
        async move { ((key, token), sell(node.service(), &format!("k{key}"), &format!("t{token}")).await) }
    }))
    .await;
    let mut versions = std::collections::HashMap::new();
    for (sale, version) in sold {
        assert_eq!(*versions.entry(sale).or_insert(version), version, "{sale:?} was answered with two versions");
    }
    assert_eq!(database.value::<i64>("SELECT count(*) FROM products WHERE stock = 997").await, 20);
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_repeated_put_of_a_new_record_is_answered_alike_on_both_nodes() {
    let (a, database) = node_with_products(64, 1).await;
    let b = Node::over(&database.url(), config()).await;
    let puts = (0..30).flat_map(|key| (0..4).map(move |n| (key, n)));
    let written = join_all(puts.map(|(key, n)| {
        let service = if n % 2 == 0 { a.service() } else { b.service() };
        async move {
            let id = service.record("products", &format!("new{key}")).expect("a key");
            let conditions = Conditions { idempotency_key: Some("once".into()), ..Conditions::default() };
            let written = service.put(id, r#"{"name": "new", "price": 1}"#, conditions).await.expect("a write");
            (key, written.stamp.version)
        }
    }))
    .await;
    let mut versions = std::collections::HashMap::new();
    for (key, version) in written {
        assert_eq!(*versions.entry(key).or_insert(version), version, "new{key} was answered with two versions");
    }
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_write_and_its_repeat_that_wait_for_one_row_are_one_write() {
    let (node, database) = node_with_products(64, 1).await;
    let mut session = database.connect().await;
    let mut holding = session.begin().await.expect("begin");
    holding.execute("UPDATE products SET price = 2 WHERE sku = 'k0'").await.expect("hold");
    let selling: Vec<_> = (0..4)
        .map(|_| {
            let service = node.service().clone();
            tokio::spawn(async move { sell(&service, "k0", "once").await })
        })
        .collect();
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'freshet waiting writes'
                   AND wait_event_type = 'Lock' AND datname = current_database()";
    until("a write waits", async || database.value::<i64>(waiting).await > 0).await;
    holding.rollback().await.expect("let go");
    let mut versions = Vec::new();
    for sold in selling {
        versions.push(sold.await.expect("joins"));
    }
    versions.dedup();
    assert_eq!(versions.len(), 1, "{versions:?}");
    assert_eq!(database.value::<i32>("SELECT stock FROM products WHERE sku = 'k0'").await, 999);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_repeat_is_answered_as_before_where_it_could_not_be_carried_out_again() {
    let (a, database) = node_with_products(64, 1).await;
    let b = Node::over(&database.url(), config()).await;
    database.run("UPDATE products SET stock = 1 WHERE sku = 'k0'").await;
    // The last one is sold once; its repeat finds none and is answered alike.
    let sold = sell(a.service(), "k0", "last").await;
    assert_eq!(sell(a.service(), "k0", "last").await, sold);
    assert_eq!(sell(b.service(), "k0", "last").await, sold);
    // A record that must not exist is made once.
    let make = |service: &Service| {
        let id = service.record("products", "made").expect("a key");
        let conditions =
            Conditions { if_stamp: Some(freshet::record::Stamp::ABSENT), idempotency_key: Some("make".into()) };
        let service = service.clone();
        async move { service.put(id, r#"{"name": "new", "price": 1}"#, conditions).await.expect("a write").stamp }
    };
    let made = make(a.service()).await;
    assert_eq!(make(a.service()).await, made);
    assert_eq!(make(b.service()).await, made);
    // One that was refused for itself is refused again.
    let id = a.service().record("products", "k0").expect("a key");
    let conditions = Conditions { idempotency_key: Some("bad".into()), ..Conditions::default() };
    a.service().patch(id, parse(r#"{"stock": -5}"#, &[]), conditions).await.expect_err("a negative stock");
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_repeated_write_a_node_that_has_not_heard_of_it_answers_with_nothing_older() {
    let (a, database) = node_with_products(64, 1).await;
    let link = Proxy::to(&database.url()).await;
    let b = Node::over(&link.url(), config()).await;
    let id = b.service().record("products", "k0").expect("a key");
    let options = ReadOptions::default();
    b.service().get(&id, &options).await.expect("it is cached");
    link.set_for("tail", Link::BlackHole);
    let sold = sell(a.service(), "k0", "once").await;
    assert_eq!(sell(b.service(), "k0", "once").await, sold);
    let read = b.service().get(&id, &options).await.expect("an answer");
    assert!(read.state.stamp.version >= sold, "{read:?} after {sold}");
    b.stop().await;
    a.stop().await;
}
