//! Each kind of statement, through the parent and through a partition.

use super::{assert_faithful, captured, polled, product_versions};
use crate::harness::{self, Poller};

const TWO: &str = "INSERT INTO products (sku, name, price) VALUES ('a', 'A', 1), ('b', 'B', 2)";

#[tokio::test]
async fn an_insert_of_many_rows_logs_each_once() {
    let database = harness::database().await;
    let mut poller = Poller::start(&database).await;
    assert_eq!(captured(&database, &mut poller, TWO).await, ["U a", "U b"]);
    assert_eq!(polled(&mut poller).await, [""; 0]);
    assert_faithful(&database, &poller).await;
}

#[tokio::test]
async fn an_upsert_logs_inserted_and_updated_rows_once_each() {
    let database = harness::database().await;
    let mut poller = Poller::start(&database).await;
    database.run(TWO).await;
    poller.poll().await;
    let upsert = "INSERT INTO products (sku, name, price) VALUES ('b', 'B', 3), ('c', 'C', 4) \
                  ON CONFLICT (sku) DO UPDATE SET price = excluded.price";
    assert_eq!(captured(&database, &mut poller, upsert).await, ["U b", "U c"]);
    assert_eq!(captured(&database, &mut poller, upsert).await, [""; 0]);
    let nothing = "INSERT INTO products (sku, name, price) VALUES ('b', 'B', 5) ON CONFLICT DO NOTHING";
    assert_eq!(captured(&database, &mut poller, nothing).await, [""; 0]);
    assert_faithful(&database, &poller).await;
}

#[tokio::test]
async fn merge_logs_each_of_its_actions_once() {
    let database = harness::database().await;
    let mut poller = Poller::start(&database).await;
    database.run(TWO).await;
    poller.poll().await;
    let merge = "MERGE INTO products p USING (VALUES ('a', 0), ('b', 7), ('c', 8)) v (sku, price) ON p.sku = v.sku \
                 WHEN MATCHED AND v.price = 0 THEN DELETE \
                 WHEN MATCHED THEN UPDATE SET price = v.price \
                 WHEN NOT MATCHED THEN INSERT (sku, name, price) VALUES (v.sku, v.sku, v.price)";
    assert_eq!(captured(&database, &mut poller, merge).await, ["D a", "U b", "U c"]);
    assert_faithful(&database, &poller).await;
}

#[tokio::test]
async fn copy_is_captured_through_parent_and_partition() {
    let database = harness::database().await;
    let mut poller = Poller::start(&database).await;
    let partition: String = {
        database.run("INSERT INTO products (sku, name, price) VALUES ('probe', 'n', 1)").await;
        database.value("SELECT tableoid::regclass::text FROM products").await
    };
    database.run("DELETE FROM products").await;
    poller.poll().await;
    let mut connection = database.connect().await;
    for (table, rows) in [("products", "a\tA\t1\nb\tB\t2\n"), (partition.as_str(), "probe\tP\t3\n")] {
        let statement = format!("COPY {table} (sku, name, price) FROM STDIN");
        let mut copy = connection.copy_in_raw(&statement).await.expect("copy");
        copy.send(rows.as_bytes()).await.expect("send");
        copy.finish().await.expect("finish");
    }
    assert_eq!(polled(&mut poller).await, ["U a", "U b", "U probe"]);
    assert_faithful(&database, &poller).await;
}

#[tokio::test]
async fn an_update_is_captured_once_through_parent_and_partition() {
    let database = harness::database().await;
    let mut poller = Poller::start(&database).await;
    database.run(TWO).await;
    poller.poll().await;
    let partition: String = database.value("SELECT tableoid::regclass::text FROM products WHERE sku = 'a'").await;
    assert_eq!(captured(&database, &mut poller, "UPDATE products SET price = price + 1").await, ["U a", "U b"]);
    for (sql, event) in [
        (format!("UPDATE {partition} SET price = 9 WHERE sku = 'a'"), "U a"),
        (format!("DELETE FROM {partition} WHERE sku = 'a'"), "D a"),
        (format!("INSERT INTO {partition} (sku, name, price) VALUES ('a', 'A', 1)"), "U a"),
    ] {
        assert_eq!(captured(&database, &mut poller, &sql).await, [event]);
    }
    assert_faithful(&database, &poller).await;
}

