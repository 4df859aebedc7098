//! Databases that were set up without Freshet's binary: by sqlx's migrator, and one call of SQL each.

use std::path::Path;

use freshet::store::postgres;
use serde_json::{Value, json};
use sqlx::migrate::Migrator;

use crate::harness::{Node, Socket, TestDatabase, Watcher, command::Configuration, empty_database, node::config};

/// As an application would: its own run of the folder, and `shards` of eight.
async fn set_up(shards: &str) -> TestDatabase {
    let database = empty_database().await;
    let migrator = Migrator::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations")).await.expect("the folder");
    migrator.run(database.pool()).await.expect("run the migrations");
    database.run(include_str!("../../demo/migrations/0003_products.sql")).await;
    database.run(&format!("SELECT freshet.create_shards('products', 8, '{{{shards}}}')")).await;
    database
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_finds_nothing_wrong_and_a_node_serves() {
    let databases = [set_up("0,1,2,3").await, set_up("4,5,6,7").await, set_up("").await];
    let names = ["low", "high", "spare"];
    let configuration = Configuration::of(8)
        .with("low", &databases[0].url(), "0-3")
        .with("high", &databases[1].url(), "4-7")
        .with("spare", &databases[2].url(), "");
    let named = |(name, database): (&str, &TestDatabase)| postgres::Config {
        name: name.to_owned(),
        ..postgres::Config::at(database.url())
    };
    let node = Node::over_all(names.into_iter().zip(&databases).map(named).collect(), config()).await;
    let mut socket = Socket::open(&node).await;
    for n in 0..50 {
        socket.ok("put", json!(["products", format!("k{n}"), {"name": "x", "price": 1}])).await;
    }
    let rows: [i64; 3] = [
        databases[0].value("SELECT count(*) FROM products").await,
        databases[1].value("SELECT count(*) FROM products").await,
        databases[2].value("SELECT count(*) FROM products").await,
    ];
    assert!(rows[0] > 0 && rows[1] > 0 && rows[0] + rows[1] == 50, "{rows:?}");
    let mut watcher = Watcher::of(&node, &["k0"]).await;
    for database in &databases {
        database.run("UPDATE products SET price = 2 WHERE sku = 'k0'").await;
    }
    assert_eq!(watcher.push().await["value"]["price"], 2);

    let ran = configuration.run(&["doctor", "--deep", "--format", "json"]);
    ran.says(0, &[]);
    let reports: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let findings = reports.iter().flat_map(|report| report["findings"].as_array().expect("findings"));
    // The tests' server does not sync, and may be busy with the sessions of other tests.
    let wrong: Vec<_> = findings
        .filter(|finding| {
            finding["verdict"] != "ok" && finding["about"] != "server" && finding["check"] != "connections"
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    configuration.run(&["migrate", "--check"]).says(0, &["is up to date"]);
    configuration.run(&["shards"]).says(0, &["owned by no database: none   owned by two: none"]);
    node.stop().await;
}
