//! A replica takes the primary's place under a running node.

use std::collections::HashMap;

use freshet::store::postgres::{self, session::Place};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::sync::oneshot;

use super::{all_asked, database, node_with, node_without_cache, put};
use crate::harness::{Node, Proxy, Replicated, Socket, Watcher, cluster::shard, node::config, until, watcher::stamp};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_replica_is_written_to_and_watchers_are_told_that_history_may_be_lost() {
    let mut servers = Replicated::start(1, &[]).await;
    let node = node_with(&servers, 1, config()).await;
    let [former, promoted] = [servers.url(), servers.standby_url(0)].map(|url| Place::of(&url).expect("a url").server);
    assert_eq!(told_as_replicas(&node).await, [promoted.as_str()]);
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
    until("the metrics tell of the former primary as a replica", async || {
        told_as_replicas(&node).await == [former.as_str()]
    })
    .await;
    node.stop().await;
    servers.stop().await;
}

/// The servers of which the metrics say whether, as replicas, they are asked.
async fn told_as_replicas(node: &Node) -> Vec<String> {
    let metrics = reqwest::get(format!("http://{}/metrics", node.operations())).await.expect("an answer");
    let text = metrics.text().await.expect("text");
    let series = text.lines().filter(|line| line.starts_with("freshet_store_replica_asked{"));
    series
        .map(|line| line.split("server=\"").nth(1).expect("a server").split('"').next().expect("a name").to_owned())
        .collect()
}

