//! Tables of every fit kind become collections.

use crate::harness::{self, Poller};

#[tokio::test]
async fn a_plain_table_with_rows_is_tracked_in_place() {
    let database = harness::blank_database().await;
    database
        .run(
            "CREATE TABLE stock (id integer PRIMARY KEY, n integer); \
             INSERT INTO stock SELECT i, 0 FROM generate_series(1, 1000) i; SELECT freshet.track('stock')",
        )
        .await;
    let distinct = "SELECT count(DISTINCT freshet_version) FROM stock WHERE freshet_version > 0";
    assert_eq!(database.value::<i64>(distinct).await, 1000);
    let shard = "SELECT (collection, shard, modulus, relation)::text FROM feed.shard_table";
    assert_eq!(database.value::<String>(shard).await, "(stock,0,1,stock)");
    assert_eq!(database.value::<String>("SELECT state FROM feed.shard_state WHERE shard = 0").await, "active");
    let mut poller = Poller::start(&database).await;
    database.run("UPDATE stock SET n = 1 WHERE id IN (1, 2)").await;
    assert_eq!(poller.poll().await.len(), 2);
    assert_healthy(&database).await;
}

#[tokio::test]
async fn a_partitioned_table_with_rows_is_tracked_in_place() {
    let database = harness::blank_database().await;
    database
        .run(
            "CREATE TABLE t (id uuid PRIMARY KEY) PARTITION BY HASH (id); \
             CREATE TABLE t_a PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 0); \
             CREATE TABLE t_b PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 1); \
             INSERT INTO t SELECT gen_random_uuid() FROM generate_series(1, 100); SELECT freshet.track('t')",
        )
        .await;
    assert_eq!(database.value::<i64>("SELECT count(DISTINCT freshet_version) FROM t").await, 100);
    assert_eq!(database.value::<i32>("SELECT modulus FROM feed.meta").await, 2);
    let mut poller = Poller::start(&database).await;
    database.run("DELETE FROM t_a; DELETE FROM t").await;
    assert_eq!(poller.poll().await.len(), 100);
    poller.assert_each_once();
}

#[tokio::test]
async fn names_that_need_quoting_are_tracked() {
    let database = harness::blank_database().await;
    database
        .run(
            r#"CREATE SCHEMA "My Shop"; CREATE TABLE "My Shop"."Bob's 100%" ("Key Col" text PRIMARY KEY, v text) PARTITION BY HASH ("Key Col");
               SELECT freshet.track('"My Shop"."Bob''s 100%"', 'Ver sion');
               SELECT freshet.create_shards('Bob''s 100%', 2, '{0,1}')"#,
        )
        .await;
    let mut poller = Poller::start(&database).await;
    database.run(r#"INSERT INTO "My Shop"."Bob's 100%" VALUES ('a', 'b')"#).await;
    database.run(r#"BEGIN ISOLATION LEVEL SERIALIZABLE; INSERT INTO "My Shop"."Bob's 100%_000" SELECT 'k' || i FROM generate_series(1, 9) i WHERE satisfies_hash_partition('"My Shop"."Bob''s 100%"'::regclass, 2, 0, 'k' || i); COMMIT"#).await;
    assert!(poller.poll().await.len() > 1);
    let refused = r#"UPDATE "My Shop"."Bob's 100%" SET "Key Col" = 'z' WHERE "Key Col" = 'a'"#;
    assert_eq!(database.refusal(refused).await.0, "the key of a record in Bob's 100% can not change");
    assert_healthy(&database).await;
}

#[tokio::test]
async fn a_second_call_arms_again_and_keeps_every_version() {
    let database = harness::database().await;
    database.run("INSERT INTO products (sku, name, price) VALUES ('a', 'A', 1)").await;
    let before: i64 = database.value("SELECT freshet_version FROM products").await;
    database
        .run(
            "ALTER TABLE products DISABLE TRIGGER zz_freshet_stamp; DROP TRIGGER freshet_deleted ON products_003; \
             ALTER TABLE products_004 ENABLE ALWAYS TRIGGER freshet_inserted; SELECT freshet.track('products')",
        )
        .await;
    assert_healthy(&database).await;
    assert_eq!(database.value::<i64>("SELECT freshet_version FROM products").await, before);
}

#[tokio::test]
async fn a_second_call_with_another_version_column_is_refused() {
    let database = harness::database().await;
    let (message, hint) = database.refusal("SELECT freshet.track('products', 'other')").await;
    assert_eq!(message, "public.products can not be tracked: it is tracked with the version column freshet_version");
    assert_eq!(hint, "Keep that column.");
}

#[tokio::test]
async fn a_dropped_table_may_be_made_and_tracked_again() {
    let database = harness::database().await;
    database
        .run(
            "DROP TABLE readings; CREATE TABLE readings (id integer PRIMARY KEY) PARTITION BY HASH (id); \
             SELECT freshet.track('readings'); \
             SELECT freshet.create_shards('readings', 64, ARRAY(SELECT generate_series(0, 63)))",
        )
        .await;
    assert_healthy(&database).await;
}

#[tokio::test]
async fn version_zero_is_never_a_rows_version() {
    let database = harness::database().await;
    database
        .run("INSERT INTO products (sku, name, price, freshet_version) VALUES ('a', 'A', 1, 0), ('b', 'B', 1, -7)")
        .await;
    assert_eq!(database.value::<i64>("SELECT count(*) FROM products WHERE freshet_version > 0").await, 2);
    database.run("ALTER TABLE products DISABLE TRIGGER zz_freshet_stamp").await;
    for version in ["0", "NULL", "DEFAULT"] {
        let unstamped =
            format!("INSERT INTO products (sku, name, price, freshet_version) VALUES ('c', 'C', 1, {version})");
        assert!(database.try_run(&unstamped).await.is_err(), "{version}");
    }
}

async fn assert_healthy(database: &harness::TestDatabase) {
    let faults =
        "SELECT coalesce(string_agg(\"check\" || ': ' || detail, E'\\n'), '') FROM feed.health(true) WHERE NOT ok";
    assert_eq!(database.value::<String>(faults).await, "");
}
