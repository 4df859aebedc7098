//! However many ask at once, the store is asked once.

use freshet::{service::Service, tiers::ReadOptions};
use futures_util::future::join_all;

use crate::harness::{Kind, Node, node::config};

/// Without a filter, which may deny what was inserted elsewhere a moment ago.
async fn unfiltered() -> Node {
    let mut config = config();
    config.tiers.filter.enabled = false;
    Node::start_with(Kind::Postgres, config).await
}

const STATEMENTS: &str = "freshet_tiers_statements_total";

async fn get_all(service: &Service, keys: &[String]) {
    let gets = keys.iter().map(|key| async move {
        let id = service.record("products", key).expect("a key");
        let answer = service.get(&id, &ReadOptions::default()).await.expect("an answer");
        assert!(answer.state.value.is_some(), "{key} is there");
    });
    join_all(gets).await;
}

#[tokio::test]
async fn ten_thousand_gets_of_one_uncached_key_cost_a_few_statements() {
    let node = unfiltered().await;
    node.database().run("INSERT INTO products (sku, name, price) VALUES ('hot', 'H', 1)").await;
    get_all(node.service(), &vec!["hot".to_owned(); 10_000]).await;
    let statements = node.metric(STATEMENTS).await;
    assert!(statements <= 3.0, "{statements} statements");
    node.stop().await;
}

#[tokio::test]
async fn misses_on_one_shard_share_statements() {
    let node = unfiltered().await;
    node.database()
        .run("INSERT INTO products (sku, name, price) SELECT 'k' || n, 'x', 1 FROM generate_series(1, 9999) n")
        .await;
    let keys: Vec<(String,)> = sqlx::query_as("SELECT sku FROM products_017 LIMIT 120")
        .fetch_all(node.database().pool())
        .await
        .expect("keys of one shard");
    let keys: Vec<String> = keys.into_iter().map(|(key,)| key).collect();
    assert!(keys.len() > 100);
    get_all(node.service(), &keys).await;
    let statements = node.metric(STATEMENTS).await;
    assert!(statements <= 4.0, "{statements} statements for {} misses", keys.len());
    node.stop().await;
}

/// What a statement returns is in memory as a whole, so large records are read by few at a time.
#[tokio::test]
async fn misses_of_large_records_share_statements_of_a_few_mebibytes() {
    const RECORD_BYTES: usize = 500_000;
    let mut config = config();
    config.tiers.filter.enabled = false;
    let node = Node::start_with(Kind::Postgres, config).await;
    let large = "INSERT INTO products (sku, name, price) SELECT 'k' || n, repeat('x', 500000), 1 FROM generate_series(1, 6000) n \
                 WHERE satisfies_hash_partition('products'::regclass, 64, 17, 'k' || n)";
    node.database().run(large).await;
    let keys: Vec<String> = node.database().value("SELECT array_agg(sku) FROM products_017").await;
    assert!(keys.len() > 60);
    get_all(node.service(), &keys).await;
    let statements = node.metric(STATEMENTS).await;
    let each = keys.len() as f64 / statements * RECORD_BYTES as f64;
    assert!(each < 10e6, "{statements} statements for {} records", keys.len());
    node.stop().await;
}
