//! A replica takes the primary's place under a running node.

use serde_json::json;
use sqlx::{Connection as _, PgConnection};

use super::{all_asked, node_with, node_without_cache, put};
use crate::harness::{Replicated, Socket, Watcher, node::config, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_replica_is_written_to_and_watchers_are_told_that_history_may_be_lost() {
    let mut servers = Replicated::start(1, &[]).await;
    let node = node_with(&servers, 1, config()).await;
    let mut socket = Socket::open(&node).await;
    let before = put(&mut socket, "a", 1).await;
    let mut watcher = Watcher::of(&node, &["a"]).await;
    servers.wait_for_replay(0).await;
    servers.kill_primary().await;
    servers.promote(0).await;
    until("the new primary takes writes", async || {
        socket.call("put", json!(["products", "b", {"name": "x", "price": 2}])).await.get("result").is_some()
    })
    .await;
    // The watcher checks that the stamp rose, and that a new generation says `reset`.
    let reset = watcher.push().await;
    assert_eq!((&reset["reset"], &reset["value"]["price"]), (&json!(true), &json!(1)), "{reset}");
    let after = put(&mut socket, "a", 3).await;
    assert!(after["version"].as_u64() > before["version"].as_u64(), "{after} after {before}");
    assert_eq!(watcher.push().await["value"]["price"], json!(3));
    node.stop().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_primary_that_comes_back_is_asked_nothing_but_what_it_is() {
    let mut servers = Replicated::start(1, &[]).await;
    let node = node_without_cache(&servers, 1).await;
    let mut socket = Socket::open(&node).await;
    put(&mut socket, "a", 1).await;
    servers.wait_for_replay(0).await;
    servers.kill_primary().await;
    servers.promote(0).await;
    until("the new primary takes writes", async || {
        socket.call("put", json!(["products", "a", {"name": "x", "price": 2}])).await.get("result").is_some()
    })
    .await;
    // They have changed places: the standby is the old primary now.
    servers.start_standby(0).await;
    let mut old = PgConnection::connect(&servers.standby_url(0)).await.expect("connect");
    sqlx::raw_sql("UPDATE products SET price = 999").execute(&mut old).await.expect("it takes writes still");
    until("the node has looked at the old primary", async || {
        let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'freshet probe'";
        sqlx::query_scalar::<_, i64>(sessions).fetch_one(&mut old).await.expect("a count") > 0
    })
    .await;
    for price in 3..30 {
        put(&mut socket, "a", price).await;
        let read = socket.ok("get", json!(["products", "a"])).await;
        assert_eq!(read["value"]["price"], json!(price), "{read}");
    }
    let others = "SELECT coalesce(string_agg(application_name, ', '), '') FROM pg_stat_activity
                   WHERE application_name LIKE 'freshet %' AND application_name <> 'freshet probe'";
    let others: String = sqlx::query_scalar(others).fetch_one(&mut old).await.expect("names");
    assert_eq!(others, "");
    drop(old);
    servers.rebuild_standby(0).await;
    all_asked(&node, 1).await;
    node.stop().await;
    servers.stop().await;
}
