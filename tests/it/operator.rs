//! The operator's subcommands, as the real binary on real databases.

use std::{fs, path::Path};

use serde_json::Value;
use sqlx::{Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;

use crate::harness::{
    self, TestDatabase, blank_database,
    command::{Configuration, Ran, freshet, freshet_with, on},
    database, empty_database,
};

/// A copy of the release's migrations, with more of its own.
fn folder_with(own: &[(&str, &str)]) -> TempDir {
    let folder = harness::folder();
    for file in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations")).expect("migrations") {
        let file = file.expect("a file");
        fs::copy(file.path(), folder.path().join(file.file_name())).expect("copy");
    }
    for (name, text) in own {
        fs::write(folder.path().join(name), text).expect("write");
    }
    folder
}

/// The same database, asked as another role.
fn as_role(database: &TestDatabase, role: &str, arguments: &[&str]) -> Ran {
    let url = database.url().replacen("postgres@", &format!("{role}@"), 1);
    freshet(&[arguments, &["--database-url", &url]].concat())
}

#[tokio::test]
async fn migrate_sets_an_empty_database_up_and_a_second_run_changes_nothing() {
    let database = empty_database().await;
    let planned = on(&database, &["migrate", "--demo", "--check"]);
    planned
        .says(1, &["pending   0001 feed", "0008 shard table", "to place  shards 0-63 of 64", "run `freshet migrate`"]);
    assert!(!database.value::<bool>("SELECT to_regclass('_sqlx_migrations') IS NOT NULL").await, "it wrote");
    on(&database, &["migrate", "--demo"]).says(0, &["applied  0001 feed", "created  64 partitions of products"]);
    assert_eq!(database.value::<i64>("SELECT count(*) FROM feed.shard_table WHERE collection = 'products'").await, 64);
    let again = on(&database, &["migrate", "--format", "json"]).json();
    assert_eq!((&again["applied"], &again["created"][0]["partitions"]), (&Value::Array(vec![]), &Value::from(0)));
    on(&database, &["migrate", "--check"]).says(0, &["is up to date: 8 migrations, 64 shards of products"]);
}

#[tokio::test]
async fn the_demos_migration_may_have_run_and_be_missing_from_the_release_and_from_a_folder() {
    let database = blank_database().await;
    assert!(database.value::<bool>("SELECT EXISTS (SELECT FROM _sqlx_migrations WHERE version = 3)").await);
    let folder = folder_with(&[]);
    let path = folder.path().display().to_string();
    on(&database, &["migrate", "--folder", &path]).says(0, &["64 partitions of products"]);
    for arguments in [&["migrate"][..], &["migrate", "--demo"], &["migrate", "--check"]] {
        on(&database, arguments).says(0, &["is up to date"]);
    }
    on(&database, &["doctor"]).says(0, &["8 migrations, that of this release"]);
    let alone = empty_database().await;
    on(&alone, &["migrate"]).says(0, &["applied  0004 health", "7 migrations applied"]);
    assert!(
        !alone.value::<bool>("SELECT to_regclass('products') IS NOT NULL").await,
        "the release made the demo's table"
    );
    on(&alone, &["migrate", "--demo"]).says(0, &["applied  0003 products", "64 partitions of products"]);
}

#[tokio::test]
async fn a_plain_table_is_served_and_examined_like_any_other() {
    let database = empty_database().await;
    let folder = folder_with(&[(
        "1001_prices.sql",
        "CREATE TABLE prices (id bigint PRIMARY KEY, amount numeric NOT NULL); SELECT freshet.track('prices');",
    )]);
    let path = folder.path().display().to_string();
    let configuration = Configuration::of(1).with("shop", &database.url(), "");
    configuration.run(&["migrate", "--folder", &path]).says(0, &["applied  1001 prices"]);
    configuration.run(&["migrate"]).says(0, &["is up to date"]);
    let ran = configuration.run(&["doctor"]);
    ran.says(
        0,
        &["of your own: 1001 prices", "1 logical shard, as configured", "all present and enabled", "0 failures"],
    );
}

