//! What was acknowledged outlives the database's sudden end.

use freshet::{
    service::Conditions,
    store::postgres::{
        migrate,
        server::{Options, PrivateServer},
    },
};
use sqlx::{Connection as _, PgConnection};
use tokio::task::JoinSet;

use crate::harness::{Node, durable_server, node::config, processes};

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_write_is_lost_when_the_server_is_killed() {
    let (server, folder) = durable_server(&[]).await;
    let data_dir = folder.path().join("data");
    migrate::create_database(&server.url("postgres"), "shop").await.expect("create");
    let url = server.url("shop");
    migrate::migrate_only(&url, 64, migrate::Source::Demo).await.expect("migrate");
    let node = Node::over(&url, config()).await;
    let mut writes = JoinSet::new();
    for n in 0..2_000 {
        let service = node.service().clone();
        writes.spawn(async move {
            let key = format!("k{n}");
            let id = service.record("products", &key).expect("a key");
            let written = service.put(id, &format!(r#"{{"name": "n", "price": {n}}}"#), Conditions::default()).await;
            written.map(|written| (key, written.stamp.version))
        });
    }
    let (mut acknowledged, mut killed, mut failed) = (Vec::new(), false, 0);
    while let Some(written) = writes.join_next().await {
        match written.expect("joins") {
            Ok(written) => acknowledged.push(written),
            Err(_) => failed += 1,
        }
        // The others are under way; whatever they are told, they are told the truth.
        if acknowledged.len() == 500 && !killed {
            processes::kill(&data_dir).expect("kill");
            killed = true;
        }
    }
    assert!(acknowledged.len() >= 500, "{} were acknowledged, {failed} failed", acknowledged.len());
    println!("{} acknowledged, {failed} failed", acknowledged.len());
    server.stop().await;
    let server = PrivateServer::start(Options::new(&data_dir)).await.expect("recover");
    let mut connection = PgConnection::connect(&server.url("shop")).await.expect("connect");
    let rows: Vec<(String, i64)> =
        sqlx::query_as("SELECT sku, freshet_version FROM products").fetch_all(&mut connection).await.expect("rows");
    let rows: std::collections::HashMap<String, i64> = rows.into_iter().collect();
    for (key, version) in acknowledged {
        assert_eq!(rows.get(&key), Some(&version.cast_signed()), "{key} was acknowledged");
    }
    node.stop().await;
    server.stop().await;
}
