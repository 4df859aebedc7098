//! A group takes few round trips, whatever shards it touches.

use futures_util::future::join_all;

use super::{patch, sharded};
use crate::harness::{Node, Proxy, node::config};

#[tokio::test]
async fn a_group_of_all_shards_takes_as_many_round_trips_as_one_of_one() {
    for shards in [1, 64] {
        let database = sharded(shards).await;
        let insert =
            "INSERT INTO products (sku, name, price) SELECT 'k' || n, 'made', 1 FROM generate_series(0, 399) n";
        database.run(insert).await;
        let proxy = Proxy::to(&database.url()).await;
        let node = Node::over(&proxy.url(), config()).await;
        let round = |stock: u32| {
            let service = node.service();
            join_all((0..400).map(move |n| async move {
                patch(service, &format!("k{n}"), &format!(r#"{{"stock": {stock}}}"#)).await.expect("a write")
            }))
        };
        // Statements are prepared, on every connection that is used.
        round(1).await;
        round(2).await;
        let (messages, groups) = (proxy.messages("writes"), transactions(&database).await);
        round(3).await;
        round(4).await;
        let messages = proxy.messages("writes") - messages;
        let groups = u64::try_from(transactions(&database).await - groups).expect("a number");
        assert!(groups > 0 && messages <= 3 * groups, "{shards} shards: {messages} messages for {groups} groups");
        node.stop().await;
    }
}

async fn transactions(database: &crate::harness::TestDatabase) -> i64 {
    database.value("SELECT count(DISTINCT xid) FROM feed.outbox").await
}