#[tokio::test]
async fn a_schema_that_is_behind_is_one_finding_and_the_others_are_told() {
    let database = database().await;
    database.run("DELETE FROM _sqlx_migrations WHERE version = 8; ALTER SEQUENCE feed.vseq CACHE 20").await;
    let ran = on(&database, &["doctor"]);
    ran.says(
        1,
        &["FAIL  schema", "pending are 0008 shard table", "FAIL  sequence", "may do what a node does", "2 failures"],
    );
}

/// Its `search_path` has a schema of the role's name first, and the migrations make one that is called so.
#[tokio::test]
async fn a_role_that_is_called_as_a_schema_of_the_migrations_runs_them() {
    let database = empty_database().await;
    database.run("CREATE ROLE freshet SUPERUSER LOGIN").await;
    as_role(&database, "freshet", &["migrate"]).says(0, &["applied  0001 feed"]);
    as_role(&database, "freshet", &["migrate", "--check"]).says(0, &["is up to date"]);
    assert!(database.value::<bool>("SELECT to_regclass('freshet._sqlx_migrations') IS NULL").await);
    as_role(&database, "freshet", &["doctor"]).says(0, &["0 failures"]);
    database.run("REASSIGN OWNED BY freshet TO postgres; DROP OWNED BY freshet; DROP ROLE freshet").await;
}

#[tokio::test]
async fn migrate_check_names_the_partitions_that_are_missing() {
    let database = database().await;
    database.run("DROP TABLE products_003, products_010, products_011").await;
    on(&database, &["migrate", "--check"]).says(1, &["missing  products: shards 3, 10-11 of 64"]);
    on(&database, &["shards"]).says(1, &["4-9", "missing", "owned by no database: products 3, 10-11"]);
    on(&database, &["migrate"]).says(0, &["created  3 partitions of products"]);
    on(&database, &["shards"]).says(0, &["0-63", "owned by no database: none"]);
}

#[tokio::test]
async fn what_migrate_cannot_go_on_from_is_refused_and_says_what_to_do() {
    let database = blank_database().await;
    let shards = "SELECT freshet.create_shards('products', 32, '{0}')";
    database.run(shards).await;
    on(&database, &["migrate"]).says(1, &["place 64 shards: this database has 32", "set shards = 32"]);
    let row = "INSERT INTO _sqlx_migrations VALUES (0999, 'later', now(), true, '', 0)";
    database.run(row).await;
    on(&database, &["migrate"]).says(1, &["not at hand: 0999 later", "--folder"]);
    database.run("UPDATE _sqlx_migrations SET success = false WHERE version = 999").await;
    on(&database, &["migrate"]).says(1, &["0999 was begun here and not finished", "DELETE FROM _sqlx_migrations"]);
    database.run("DELETE FROM _sqlx_migrations WHERE version = 999").await;
    database.run("UPDATE _sqlx_migrations SET checksum = '' WHERE version = 4").await;
    on(&database, &["migrate"]).says(1, &["0004 health ran here with another text", "as it was when it ran"]);
    database.run("UPDATE feed.meta SET schema_version = 2").await;
    on(&database, &["doctor"]).says(1, &["FAIL  schema", "newer than this release"]);
}

#[tokio::test]
async fn a_role_without_rights_is_named() {
    let database = empty_database().await;
    database.run("DROP ROLE IF EXISTS operator_guest; CREATE ROLE operator_guest LOGIN").await;
    let ran = as_role(&database, "operator_guest", &["migrate"]);
    ran.says(1, &["as operator_guest: permission denied", "as the database's owner"]);
    database.run("DROP OWNED BY operator_guest; DROP ROLE operator_guest").await;
}

