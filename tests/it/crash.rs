//! What was acknowledged outlives the database's sudden end.

use std::{fs, path::Path};

use freshet::{
    service::Conditions,
    store::postgres::{
        migrate,
        server::{Options, PrivateServer},
    },
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sqlx::{Connection as _, PgConnection};
use tokio::task::JoinSet;

use crate::harness::{Node, durable_server, node::config};

/// Ends the postmaster on `data_dir` and all its children, none of them given a word to say.
fn kill_server(data_dir: &Path) {
    let lock = fs::read_to_string(data_dir.join("postmaster.pid")).expect("a lock file");
    let postmaster: i32 = lock.lines().next().expect("a pid").trim().parse().expect("a number");
    // Stopped first, so that it starts nothing new and cleans nothing up.
    kill(Pid::from_raw(postmaster), Signal::SIGSTOP).expect("stop");
    let processes = fs::read_dir("/proc").expect("processes").flatten();
    for pid in processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()) {
        let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = status.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse::<i32>().ok());
        if parent == Some(postmaster) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    kill(Pid::from_raw(postmaster), Signal::SIGKILL).expect("kill");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_write_is_lost_when_the_server_is_killed() {
    let (server, folder) = durable_server(&[]).await;
    let data_dir = folder.path().join("data");
    migrate::create_database(&server.url("postgres"), "shop").await.expect("create");
    let url = server.url("shop");
    migrate::migrate_only(&url, 64).await.expect("migrate");
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
            kill_server(&data_dir);
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
