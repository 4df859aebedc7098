//! Partitions for the logical shards that a database owns.

use crate::harness::{self, TestDatabase};

async fn create(database: &TestDatabase, modulus: i32, shards: &str) -> i32 {
    database.value(&format!("SELECT freshet.create_shards('products', {modulus}, '{shards}')")).await
}

#[tokio::test]
async fn shards_are_created_once_and_counted() {
    let database = harness::blank_database().await;
    assert_eq!(create(&database, 64, "{0,17,63}").await, 3);
    assert_eq!(create(&database, 64, "{0,17,18,18}").await, 1);
    let names = "SELECT string_agg(table_name, ' ' ORDER BY shard) FROM feed.shard_table";
    assert_eq!(database.value::<String>(names).await, "products_000 products_017 products_018 products_063");
    let states =
        "SELECT string_agg(format('%s %s %s %s', shard, epoch, gen, state), ', ' ORDER BY shard) FROM feed.shard_state";
    assert_eq!(database.value::<String>(states).await, "0 1 1 active, 17 1 1 active, 18 1 1 active, 63 1 1 active");
}

#[tokio::test]
async fn names_grow_with_the_modulus() {
    let database = harness::blank_database().await;
    assert_eq!(create(&database, 4096, "{5,4095}").await, 2);
    let names = "SELECT string_agg(table_name, ' ' ORDER BY shard) FROM feed.shard_table";
    assert_eq!(database.value::<String>(names).await, "products_0005 products_4095");
}

#[tokio::test]
async fn what_is_out_of_range_or_of_another_modulus_is_refused() {
    let database = harness::blank_database().await;
    assert_eq!(create(&database, 64, "{0}").await, 1);
    let cases = [
        ("'products', 32, '{0}'", "this database has 64 logical shards, not 32"),
        ("'products', 64, '{1,64,-1}'", "shards 64, -1 are not among the 64 of products"),
        ("'products', 64, '{NULL}'", "shards NULL are not among the 64 of products"),
        ("'products', 64, NULL", "shards NULL are not among the 64 of products"),
        ("'products', 0, '{}'", "shards NULL are not among the 0 of products"),
        ("'nothing', 64, '{0}'", "there is no collection nothing"),
    ];
    for (arguments, expected) in cases {
        let (message, hint) = database.refusal(&format!("SELECT freshet.create_shards({arguments})")).await;
        assert_eq!(message, expected);
        assert!(!hint.is_empty(), "{arguments}");
    }
    assert_eq!(database.value::<i64>("SELECT count(*) FROM feed.shard_table").await, 1);
}

#[tokio::test]
async fn a_shard_that_moved_away_is_not_created_again() {
    let database = harness::blank_database().await;
    database.run("INSERT INTO feed.shard_state (shard, epoch, state) VALUES (3, 2, 'moved')").await;
    let (message, _) = database.refusal("SELECT freshet.create_shards('products', 64, '{3}')").await;
    assert_eq!(message, "shard 3 is moved in this database");
}

#[tokio::test]
async fn the_shard_of_a_plain_table_stands_already() {
    let database = harness::blank_database().await;
    database.run("CREATE TABLE t (id integer PRIMARY KEY); SELECT freshet.track('t')").await;
    assert_eq!(database.value::<i32>("SELECT freshet.create_shards('t', 1, '{0}')").await, 0);
}

#[tokio::test]
async fn partitions_take_their_parents_owner_and_grants() {
    let database = harness::blank_database().await;
    let role = database.value::<String>("SELECT 'keeper_' || current_database()").await;
    database
        .run(&format!("CREATE ROLE {role}; ALTER TABLE products OWNER TO {role}; GRANT SELECT ON products TO PUBLIC"))
        .await;
    create(&database, 2, "{0,1}").await;
    let sound = format!(
        "SELECT count(*) FROM pg_class WHERE relname LIKE 'products_00_' AND relowner = '{role}'::regrole \
            AND has_table_privilege('freshet_feed', oid, 'SELECT') AND has_column_privilege('freshet_feed', oid, 'freshet_version', 'UPDATE')"
    );
    assert_eq!(database.value::<i64>(&sound).await, 2);
    database.run("BEGIN ISOLATION LEVEL REPEATABLE READ; INSERT INTO products (sku, name, price) VALUES ('a', 'A', 1); COMMIT").await;
    database.run(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}")).await;
}

#[tokio::test]
async fn a_role_without_the_right_to_create_roles_can_migrate() {
    let database = harness::blank_database().await;
    let name = database.value::<String>("SELECT current_database()::text").await;
    database
        .run(&format!(
            "CREATE ROLE lowly_{name} LOGIN; DROP SCHEMA feed, freshet CASCADE; DROP TABLE products, _sqlx_migrations; \
                       GRANT CREATE ON DATABASE {name} TO lowly_{name}; GRANT CREATE ON SCHEMA public TO lowly_{name}"
        ))
        .await;
    let mut session = database.connect().await;
    sqlx::Executor::execute(&mut session, sqlx::AssertSqlSafe(format!("SET ROLE lowly_{name}")))
        .await
        .expect("set role");
    harness::migrate(&mut session).await;
    for sql in [
        "SELECT freshet.create_shards('products', 2, '{0,1}')",
        "INSERT INTO products (sku, name, price) VALUES ('a', 'A', 1)",
        "UPDATE products SET price = 2",
        "DELETE FROM products",
    ] {
        sqlx::Executor::execute(&mut session, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    assert_eq!(database.value::<i64>("SELECT count(*) FROM feed.outbox").await, 3);
    database.run(&format!("DROP OWNED BY lowly_{name} CASCADE; DROP ROLE lowly_{name}")).await;
}