/// Waits until a server has no sessions of the node but the one that looks at it.
async fn is_let_alone(server: &mut PgConnection) {
    let others = "SELECT coalesce(string_agg(application_name, ', '), '') FROM pg_stat_activity
                   WHERE application_name LIKE 'freshet %' AND application_name <> 'freshet probe'";
    until("the node has left the old primary", async || {
        sqlx::query_scalar::<_, String>(others).fetch_one(&mut *server).await.expect("names").is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_lives_on_beside_the_promoted_one_is_left() {
    let mut servers = Replicated::start(1, &[]).await;
    let node = node_without_cache(&servers, 1).await;
    let mut socket = Socket::open(&node).await;
    put(&mut socket, "a", 1).await;
    let probe = format!("http://{}/readyz", node.operations());
    assert!(reqwest::get(&probe).await.expect("an answer").status().is_success());
    let mut old = servers.connect_primary().await;
    servers.wait_for_replay(0).await;
    servers.promote(0).await;
    until("the new primary has the writes", async || {
        let written = socket.call("put", json!(["products", "a", {"name": "x", "price": 2}])).await;
        written.get("result").is_some_and(|written| stamp(written).0 > 1)
    })
    .await;
    is_let_alone(&mut old).await;
    sqlx::raw_sql("UPDATE products SET price = 999").execute(&mut old).await.expect("it takes writes still");
    for price in 3..30 {
        put(&mut socket, "a", price).await;
        let read = socket.ok("get", json!(["products", "a"])).await;
        assert_eq!(read["value"]["price"], json!(price), "{read}");
    }
    assert!(reqwest::get(&probe).await.expect("an answer").status().is_success());
    is_let_alone(&mut old).await;
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
    is_let_alone(&mut old).await;
    drop(old);
    servers.rebuild_standby(0).await;
    all_asked(&node, 1).await;
    node.stop().await;
    servers.stop().await;
}

/// Inserts s0, s1 and so on by SQL until that fails; returns how many were acknowledged.
async fn insert_by_sql(url: String) -> u32 {
    let mut session = PgConnection::connect(&url).await.expect("connect");
    for n in 0.. {
        let insert = sqlx::query("INSERT INTO products (sku, name, price) VALUES ($1, 'x', 1)").bind(format!("s{n}"));
        if insert.execute(&mut session).await.is_err() {
            return n;
        }
    }
    unreachable!("the server is killed");
}

/// Writes w0, w1 and so on over one connection until `enough`; returns those that were acknowledged.
async fn write_by_node(mut socket: Socket, mut enough: oneshot::Receiver<()>) -> Vec<u32> {
    let mut acknowledged = Vec::new();
    for n in 0.. {
        let put = socket.call("put", json!(["products", format!("w{n}"), {"name": "x", "price": n}])).await;
        acknowledged.extend(put.get("result").map(|_| n));
        if enough.try_recv().is_ok() {
            break;
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promotion_of_a_synchronous_replica_loses_no_acknowledged_write() {
    let mut servers = Replicated::start(1, &[]).await;
    servers.set_synchronous(true).await;
    let node = node_with(&servers, 1, config()).await;
    let (mut socket, writes) = (Socket::open(&node).await, Socket::open(&node).await);
    let (tell, told) = oneshot::channel();
    let (by_sql, by_node) = (tokio::spawn(insert_by_sql(servers.url())), tokio::spawn(write_by_node(writes, told)));
    let mut primary = servers.connect_primary().await;
    until("there are writes of both", async || {
        let count =
            "SELECT least(count(*) FILTER (WHERE sku LIKE 's%'), count(*) FILTER (WHERE sku LIKE 'w%')) FROM products";
        sqlx::query_scalar::<_, i64>(count).fetch_one(&mut primary).await.expect("a count") > 20
    })
    .await;
    servers.kill_primary().await;
    let by_sql = by_sql.await.expect("it ends with its session");
    servers.promote(0).await;
    until("the new primary takes writes", async || {
        socket.call("put", json!(["products", "later", {"name": "x", "price": 2}])).await.get("result").is_some()
    })
    .await;
    tell.send(()).expect("it writes on");
    let by_node = by_node.await.expect("it ends");
    let acknowledged: Vec<String> =
        (0..by_sql).map(|n| format!("s{n}")).chain(by_node.iter().map(|n| format!("w{n}"))).collect();
    let count = "SELECT count(*) FROM products WHERE sku = ANY($1)";
    let mut primary = servers.connect_primary().await;
    let found: i64 = sqlx::query_scalar(count).bind(&acknowledged).fetch_one(&mut primary).await.expect("a count");
    assert_eq!(found, acknowledged.len() as i64, "of {by_sql} by SQL and {} by the node", by_node.len());
    node.stop().await;
    servers.stop().await;
}

/// Leaves a database those of the 64 shards that `are_kept` says.
async fn keep_shards(connection: &mut PgConnection, are_kept: &str) {
    let drop = format!(
        "DO $$ DECLARE t record; BEGIN
           FOR t IN SELECT relation FROM feed.shard_table WHERE NOT (shard {are_kept}) LOOP
             EXECUTE format('DROP TABLE %s', t.relation);
           END LOOP;
           DELETE FROM feed.shard_state WHERE NOT (shard {are_kept});
         END $$"
    );
    sqlx::raw_sql(AssertSqlSafe(drop)).execute(connection).await.expect("drop partitions");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_asynchronous_promotion_loses_is_announced_to_its_watchers_and_to_no_others() {
    let mut servers = Replicated::start(1, &[]).await;
    let bystander = crate::harness::database().await;
    keep_shards(&mut servers.connect_primary().await, "< 32").await;
    keep_shards(&mut bystander.connect().await, ">= 32").await;
    let databases = vec![
        postgres::Config { name: "replicated".into(), ..database(&servers, 1) },
        postgres::Config { name: "bystander".into(), ..postgres::Config::at(bystander.url()) },
    ];
    let node = Node::over_all(databases, config()).await;
    all_asked(&node, 1).await;
    let (own, others): (Vec<_>, Vec<_>) = (0..80).map(|n| format!("k{n}")).partition(|key| shard(key) < 32);
    let mut socket = Socket::open(&node).await;
    for key in own.iter().chain(&others) {
        put(&mut socket, key, 1).await;
    }
    let (mut watcher, mut other) = (Watcher::of(&node, &own).await, Watcher::of(&node, &others).await);
    servers.wait_for_replay(0).await;
    // What is acknowledged from now on is on the primary alone.
    servers.stop_standby(0).await;
    let (lost, kept) = own.split_at(own.len() / 2);
    for key in lost {
        put(&mut socket, key, 2).await;
    }
    for _ in lost {
        assert_eq!(watcher.push().await["value"]["price"], json!(2));
    }
    servers.kill_primary().await;
    servers.start_standby(0).await;
    servers.promote(0).await;
    let mut announced = HashMap::new();
    for _ in &own {
        // The watcher checks that a reset is said where the generation has risen, and nowhere else.
        let push = watcher.push().await;
        assert_eq!(push["reset"], json!(true), "{push}");
        announced.insert(push["key"].as_str().expect("a key").to_owned(), push["value"]["price"].clone());
    }
    assert!(lost.iter().chain(kept).all(|key| announced[key] == json!(1)), "{announced:?}");
    until("the new primary takes writes", async || {
        socket.call("put", json!(["products", own[0], {"name": "x", "price": 3}])).await.get("result").is_some()
    })
    .await;
    assert_eq!(watcher.push().await["value"]["price"], json!(3));
    // The first push to the watcher of the other database is of a write to it.
    put(&mut socket, &others[0], 2).await;
    let push = other.push().await;
    assert_eq!((&push["value"]["price"], push.get("reset")), (&json!(2), None), "{push}");
    node.stop().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_changes_behind_one_address_takes_its_connections_along() {
    let mut servers = Replicated::start(1, &[]).await;
    let address = Proxy::to(&servers.url()).await;
    let node = Node::over(&address.url(), config()).await;
    let mut socket = Socket::open(&node).await;
    put(&mut socket, "a", 1).await;
    let mut old = servers.connect_primary().await;
    servers.wait_for_replay(0).await;
    servers.promote(0).await;
    // The sessions that stand go on to the old primary, which lives; new ones reach the promoted one.
    address.lead_to(&servers.url());
    // A failover proxy would end none of them; one is enough for the node to meet the other server.
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'freshet relay'";
    sqlx::raw_sql(end).execute(&mut old).await.expect("end the leader's session");
    until("the promoted one has the writes", async || {
        let written = socket.call("put", json!(["products", "a", {"name": "x", "price": 2}])).await;
        written.get("result").is_some_and(|written| stamp(written).0 > 1)
    })
    .await;
    is_let_alone(&mut old).await;
    node.stop().await;
    servers.stop().await;
}
