//! Many writes of one key in one transaction, each judged by itself.

use freshet::service::Conditions;
use futures_util::future::join_all;

use super::{is_refused, node_with_products, parse};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stock_of_fifty_is_sold_fifty_times_by_sixty_four_writers() {
    for shards in [1, 64] {
        let (node, database) = node_with_products(shards, 8).await;
        database.run("UPDATE products SET stock = 50 WHERE sku = 'k3'").await;
        let sell = || async {
            let id = node.service().record("products", "k3").expect("a key");
            node.service().patch(id, parse("{}", &[("stock", -1)]), Conditions::default()).await
        };
        let sold = join_all((0..64).map(|_| async { [sell().await, sell().await] })).await.into_iter().flatten();
        let sold: Vec<_> = sold.collect();
        let mut versions: Vec<u64> = sold.iter().flatten().map(|written| written.stamp.version).collect();
        assert_eq!(versions.len(), 50, "{shards} shards");
        assert_eq!(sold.iter().filter(|sold| is_refused(sold)).count(), 78);
        versions.sort_unstable();
        versions.dedup();
        assert_eq!(versions.len(), 50, "each sale has a version of its own");
        // Each was answered with the stock that it left.
        let mut left: Vec<(u64, i64)> = sold
            .iter()
            .flatten()
            .map(|written| {
                let (value, _) = written.installed.as_ref().expect("the state");
                let value: serde_json::Value = serde_json::from_slice(value.as_ref().expect("a record")).expect("JSON");
                (written.stamp.version, value["stock"].as_i64().expect("a number"))
            })
            .collect();
        left.sort_unstable();
        assert_eq!(left.iter().map(|(_, stock)| *stock).collect::<Vec<_>>(), (0..50).rev().collect::<Vec<i64>>());
        assert_eq!(database.value::<i32>("SELECT stock FROM products WHERE sku = 'k3'").await, 0);
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_writes_that_ask_for_one_stamp_one_succeeds() {
    let (node, database) = node_with_products(64, 8).await;
    for round in 0..5 {
        let version: i64 = database.value("SELECT freshet_version FROM products WHERE sku = 'k3'").await;
        let write = |n: i64| {
            let service = node.service();
            async move {
                let id = service.record("products", "k3").expect("a key");
                let stamp = freshet::record::Stamp::new(1, version.unsigned_abs());
                let conditions = Conditions { if_stamp: Some(stamp), ..Conditions::default() };
                service.patch(id, parse(&format!(r#"{{"stock": {}}}"#, 100 * round + n), &[]), conditions).await
            }
        };
        let written = join_all((0..50).map(write)).await;
        assert_eq!(written.iter().filter(|written| written.is_ok()).count(), 1);
    }
    node.stop().await;
}
