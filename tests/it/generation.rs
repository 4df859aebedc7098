//! A server that was promoted or restored starts a new generation; a leader that stopped is replaced.

use serde_json::json;

use crate::harness::{Kind, Node, Socket, node::config, until, watcher::stamp};

#[tokio::test]
async fn a_server_of_another_identity_starts_a_new_generation() {
    let first = Node::start(Kind::Postgres).await;
    let mut socket = Socket::open(&first).await;
    let value = json!({"name": "one", "price": 1});
    let before = socket.ok("put", json!({"collection": "products", "key": "A", "value": value})).await;
    assert!(before["stamp"].as_str().is_some_and(|stamp| stamp.starts_with("1.")), "{before}");
    let mut first = first;
    let database = first.database.take().expect("a database");
    first.stop().await;

    let mark: i64 = database.value("SELECT max(n) FROM feed.mark").await;
    // As after a restore from a backup of another server.
    database.run("UPDATE feed.meta SET system_identifier = 42").await;
    let second = Node::over(&database.url(), config()).await;
    let mut socket = Socket::open(&second).await;
    let after = socket.ok("get", json!({"collection": "products", "key": "A"})).await;
    // A count would be the same after a second restore of the same backup.
    assert!(stamp(&after).0 > 1_700_000_000, "{after}");
    let put = json!({"collection": "products", "key": "A", "value": {"name": "two", "price": 2}});
    let written = socket.ok("put", put).await;
    assert!(written["version"].as_u64() > before["version"].as_u64().map(|v| v + (1 << 32)), "{written}");
    let first: i64 = database.value("SELECT min(n) FROM feed.mark").await;
    assert!(first >= mark + (1 << 32), "mark {first} after {mark}: a replica may show a mark of that number already");
    second.stop().await;
}

#[tokio::test]
async fn a_generation_raised_under_a_running_node_resets_its_watchers() {
    let node = Node::start(Kind::Postgres).await;
    let mut socket = Socket::open(&node).await;
    let put = json!({"collection": "products", "key": "A", "value": {"name": "one", "price": 1}});
    socket.ok("put", put).await;
    socket.ok("subscribe", json!({"collection": "products", "key": "A"})).await;
    let snapshot = socket.push().await;
    node.database()
        .run("UPDATE feed.shard_state SET gen = gen + 1; SELECT setval('feed.vseq', nextval('feed.vseq') + 4294967296)")
        .await;
    let reset = socket.push().await;
    assert_eq!((&reset["reset"], &reset["value"]), (&json!(true), &snapshot["value"]), "{reset}");
    assert!(reset["stamp"].as_str().is_some_and(|stamp| stamp.starts_with("2.")), "{reset}");
    node.stop().await;
}

#[tokio::test]
async fn a_leader_that_stopped_marking_loses_its_session() {
    let node = Node::start(Kind::Postgres).await;
    let database = node.database();
    let mut stopped = database.connect().await;
    // The node's own lead ends, and another session takes the lock and does nothing with it.
    until("another session holds the lock", async || {
        let free = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted \
                    AND pid <> pg_backend_pid() AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        drop(sqlx::raw_sql(free).execute(&mut stopped).await);
        let lock = sqlx::query_scalar("SELECT pg_try_advisory_lock(x'66726573686574'::bigint)");
        lock.fetch_one(&mut stopped).await.unwrap_or(false)
    })
    .await;
    let newest: i64 = database.value("SELECT coalesce(max(n), 0) FROM feed.mark").await;
    until("the node leads and marks again", async || {
        database.value::<i64>("SELECT coalesce(max(n), 0) FROM feed.mark").await > newest + 2
    })
    .await;
    node.stop().await;
}
