//! The operator's commands, whose configuration names the servers of a database in any order.

use freshet::store::postgres::session::Place;
use serde_json::json;
use tokio::task::spawn_blocking;

use super::{all_used, node_without_cache};
use crate::harness::{
    Replicated, Socket,
    command::{Configuration, Ran, freshet},
    database, until,
};

/// A configuration that names a standby first and the primary among the replicas.
fn turned(servers: &Replicated) -> Configuration {
    configured(&servers.standby_url(0), &[&servers.url()])
}

fn configured(url: &str, replicas: &[&str]) -> Configuration {
    Configuration::of(64).with("shop", url, "").and(&format!("replicas = {replicas:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_find_the_primary_wherever_it_stands_and_say_why_there_is_none() {
    let mut servers = Replicated::start(1, &[]).await;
    let configuration = turned(&servers);
    configuration.run(&["migrate"]).says(0, &["up to date"]);
    configuration.run(&["shards"]).says(0, &["0-63"]);
    configuration.run(&["doctor"]).says(0, &["takes writes"]);
    configuration.run(&["shard-of", "products", "85123A"]).says(0, &["products_0"]);
    let named = |url: String| configuration.run(&["migrate", "--check", "--database-url", &url]);
    named(servers.standby_url(0)).says(0, &["up to date"]);
    servers.kill_primary().await;
    let standby = "it is a standby, on timeline 1";
    configuration.run(&["migrate"]).says(69, &["find the primary: ", standby, "No such file", "promote a replica"]);
    configuration.run(&["shards"]).says(69, &["find the primary: ", standby]);
    configuration.run(&["doctor"]).says(69, &["find the primary: ", standby]);
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrate_goes_to_the_promoted_server_and_refuses_the_old_one() {
    let mut servers = Replicated::start(2, &[]).await;
    servers.promote(0).await;
    let (promoted, old, standby) = (servers.url(), servers.standby_url(0), servers.standby_url(1));
    let index = "SELECT to_regclass('products_000') IS NOT NULL";
    let (mut on_promoted, mut on_old) = (servers.connect_primary().await, servers.connect_standby(0).await);
    for session in [&mut on_promoted, &mut on_old] {
        sqlx::query("DROP TABLE products_000").execute(session).await.expect("drop");
    }
    configured(&old, &[&promoted]).run(&["migrate"]).says(0, &["created  1 partition of products"]);
    assert!(sqlx::query_scalar::<_, bool>(index).fetch_one(&mut on_promoted).await.expect("asked"));
    assert!(
        !sqlx::query_scalar::<_, bool>(index).fetch_one(&mut on_old).await.expect("asked"),
        "the old one is changed"
    );
    servers.rebuild_standby(1).await;
    drop(on_promoted);
    servers.kill_primary().await;
    let ran = configured(&old, &[&promoted, &standby]).run(&["migrate"]);
    ran.says(69, &["it is an old primary; another was promoted", "it is a standby, on timeline 2"]);
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrate_sets_a_blank_database_up_that_has_replicas() {
    let servers = Replicated::start(1, &[]).await;
    let [url, standby] = [servers.url(), servers.standby_url(0)].map(|url| url.replace("/shop?", "/blank?"));
    sqlx::query("CREATE DATABASE blank").execute(&mut servers.connect_primary().await).await.expect("create");
    servers.wait_for_replay(0).await;
    let ran: Ran = configured(&standby, &[&url]).run(&["migrate", "--demo"]);
    ran.says(0, &["applied  0001 feed", "64 partitions of products"]);
    let strange = freshet(&["migrate", "--check", "--database-url", &standby]);
    strange.says(1, &["this server is a standby"]);
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_shows_each_server_and_counts_rows_on_a_replica() {
    let mut servers = Replicated::start(2, &[]).await;
    let insert = "INSERT INTO products (sku, name, price) SELECT 'k' || n, 'x', 1 FROM generate_series(1, 500) n";
    sqlx::query(insert).execute(&mut servers.connect_primary().await).await.expect("insert");
    servers.wait_for_replay(0).await;
    servers.stop_standby(1).await;
    let [url, near, away] = [servers.url(), servers.standby_url(0), servers.standby_url(1)];
    let [primary, near_place] = [&url, &near].map(|url| Place::of(url).expect("a url").server);
    let configuration = configured(&near, &[&away, &url]);
    let ran = configuration.run(&["shards"]);
    ran.says(0, &[&primary, "takes writes", "  streams", "away: ", "replica", "owned by no database: none"]);
    assert!(!ran.out.contains("counted"), "{}", ran.out);
    configuration.run(&["shards", "--exact"]).says(0, &["500 rows", "streams; rows were counted here"]);
    let report = configuration.run(&["shards", "--exact", "--format", "json"]).json();
    let told = &report["databases"][0]["servers"];
    assert_eq!(
        (&told[0]["server"], &told[0]["role"], &told[0]["counted"]),
        (&json!(primary), &json!("primary"), &json!(false))
    );
    assert_eq!(
        (&told[1]["server"], told[1]["lag_bytes"].is_u64(), &told[1]["counted"]),
        (&json!(near_place), true, &json!(true))
    );
    assert_eq!((&told[2]["state"], told[2]["reason"].is_string()), (&json!("away"), true));
    servers.pause_replay(0).await;
    sqlx::query("DELETE FROM products").execute(&mut servers.connect_primary().await).await.expect("delete");
    let strict = configuration.and("replica_lag_max = \"1ms\"");
    strict
        .run(&["shards", "--exact"])
        .says(0, &[" 0 rows", "takes writes; rows were counted here", "its replay is paused"]);
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_examines_each_replica() {
    let mut servers = Replicated::start(2, &[]).await;
    let [url, first, second] = [servers.url(), servers.standby_url(0), servers.standby_url(1)];
    let place = Place::of(&first).expect("a url").server;
    let configuration = configured(&first, &[&url, &second]);
    let ran = configuration.run(&["doctor"]);
    ran.says(
        0,
        &[
            &format!("replica {place}"),
            "the primary's cluster, and streams",
            "ok    lag",
            "hot_standby_feedback is off, max_standby_streaming_delay 30 s",
            "a node takes up to 27\n",
            "a node takes up to 14\n",
            "none synchronous: a promotion loses the commits that it has not received",
            " 0 failures",
        ],
    );
    servers.pause_replay(0).await;
    servers.stop_standby(1).await;
    let mut primary = servers.connect_primary().await;
    sqlx::query("DELETE FROM feed.mark").execute(&mut primary).await.expect("delete");
    configuration
        .run(&["doctor"])
        .says(0, &["its replay is paused", "warn  reach", "nodes read from the other servers"]);
    servers.start_standby(1).await;
    servers.promote(1).await;
    configured(&url, &[&first, &second])
        .run(&["doctor"])
        .says(1, &["it is an old primary that takes writes", "stop it: what others write there is lost"]);
    let other = database().await;
    configured(&second, &[&other.url()]).run(&["doctor"]).says(1, &["are primaries of different clusters"]);
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn top_tells_how_the_servers_of_a_database_stand() {
    let mut servers = Replicated::start(1, &[]).await;
    let node = node_without_cache(&servers, 1).await;
    let mut socket = Socket::open(&node).await;
    all_used(&node, &mut socket, &servers, 1).await;
    let address = node.operations().to_string();
    let look = |format: &'static str| {
        let address = address.clone();
        spawn_blocking(move || freshet(&["top", "--once", "--format", format, &address]))
    };
    let report = look("json").await.expect("it ran").json();
    let told = &report["databases"][0]["servers"];
    assert_eq!((&told[0]["role"], &told[1]["role"]), (&json!("primary"), &json!("replica")), "{report}");
    assert!(told[1]["lag_ms"].as_u64().is_some() && told[1]["reads"].as_u64() > Some(0), "{report}");
    look("human").await.expect("it ran").says(0, &["fresh (", ", replicas 1/1 "]);
    servers.kill_standby(0).await;
    until("the replica is told to be away", async || {
        let report = look("json").await.expect("it ran").json();
        let told = &report["databases"][0]["servers"][1];
        told["role"] == "banned" && told["reason"].is_string()
    })
    .await;
    node.stop().await;
    servers.stop().await;
}