#[tokio::test]
async fn a_statement_with_several_writes_logs_each() {
    let database = harness::database().await;
    let mut poller = Poller::start(&database).await;
    database.run(TWO).await;
    poller.poll().await;
    let renamed = "WITH gone AS (DELETE FROM products WHERE sku = 'a' RETURNING *) \
                   INSERT INTO products (sku, name, price) SELECT 'z', name, price FROM gone";
    assert_eq!(captured(&database, &mut poller, renamed).await, ["D a", "U z"]);
    assert_faithful(&database, &poller).await;
}

#[tokio::test]
async fn every_key_type_is_logged_in_its_canonical_text() {
    let database = harness::database().await;
    let mut poller = Poller::start(&database).await;
    let readings = "INSERT INTO readings (id, label) VALUES (-9223372036854775808, 'x'), (7, 'y')";
    assert_eq!(captured(&database, &mut poller, readings).await, ["U -9223372036854775808", "U 7"]);
    let parcel = "INSERT INTO parcels (id) VALUES ('{00112233-4455-6677-8899-AABBCCDDEEFF}')";
    assert_eq!(captured(&database, &mut poller, parcel).await, ["U 00112233-4455-6677-8899-aabbccddeeff"]);
    assert_eq!(captured(&database, &mut poller, "DELETE FROM readings WHERE id = 7").await, ["D 7"]);
    poller.assert_each_once();
}

#[tokio::test]
async fn an_update_that_changes_nothing_keeps_its_version_and_wakes_nobody() {
    let database = harness::database().await;
    let mut poller = Poller::start(&database).await;
    database.run(TWO).await;
    database.run("UPDATE products SET attributes = '{\"a\": [1, 2]}'").await;
    database.run("INSERT INTO readings (id, body, amount) VALUES (1, '{\"b\":1}', 1.0)").await;
    poller.poll().await;
    let before = product_versions(&database).await;
    for sql in [
        "UPDATE products SET price = price",
        "UPDATE products SET attributes = '{\"a\": [1, 2]}', name = name || ''",
        "UPDATE products SET freshet_version = 1",
        "UPDATE products SET freshet_version = NULL",
        "UPDATE readings SET body = '{\"b\":1}', amount = 1.0",
    ] {
        assert_eq!(captured(&database, &mut poller, sql).await, [""; 0], "{sql}");
    }
    assert_eq!(product_versions(&database).await, before);
    // What the record's text shows has changed here, though the numbers are equal.
    assert_eq!(captured(&database, &mut poller, "UPDATE readings SET amount = 1.00").await, ["U 1"]);
    assert_eq!(captured(&database, &mut poller, "UPDATE readings SET body = '{\"b\": 1}'").await, ["U 1"]);
}

#[tokio::test]
async fn version_zero_asks_for_a_new_version_of_an_unchanged_row() {
    let database = harness::database().await;
    let mut poller = Poller::start(&database).await;
    database.run(TWO).await;
    poller.poll().await;
    let again = "UPDATE products SET freshet_version = 0 WHERE sku = 'a'";
    assert_eq!(captured(&database, &mut poller, again).await, ["U a"]);
    assert_faithful(&database, &poller).await;
}

#[tokio::test]
async fn a_generated_column_does_not_make_an_unchanged_row_look_changed() {
    let database = harness::blank_database().await;
    database
        .run(
            "CREATE TABLE boxes (id integer PRIMARY KEY, side integer, area integer GENERATED ALWAYS AS (side * side) STORED); \
             SELECT freshet.track('boxes'); INSERT INTO boxes VALUES (1, 3)",
        )
        .await;
    let mut poller = Poller::start(&database).await;
    assert_eq!(captured(&database, &mut poller, "UPDATE boxes SET side = 3").await, [""; 0]);
    assert_eq!(captured(&database, &mut poller, "UPDATE boxes SET side = 4").await, ["U 1"]);
    assert_eq!(database.value::<i32>("SELECT area FROM boxes").await, 16);
}

#[tokio::test]
async fn truncate_is_refused_on_parent_and_partition() {
    let database = harness::database().await;
    for table in ["products", "products_000", "products, readings"] {
        let (message, hint) = database.refusal(&format!("TRUNCATE {table}")).await;
        assert!(message.contains("TRUNCATE of public.products"), "{message}");
        assert_eq!(hint, "Use DELETE.");
    }
}

#[tokio::test]
async fn a_changed_key_is_refused() {
    let database = harness::database().await;
    database.run(TWO).await;
    let (message, hint) = database.refusal("UPDATE products SET sku = 'c' WHERE sku = 'a'").await;
    assert_eq!(message, "the key of a record in products can not change");
    assert_eq!(hint, "Delete the record and insert it under its new key.");
}