#[tokio::test]
async fn a_folder_may_add_migrations_of_its_own() {
    let database = empty_database().await;
    let offers = "CREATE TABLE offers (id bigint PRIMARY KEY) PARTITION BY HASH (id); SELECT freshet.track('offers');";
    let folder = folder_with(&[("0100_offers.sql", offers)]);
    let path = folder.path().display().to_string();
    on(&database, &["migrate", "--folder", &path]).says(0, &["applied  0100 offers", "64 partitions of offers"]);
    on(&database, &["migrate"]).says(1, &["not at hand: 0100 offers"]);
    on(&database, &["doctor"]).says(0, &["of your own: 0100 offers", "no node is running, and none ever was"]);
    fs::write(folder.path().join("0101_wrong.sql"), "CREATE TABLE a (b int);\nSELECT freshet.track('a');")
        .expect("write");
    on(&database, &["migrate", "--folder", &path])
        .says(1, &["run migration 0101", "it has no primary key", "Add a primary"]);
    assert!(!database.value::<bool>("SELECT to_regclass('a') IS NOT NULL").await, "half of it was kept");
    on(&database, &["migrate", "--folder", "/nowhere"]).says(1, &["read the migrations in /nowhere"]);
}

#[tokio::test]
async fn shard_of_agrees_with_where_the_rows_lie() {
    let database = database().await;
    let insert = "INSERT INTO products (sku, name, price) SELECT md5(i::text), 'n', 1 FROM generate_series(1, 1000) i";
    database.run(insert).await;
    let rows: Vec<(String, String)> = sqlx::query_as("SELECT sku, tableoid::regclass::text FROM products")
        .fetch_all(database.pool())
        .await
        .expect("rows");
    let keys: Vec<&str> = rows.iter().map(|(key, _)| key.as_str()).collect();
    let offline = ["--key-type", "text", "--shards", "64", "--format", "json"];
    let command = [&["shard-of", "products"], &keys[..]].concat();
    for ran in
        [on(&database, &[&command[..], &["--format", "json"]].concat()), freshet(&[&command[..], &offline].concat())]
    {
        ran.says(0, &[]);
        let lines: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(lines.len(), rows.len());
        for ((key, partition), line) in rows.iter().zip(lines) {
            assert_eq!((line["key"].as_str(), line["partition"].as_str()), (Some(&**key), Some(&**partition)));
        }
    }
}

#[tokio::test]
async fn shard_of_names_the_keys_that_are_none() {
    let database = database().await;
    on(&database, &["shard-of", "readings", "7", "x", "-5"]).says(2, &["readings_", "not a key of readings:", "x: "]);
    on(&database, &["shard-of", "reading", "7"]).says(2, &["no collection reading", "parcels, products, readings"]);
}

#[tokio::test]
async fn doctor_finds_what_is_broken() {
    let database = database().await;
    on(&database, &["doctor", "--deep"]).says(0, &["0 failures", "fsync is off", "no node is running"]);
    database.run("ALTER TABLE products_009 DISABLE TRIGGER freshet_inserted").await;
    let ran = on(&database, &["doctor"]);
    ran.says(1, &["FAIL  triggers", "freshet_inserted on public.products_009 is disabled", "-> SELECT freshet.track"]);
    database.run("ALTER TABLE products_009 ENABLE TRIGGER freshet_inserted").await;
    let name = database.value::<String>("SELECT current_database()::text").await;
    database.run(&format!("ALTER DATABASE {name} SET session_replication_role = replica")).await;
    on(&database, &["doctor"]).says(1, &["FAIL  capture", "FAIL  replication role", "2 failures to mend"]);
    database.run(&format!("ALTER DATABASE {name} RESET ALL")).await;
    database.run(&format!("ALTER DATABASE {name} SET synchronous_commit = off")).await;
    on(&database, &["doctor"]).says(0, &["warn  commits", &format!("database {name}")]);
}

