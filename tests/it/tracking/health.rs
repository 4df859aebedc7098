//! feed.health names what capture no longer rests on.

use crate::harness;

/// What breaks, the check that says so, and what its detail says.
const CASES: &[(&str, &str, &str)] = &[
    ("ALTER SEQUENCE feed.vseq CACHE 20", "sequence", "cache 20, cycle f"),
    ("ALTER SEQUENCE feed.vseq CYCLE", "sequence", "cache 1, cycle t"),
    (
        "ALTER TABLE products DISABLE TRIGGER freshet_updated",
        "products: triggers",
        "freshet_updated on public.products is disabled",
    ),
    (
        "ALTER TABLE products_009 DISABLE TRIGGER zz_freshet_stamp",
        "products: triggers",
        "zz_freshet_stamp on public.products_009 is disabled",
    ),
    (
        "ALTER TABLE products_009 ENABLE REPLICA TRIGGER freshet_inserted",
        "products: triggers",
        "freshet_inserted on public.products_009 is enabled for replica only",
    ),
    (
        "ALTER TABLE products ENABLE ALWAYS TRIGGER freshet_deleted",
        "products: triggers",
        "freshet_deleted on public.products is enabled always",
    ),
    (
        "DROP TRIGGER freshet_deleted ON products_009",
        "products: triggers",
        "freshet_deleted on public.products_009 is missing",
    ),
    (
        "CREATE OR REPLACE TRIGGER freshet_truncated BEFORE TRUNCATE ON products EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "products: triggers",
        "freshet_truncated on public.products is calling another function",
    ),
    (
        "ALTER TABLE products DETACH PARTITION products_009; CREATE TABLE late PARTITION OF products FOR VALUES WITH (MODULUS 64, REMAINDER 9)",
        "products: triggers",
        "freshet_inserted on public.late is missing",
    ),
    ("ALTER TABLE products DROP CONSTRAINT freshet_version_positive", "products: version column", "has no CHECK (> 0)"),
    ("ALTER TABLE products ALTER COLUMN freshet_version DROP NOT NULL", "products: version column", "may be null"),
    ("ALTER TABLE products ALTER COLUMN freshet_version SET DEFAULT 5", "products: version column", "has a default"),
    (
        "ALTER TABLE products DETACH PARTITION products_009",
        "products: shards",
        "shard 9 is active but has no partition",
    ),
    (
        "DELETE FROM feed.shard_state WHERE shard = 9",
        "products: shards",
        "public.products_009 has no row in feed.shard_state",
    ),
    ("UPDATE feed.meta SET modulus = 32", "products: shards", "public.products_000 has modulus 64, the database 32"),
    ("DROP TABLE products", "products: table", "the table was dropped"),
    (
        "CREATE UNIQUE INDEX named ON products_009 (name)",
        "products: table",
        "public.named is UNIQUE without the primary key",
    ),
    ("ALTER TABLE products ENABLE ROW LEVEL SECURITY", "products: table", "it has row level security"),
    (
        "ALTER DATABASE %db% SET session_replication_role = replica",
        "replication role",
        "sets session_replication_role = replica",
    ),
    (
        "INSERT INTO products (sku, name, price) VALUES ('a', 'A', 1); SELECT setval('feed.vseq', 1); \
         INSERT INTO readings (id) VALUES (1); DELETE FROM readings; UPDATE products SET freshet_version = 0; SELECT setval('feed.vseq', 1)",
        "products: rows",
        "sequence at 1",
    ),
];

#[tokio::test]
async fn every_fault_is_named_with_what_to_do() {
    let database = harness::database().await;
    let name: String = database.value("SELECT current_database()::text").await;
    let mut session = database.connect().await;
    for (breakage, check, detail) in CASES {
        let breakage = breakage.replace("%db%", &name);
        let sql = format!("BEGIN; {breakage}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&mut session)
            .await
            .unwrap_or_else(|e| panic!("{breakage}: {e}"));
        let faults: Vec<(String, String, Option<String>)> =
            sqlx::query_as("SELECT \"check\", detail, hint FROM feed.health(true) WHERE NOT ok")
                .fetch_all(&mut session)
                .await
                .unwrap_or_else(|e| panic!("{breakage}: {e}"));
        sqlx::raw_sql("ROLLBACK").execute(&mut session).await.expect("rollback");
        // Sequences do not roll back.
        sqlx::raw_sql("SELECT setval('feed.vseq', 1000)").execute(&mut session).await.expect("setval");
        let found = faults.iter().find(|fault| fault.0 == *check);
        let found = found.unwrap_or_else(|| panic!("{breakage}: {faults:?}"));
        assert!(found.1.contains(detail), "{breakage}: {found:?}");
        assert!(found.2.is_some(), "{breakage}: no hint");
    }
}

#[tokio::test]
async fn a_migrated_database_is_healthy_with_and_without_shards() {
    for database in [harness::database().await, harness::blank_database().await] {
        let rows: Vec<(String, bool, String, Option<String>)> =
            sqlx::query_as("SELECT * FROM feed.health(true)").fetch_all(database.pool()).await.expect("health");
        assert!(rows.len() >= 8, "{rows:?}");
        for row in rows {
            assert!(row.1 && row.3.is_none(), "{row:?}");
        }
    }
}

#[tokio::test]
async fn a_subscription_into_a_tracked_table_is_reported() {
    let (source, target) = (harness::database().await, harness::database().await);
    source.run("CREATE PUBLICATION out FOR TABLE products_003").await;
    let name: String = target.value("SELECT current_database()::text").await;
    source
        .value::<String>(&format!(
            "SELECT slot_name::text FROM pg_create_logical_replication_slot('{name}', 'pgoutput')"
        ))
        .await;
    let database: String = source.value("SELECT current_database()::text").await;
    let socket: String = source.value("SELECT split_part(current_setting('unix_socket_directories'), ',', 1)").await;
    // Not enabled: the catalogue alone is the evidence, and a worker would hold the databases.
    target
        .run(&format!(
            "CREATE SUBSCRIPTION sub_{name} CONNECTION 'host={socket} dbname={database} user=postgres' PUBLICATION out \
             WITH (create_slot = false, slot_name = '{name}', enabled = false, copy_data = false)"
        ))
        .await;
    let detail: String =
        target.value("SELECT detail FROM feed.health() WHERE \"check\" = 'subscriptions' AND NOT ok").await;
    assert_eq!(detail, "logical replication writes into public.products_003");
    target.run(&format!("ALTER SUBSCRIPTION sub_{name} SET (slot_name = NONE)")).await;
    target.run(&format!("DROP SUBSCRIPTION sub_{name}")).await;
    source.run(&format!("SELECT pg_drop_replication_slot('{name}')")).await;
}
