//! The order of keys is the same everywhere: texts by their bytes, integers by value, uuids by their bytes.

use serde_json::json;

use super::{keys, page, whole};
use crate::{
    databases::{named, pair},
    harness::{Node, Socket, blank_database, both, database, node::config, until},
};

/// In order: each pair is one that some language or some encoding orders otherwise.
const TEXTS: [&str; 12] = ["\t", "%", "10", "9", "B", "Z", "\\", "_", "a", "a-b", "\u{ffee}", "\u{1f600}"];

both! {
    async fn records_come_in_the_order_of_their_keys_with_value_and_stamp(kind) {
        let node = Node::start(kind).await;
        let mut socket = Socket::open(&node).await;
        let parcels = ["00000000-0000-4000-8000-00000000000a", "7f000000-0000-4000-8000-000000000000", "80000000-0000-4000-8000-000000000000", "f0000000-0000-4000-8000-000000000000"];
        let readings = ["-9223372036854775808", "-10", "-9", "0", "9", "10", "9223372036854775807"];
        for (collection, sorted) in [("products", &TEXTS[..]), ("parcels", &parcels), ("readings", &readings)] {
            let mut stamps = Vec::new();
            for key in sorted.iter().rev() {
                let value = if collection == "products" { json!({"name": "x", "price": 1}) } else { json!({}) };
                stamps.insert(0, socket.ok("put", json!([collection, key, value])).await["stamp"].clone());
            }
            for limit in [1, 3, 1000] {
                let records = whole(&mut socket, collection, None, limit).await;
                assert_eq!(keys(&records), sorted, "{collection} in pages of {limit}");
                for (record, stamp) in records.iter().zip(&stamps) {
                    let read = socket.ok("get", json!([collection, record["key"]])).await;
                    assert_eq!((record, &record["stamp"]), (&read, stamp));
                }
            }
        }
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_several_databases_are_merged_and_deleted_ones_left_out() {
    let pair = pair().await;
    let configs = vec![named("low", pair[0].url()), named("high", pair[1].url())];
    let node = Node::over_all(configs, config()).await;
    let mut socket = Socket::open(&node).await;
    for key in (0..200).map(|n| format!("k{n}")) {
        socket.ok("put", json!(["products", key, {"name": "x", "price": 1}])).await;
    }
    for key in (0..200).step_by(3).map(|n| format!("k{n}")) {
        socket.ok("delete", json!(["products", key])).await;
    }
    let mut expected: Vec<String> = (0..200).filter(|n| n % 3 != 0).map(|n| format!("k{n}")).collect();
    expected.sort_unstable();
    for limit in [1, 7, 100] {
        assert_eq!(keys(&whole(&mut socket, "products", None, limit).await), expected);
    }
    for database in &pair {
        assert!(database.value::<i64>("SELECT count(*) FROM products").await > 30, "both have some");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_column_that_a_language_orders_is_listed_by_bytes_with_an_index_for_that_and_without() {
    let database = blank_database().await;
    let sql = "CREATE TABLE words (word text COLLATE \"en-x-icu\" PRIMARY KEY); SELECT freshet.track('words')";
    if database.try_run(sql).await.is_err() {
        return; // A server without ICU has no such collations.
    }
    database.run("INSERT INTO words SELECT unnest(ARRAY['a', 'B', '_', 'é', 'Z', 'b', '-a'])").await;
    for index in ["SELECT 1", "CREATE INDEX ON words (word COLLATE \"C\")"] {
        database.run(index).await;
        let node = Node::over(&database.url(), config()).await;
        let mut socket = Socket::open(&node).await;
        assert_eq!(keys(&whole(&mut socket, "words", None, 2).await), ["-a", "B", "Z", "_", "a", "b", "é"]);
        assert_eq!(keys(&whole(&mut socket, "words", Some("b"), 2).await), ["b"]);
        node.stop().await;
    }
}

/// Rows that scans of products have read, of tables and of indexes.
const READ: &str = "SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint
                      FROM pg_stat_user_tables WHERE relname LIKE 'products%'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_reads_about_as_many_rows_as_it_has_also_by_a_plan_of_the_empty_table() {
    let database = database().await;
    let mut config = config();
    config.tiers.filter.enabled = false;
    let node = Node::over(&database.url(), config).await;
    let mut socket = Socket::open(&node).await;
    // The first plan is that of the empty table.
    assert_eq!(page(&mut socket, json!(["products", "k1"])).await, (vec![], None));
    database
        .run("INSERT INTO products (sku, name, price) SELECT 'k' || n, 'x', 1 FROM generate_series(1, 20000) n")
        .await;
    let before: i64 = database.value(READ).await;
    let (records, cursor) = page(&mut socket, json!(["products", "k1"])).await;
    assert_eq!((records.len(), keys(&records)[..3].to_vec()), (100, vec!["k1", "k10", "k100"]));
    let (next, _) = page(&mut socket, json!({"collection": "products", "prefix": "k1", "cursor": cursor})).await;
    assert_eq!(next.len(), 100);
    let mut read = 0;
    until("the server has counted what was read", async || {
        read = database.value::<i64>(READ).await - before;
        read >= 200
    })
    .await;
    assert!(read < 1_000, "{read} rows were read for 200 of 20,000");
    node.stop().await;
}
