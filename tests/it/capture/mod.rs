//! Every way of writing is captured, none twice, none out of order.

mod bulk;
mod order;
mod rights;
mod transactions;
mod ways;

use std::collections::HashMap;

use crate::harness::{Poller, TestDatabase};

/// The events of one poll as `U key` and `D key`, sorted.
async fn polled(poller: &mut Poller) -> Vec<String> {
    let mut events: Vec<_> = poller.poll().await.iter().map(|e| format!("{} {}", e.op, e.key)).collect();
    events.sort();
    events
}

/// Runs `sql` and returns the events it left.
async fn captured(database: &TestDatabase, poller: &mut Poller, sql: &str) -> Vec<String> {
    database.run(sql).await;
    polled(poller).await
}

/// The versions that stand in products.
async fn product_versions(database: &TestDatabase) -> HashMap<String, i64> {
    let rows: Vec<(String, i64)> =
        sqlx::query_as("SELECT sku, freshet_version FROM products").fetch_all(database.pool()).await.expect("rows");
    rows.into_iter().collect()
}

/// Panics unless the events tell exactly what stands in products, each once and in commit order.
async fn assert_faithful(database: &TestDatabase, poller: &Poller) {
    poller.assert_each_once();
    assert_eq!(poller.inversions(&product_versions(database).await), 0);
}
