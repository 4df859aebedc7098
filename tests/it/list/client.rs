//! The Rust client goes through a collection: `Client::records`.

use std::time::Duration;

use freshet_client::{Client, ListOptions, Options, Record};
use futures_util::{FutureExt as _, TryStreamExt as _};
use sqlx::{Connection as _, Executor as _};

use super::all_places_taken;
use crate::harness::{
    Node, both, database,
    node::{LIMIT, config},
    until, within,
};

both! {
    async fn records_are_those_of_all_pages_and_of_a_prefix(kind) {
        let node = Node::start(kind).await;
        let client = Client::connect(&node.url(), Options::new()).await.expect("connect");
        let mut all = Vec::new();
        for n in 0..57 {
            let key = format!("k{n:02}");
            client.put("products", &key, r#"{"name":"x","price":1}"#, freshet_client::WriteOptions::new()).await.expect("put");
            all.push(key);
        }
        for (prefix, limit) in [("", 10), ("", 57), ("", 1_000), ("k1", 3), ("k1", 10), ("l", 5)] {
            let records = client.records("products", ListOptions::new().prefix(prefix).limit(limit));
            let found: Vec<Record> = records.try_collect().await.expect("listed");
            let expected: Vec<_> = all.iter().filter(|key| key.starts_with(prefix)).collect();
            assert_eq!(found.iter().map(|record| &record.key).collect::<Vec<_>>(), expected, "{prefix:?} by {limit}");
            assert!(found.iter().all(|record| record.value.is_some() && record.version > 0));
        }
        // The cursor of a page leads to the rest.
        let page = client.list("products", ListOptions::new().limit(50)).await.expect("a page");
        let rest = ListOptions::new().cursor(page.cursor.expect("there are more"));
        let rest: Vec<Record> = client.records("products", rest).try_collect().await.expect("listed");
        assert_eq!(rest.iter().map(|record| &record.key).collect::<Vec<_>>(), all[50..].iter().collect::<Vec<_>>());
        client.close().await;
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_wait_while_the_node_has_no_place_for_another_list() {
    let database = database().await;
    database
        .run("INSERT INTO products (sku, name, price) SELECT 'k' || n, 'x', 1 FROM generate_series(1, 250) n")
        .await;
    let mut config = config();
    config.tiers.filter.enabled = false;
    config.service.deadline = LIMIT;
    let node = Node::over(&database.url(), config).await;
    let mut session = database.connect().await;
    let mut locking = session.begin().await.expect("begin");
    locking.execute("LOCK TABLE products_007 IN ACCESS EXCLUSIVE MODE").await.expect("lock");
    let sockets = all_places_taken(&node).await;
    let client = Client::connect(&node.url(), Options::new().request_timeout(LIMIT)).await.expect("connect");
    let refused = client.list("products", ListOptions::new()).await.expect_err("overloaded");
    assert_eq!(refused.refusal().and_then(|refusal| refusal.retry_after), Some(Duration::from_millis(500)));
    let mut records = client.records("products", ListOptions::new());
    assert!(records.next().now_or_never().is_none());
    let refused = refusals(&node);
    until("it was refused as well", async || {
        assert!(records.next().now_or_never().is_none(), "nothing can have been listed");
        refusals(&node) > refused
    })
    .await;
    locking.rollback().await.expect("let go");
    let found: Vec<_> = within("it is listed", records.try_collect::<Vec<_>>()).await.expect("listed");
    assert_eq!(found.len(), 250);
    client.close().await;
    drop(sockets);
    node.stop().await;
}

fn refusals(node: &Node) -> u64 {
    node.metrics().by_label("freshet_session_errors_total").get("overloaded").copied().unwrap_or(0)
}
