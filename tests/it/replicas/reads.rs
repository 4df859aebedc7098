//! Where reads go while all servers are well, or one of them lags.

use std::time::Duration;

use freshet::{store::postgres, tiers::freshness::Verdict};
use serde_json::json;
use sqlx::{Connection as _, PgConnection};

use super::{all_asked, all_used, database, failures, node_without_cache, put};
use crate::harness::{Link, Node, Proxy, Replicated, Socket, node::config, until};

/// Index scans of the tables of products, as the server counts them.
async fn scans(url: &str) -> i64 {
    let mut connection = PgConnection::connect(url).await.expect("connect");
    let sum = "SELECT coalesce(sum(idx_scan), 0)::bigint FROM pg_stat_user_tables WHERE relname LIKE 'products%'";
    sqlx::query_scalar(sum).fetch_one(&mut connection).await.expect("a sum")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cold_reads_are_answered_by_replicas() {
    let servers = Replicated::start(2, &[]).await;
    let mut primary = servers.connect_primary().await;
    let fill = "INSERT INTO products (sku, name, price) SELECT 'k' || n, 'x', n FROM generate_series(1, 1000) n";
    sqlx::raw_sql(fill).execute(&mut primary).await.expect("fill");
    for standby in 0..2 {
        servers.wait_for_replay(standby).await;
    }
    let node = node_without_cache(&servers, 2).await;
    let mut socket = Socket::open(&node).await;
    all_used(&node, &mut socket, &servers, 2).await;
    let urls = [servers.url(), servers.standby_url(0), servers.standby_url(1)];
    let mut before = Vec::new();
    for url in &urls {
        before.push(scans(url).await);
    }
    for n in 1..=1000 {
        let read = socket.ok("get", json!(["products", format!("k{n}")])).await;
        assert_eq!((&read["value"]["price"], read.get("stale_ms")), (&json!(n), None), "{read}");
    }
    until("the servers have counted the reads", async || {
        let mut counted = Vec::new();
        for (url, before) in urls.iter().zip(&before) {
            counted.push(scans(url).await - before);
        }
        let all: i64 = counted.iter().sum();
        assert!(counted[0] <= 100, "{counted:?} on the primary and its replicas");
        all >= 1000 && counted[1].min(counted[2]) > 100
    })
    .await;
    node.stop().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_only_a_replica_shows_yet_is_read_there_by_its_stamp() {
    let servers = Replicated::start(1, &[]).await;
    let node = node_without_cache(&servers, 1).await;
    let mut socket = Socket::open(&node).await;
    put(&mut socket, "a", 1).await;
    all_used(&node, &mut socket, &servers, 1).await;
    // Commits wait for a standby that is missing; the one that is there shows them meanwhile.
    let mut primary = servers.connect_primary().await;
    let missing = "ALTER SYSTEM SET synchronous_standby_names = 'missing'";
    sqlx::raw_sql(missing).execute(&mut primary).await.expect("set");
    sqlx::raw_sql("SELECT pg_reload_conf()").execute(&mut primary).await.expect("reload");
    until("commits wait", async || {
        let shown = sqlx::query_scalar("SHOW synchronous_standby_names").fetch_one(&mut primary).await;
        shown.is_ok_and(|names: String| names == "missing")
    })
    .await;
    let mut writer = servers.connect_primary().await;
    let written = tokio::spawn(async move {
        sqlx::raw_sql("UPDATE products SET price = 2 WHERE sku = 'a'").execute(&mut writer).await.expect("update");
    });
    let mut standby = servers.connect_standby(0).await;
    let shown = "SELECT freshet_version FROM products WHERE sku = 'a' AND price = 2";
    let mut version: Option<i64> = None;
    until("the replica shows it", async || {
        version = sqlx::query_scalar(shown).fetch_optional(&mut standby).await.expect("read");
        version.is_some()
    })
    .await;
    let behind: Option<i64> = sqlx::query_scalar(shown).fetch_optional(&mut primary).await.expect("read");
    assert_eq!(behind, None, "the primary shows it as well");

    let min_stamp = format!("1.{}", version.expect("a version"));
    let read = socket.ok("get", json!({"collection": "products", "key": "a", "min_stamp": min_stamp})).await;
    assert_eq!(read["value"]["price"], json!(2), "{read}");
    // A stamp that nothing has is answered by the primary, at once.
    let read = socket.ok("get", json!({"collection": "products", "key": "b", "min_stamp": "1.9000000000000000"})).await;
    assert_eq!(read["value"], json!(null), "{read}");

    sqlx::raw_sql("ALTER SYSTEM RESET synchronous_standby_names").execute(&mut primary).await.expect("reset");
    sqlx::raw_sql("SELECT pg_reload_conf()").execute(&mut primary).await.expect("reload");
    written.await.expect("the write ends");
    node.stop().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_replica_is_never_the_cause_of_an_older_answer() {
    let servers = Replicated::start(1, &[]).await;
    let (writer, reader) = (node_without_cache(&servers, 1).await, node_without_cache(&servers, 1).await);
    let (mut writes, mut reads) = (Socket::open(&writer).await, Socket::open(&reader).await);
    for key in ["a", "b", "c"] {
        put(&mut writes, key, 1).await;
    }
    servers.wait_for_replay(0).await;
    servers.pause_replay(0).await;
    for price in 2..40 {
        for key in ["a", "b", "c"] {
            let written = put(&mut writes, key, price).await;
            // On the node that wrote, and with the stamp on another, at once.
            let own = writes.ok("get", json!(["products", key])).await;
            assert_eq!(own["value"]["price"], json!(price), "{own}");
            let query = json!({"collection": "products", "key": key, "min_stamp": written["stamp"]});
            let other = reads.ok("get", query).await;
            assert_eq!(other["value"]["price"], json!(price), "{other}");
            // Without it, once the other node has been told.
            until("the other node shows it", async || {
                let read = reads.ok("get", json!(["products", key])).await;
                let shown = read["value"]["price"].as_u64().expect("a price");
                assert!(shown >= u64::from(price) - 1, "{read} after {}", price - 1);
                shown == u64::from(price)
            })
            .await;
        }
    }
    servers.resume_replay(0).await;
    reader.stop().await;
    writer.stop().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_nothing_is_proven_the_primary_answers_and_its_answers_need_no_age() {
    let servers = Replicated::start(1, &[]).await;
    let mut primary = servers.connect_primary().await;
    let fill = "INSERT INTO products (sku, name, price) SELECT 'k' || n, 'x', n FROM generate_series(1, 1000) n";
    sqlx::raw_sql(fill).execute(&mut primary).await.expect("fill");
    servers.wait_for_replay(0).await;
    let link = Proxy::to(&servers.url()).await;
    let mut settings = config();
    settings.tiers.freshness.fresh = Duration::from_millis(400);
    let node = Node::on(postgres::Config { url: link.url(), ..database(&servers, 1) }, settings).await;
    all_asked(&node, 1).await;
    let mut socket = Socket::open(&node).await;
    all_used(&node, &mut socket, &servers, 1).await;
    // As while a large transaction is read: the feed proves nothing, and the primary answers.
    link.set_for("tail", Link::BlackHole);
    until("the certificate has lapsed", async || node.tiers().freshness().verdict() != Verdict::Fresh).await;
    // The last ones: `all_used` has read the first.
    for n in 951..=1_000 {
        let read = socket.ok("get", json!(["products", format!("k{n}")])).await;
        assert_eq!((&read["value"]["price"], read.get("stale_ms")), (&json!(n), None), "{read}");
    }
    node.stop().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_falls_too_far_behind_is_asked_again_when_it_has_caught_up() {
    let servers = Replicated::start(1, &[]).await;
    let mut settings = database(&servers, 1);
    settings.replica_lag_max = Duration::from_millis(500);
    let node = Node::on(settings, config()).await;
    all_asked(&node, 1).await;
    servers.pause_replay(0).await;
    all_asked(&node, 0).await;
    let probe = reqwest::get(format!("http://{}/readyz?verbose", node.operations())).await.expect("an answer");
    let probe = probe.text().await.expect("text");
    assert!(probe.contains("behind"), "{probe}");
    servers.resume_replay(0).await;
    all_asked(&node, 1).await;
    assert_eq!(failures(&node, "late"), 0);
    node.stop().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_is_built_on_a_replica_and_denies_nothing_that_one_does_not_show() {
    let servers = Replicated::start(1, &[]).await;
    let mut primary = servers.connect_primary().await;
    servers.wait_for_replay(0).await;
    servers.pause_replay(0).await;
    let fill = "INSERT INTO products (sku, name, price) SELECT 'k' || n, 'x', n FROM generate_series(1, 100) n";
    sqlx::raw_sql(fill).execute(&mut primary).await.expect("fill");
    let node = Node::on(database(&servers, 1), config()).await;
    let products = node.service().catalogue().find("products").expect("products").id;
    until("the filter is built", async || node.tiers().is_filtered(products)).await;
    let mut socket = Socket::open(&node).await;
    for n in 1..=100 {
        let read = socket.ok("get", json!(["products", format!("k{n}")])).await;
        assert_eq!(read["value"]["price"], json!(n), "{read}");
    }
    node.stop().await;
    servers.resume_replay(0).await;
    servers.wait_for_replay(0).await;
    let scanned = || async {
        let mut standby = servers.connect_standby(0).await;
        let rows =
            "SELECT (tup_returned + tup_fetched)::bigint FROM pg_stat_database WHERE datname = current_database()";
        sqlx::query_scalar::<_, i64>(rows).fetch_one(&mut standby).await.expect("rows")
    };
    let before = scanned().await;
    let node = Node::on(database(&servers, 1), config()).await;
    until("the filter is built", async || node.tiers().is_filtered(products)).await;
    node.stop().await;
    until("the replica has counted the scan", async || scanned().await >= before + 100).await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_primary_is_found_wherever_the_configuration_names_it() {
    let servers = Replicated::start(1, &[]).await;
    let mut settings = database(&servers, 1);
    std::mem::swap(&mut settings.url, &mut settings.replicas[0]);
    let node = Node::on(settings, config()).await;
    all_asked(&node, 1).await;
    let mut socket = Socket::open(&node).await;
    let written = put(&mut socket, "a", 1).await;
    assert!(written["stamp"].is_string(), "{written}");
    node.stop().await;
    servers.stop().await;
}