#[tokio::test]
async fn doctor_tells_programs_as_well() {
    let database = database().await;
    database.run("ALTER SEQUENCE feed.vseq CACHE 20").await;
    let report = on(&database, &["doctor", "--format", "json"]).json();
    let findings = report["findings"].as_array().expect("findings");
    let found = findings.iter().find(|finding| finding["check"] == "sequence").expect("the sequence");
    assert_eq!((&found["verdict"], &found["about"]), (&Value::from("fail"), &Value::from("database")));
    assert!(found["hint"].as_str().is_some_and(|hint| hint.contains("CACHE 1")), "{found}");
}

#[tokio::test]
async fn a_private_server_is_found_by_its_folder() {
    let (server, folder) = harness::durable_server(&[]).await;
    let data = folder.path().join("data").display().to_string();
    freshet(&["doctor", "--data-dir", &data]).says(1, &["the server has no such database"]);
    let mut connection = PgConnection::connect(&server.url("postgres")).await.expect("connect");
    connection.execute("CREATE DATABASE freshet").await.expect("create");
    connection.close().await.expect("close");
    freshet(&["migrate", "--demo", "--data-dir", &data]).says(0, &["freshet on /", "64 partitions"]);
    freshet(&["shards", "--data-dir", &data, "--all"]).says(0, &["\n  63 "]);
    server.stop().await;
    freshet(&["shards", "--data-dir", &data]).says(2, &["no private PostgreSQL runs in", "--database-url"]);
}

#[test]
fn an_unreachable_database_is_named_without_its_password() {
    let ran = freshet(&["doctor", "--database-url", "postgres://u:secret@127.0.0.1:1/shop"]);
    ran.says(69, &["failed to connect to shop on 127.0.0.1:1: Connection refused", "is the server running"]);
    assert!(!ran.err.contains("secret"), "{}", ran.err);
    freshet(&["doctor", "--database-url", "shop"]).says(2, &["postgres://user:password@host:5432/database"]);
}

#[test]
fn the_command_line_wins_over_the_configuration_and_that_over_the_environment() {
    let folder = harness::folder();
    let path = folder.path().join("freshet.toml").display().to_string();
    fs::write(&path, "[[database]]\nurl = \"postgres://127.0.0.1:1/configured\"\n").expect("write");
    let set = [("DATABASE_URL", "postgres://127.0.0.1:1/environment")];
    freshet_with(&set, &["shards"]).says(69, &["connect to environment on"]);
    freshet_with(&set, &["shards", "--config", &path]).says(69, &["connect to configured on"]);
    let named = ["shards", "--config", &path, "--database-url", "postgres://127.0.0.1:1/named"];
    freshet_with(&set, &named).says(69, &["connect to named on"]);
}

#[test]
fn config_check_names_file_and_line() {
    let folder = harness::folder();
    let path = folder.path().join("freshet.toml").display().to_string();
    for (text, code, parts) in [
        ("shards = 64\n[tiers.local]\ncapicity = \"1MiB\"\n", 2, &["freshet.toml", "line 3", "capicity"][..]),
        ("\nshards = 0\n", 2, &["freshet.toml, line 2: shards"]),
        ("[[database]]\nurl = \"postgres://h/d\"\nshards = 1\n", 2, &["line 3", "at the top of the file", "\"0-7\""]),
        ("[[database]]\nurl = \"shop\"\n", 2, &["line 2: database.url", "postgres://"]),
        ("[[database]]\nurl = \"postgres://u:hush@h/d\"\n", 0, &["ok: "]),
    ] {
        fs::write(&path, text).expect("write");
        freshet(&["config", "check", "--config", &path]).says(code, parts);
    }
    let printed = freshet(&["config", "print", "--config", &path]);
    printed.says(0, &["shards = 64", "postgres://u:***@h/d"]);
    assert!(!printed.out.contains("hush"));
    fs::write(&path, printed.out).expect("write");
    freshet(&["config", "check", "--config", &path]).says(0, &["ok: "]);
}
