//! Where nothing is wrong nothing is found, and the tables are as before.

use super::{RUN, rows, verify};
use crate::harness::{Kind, Node, TestDatabase, blank_database, database, node::config};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_healthy_nodes_over_one_database_are_clean_and_their_table_is_as_before() {
    let database = database().await;
    database.run("INSERT INTO products (sku, name, price) VALUES ('theirs', 'n', 1)").await;
    let (a, b) = (Node::over(&database.url(), config()).await, Node::over(&database.url(), config()).await);
    let (first, second, url) = (a.url(), b.url(), database.url());
    let ran = verify(&[&RUN[..], &[&first, &second, "--database-url", &url]].concat()).await;
    ran.is_clean();
    let figures = &ran.report["figures"];
    assert!(figures["by_sql"].as_u64() > Some(20) && figures["pushes"].as_u64() > Some(100), "{figures}");
    assert_eq!(rows(&database).await, 1);
    assert_eq!(database.value::<i32>("SELECT stock FROM products WHERE sku = 'theirs'").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healthy_node_over_two_databases_is_clean() {
    let mut databases = Vec::new();
    for shards in ["0,1,2,3", "4,5,6,7"] {
        let database = blank_database().await;
        database.run(&format!("SELECT freshet.create_shards('products', 8, ARRAY[{shards}])")).await;
        databases.push(database);
    }
    let named = |(number, database): (usize, &TestDatabase)| freshet::store::postgres::Config {
        name: format!("shop-{number}"),
        ..freshet::store::postgres::Config::at(database.url())
    };
    let node = Node::over_all(databases.iter().enumerate().map(named).collect(), config()).await;
    let folder = crate::harness::folder();
    let path = folder.path().join("freshet.toml");
    let entry = |(number, database): (usize, &TestDatabase)| {
        let shards = ["0-3", "4-7"][number];
        format!("[[database]]\nname = \"shop-{number}\"\nurl = \"{}\"\nshards = \"{shards}\"\n", database.url())
    };
    let entries: String = databases.iter().enumerate().map(entry).collect();
    std::fs::write(&path, format!("shards = 8\n{entries}")).expect("write");
    let (url, path) = (node.url(), path.display().to_string());
    let ran = verify(&[&RUN[..], &[&url, "--config", &path]].concat()).await;
    ran.is_clean();
    assert_eq!(ran.report["databases"].as_array().map(Vec::len), Some(2));
    assert!(ran.report["figures"]["by_sql"].as_u64() > Some(20), "{}", ran.report["figures"]);
    for database in &databases {
        assert_eq!(rows(database).await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_every_kind_and_fields_of_several_are_used() {
    let (numbers, texts) = (r#"{"label":"made","amount":%n}"#, r#"{"body":{"n":%n},"note":"no. %n"}"#);
    for kind in [Kind::Memory, Kind::Postgres] {
        let node = Node::start(kind).await;
        let readings = ["--collection", "readings", "--record", numbers, "--field", "amount"];
        let parcels = ["--collection", "parcels", "--record", texts, "--field", "note"];
        for collection in [readings, parcels] {
            let database = node.database.as_ref().map(TestDatabase::url);
            let sql = database.as_ref().map_or(vec!["--no-sql"], |url| vec!["--database-url", url]);
            verify(&[&RUN[..], &[&node.url()], &collection, &sql].concat()).await.is_clean();
        }
    }
}
