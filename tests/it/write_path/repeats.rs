//! A repeated write happens once, whichever group or node it meets.

use freshet::service::{Conditions, Service};
use futures_util::future::join_all;

use super::{node_with_products, parse};
use crate::harness::{Node, node::config};

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
