//! A Redis Cluster: chains on several masters, one of which is lost.

use freshet::shared;
use serde_json::json;

use super::{node, price, without_local};
use crate::harness::{RedisCluster, Socket, Watcher, database, node::SOON, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_is_lost_costs_the_records_of_its_slices_their_cache_and_nothing_else() {
    let (database, mut cluster) = (database().await, RedisCluster::start(3).await);
    database
        .run("INSERT INTO products (sku, name, price) SELECT 'k' || n, 'x', n FROM generate_series(1, 200) n")
        .await;
    // At the default limit: what blocks must not be cut off by it.
    let mut config = without_local("");
    config.redis = Some(shared::Config { urls: cluster.urls(), cluster: true, ..shared::Config::at("") });
    let node = node(&database, config).await;
    let mut watcher = Watcher::of(&node, &["k1"]).await;
    let used = |outcome| node.metrics().where_label("freshet_shared_lookups_total", "outcome", outcome);
    until("the node keeps its slices", async || node.metrics().sum("freshet_changes_kept_slices") == Some(16)).await;
    let mut socket = Socket::open(&node).await;
    let before = used("hit");
    until("slices answer", async || {
        for n in 1..=200 {
            assert_eq!(price(&mut socket, &format!("k{n}")).await, json!(n));
        }
        used("hit") - before > 200
    })
    .await;
    until("the node is told of changes", async || node.metrics().sum("freshet_changes_told") == Some(1)).await;

    cluster.kill(0).await;
    let begun = std::time::Instant::now();
    for n in 1..=200 {
        assert_eq!(price(&mut socket, &format!("k{n}")).await, json!(n));
    }
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    for _ in 0..10 {
        database.run("UPDATE products SET price = price + 1 WHERE sku = 'k1'").await;
        watcher.until_true_to(&database).await;
    }
    let before = used("hit");
    for n in 2..=200 {
        assert_eq!(price(&mut socket, &format!("k{n}")).await, json!(n));
    }
    assert!(used("hit") > before, "the other masters answer");
    node.stop().await;
    cluster.stop().await;
}
