//! Lists go to replicas, and to the primary where none answers.

use freshet::store::postgres::{self, session::Place};
use serde_json::json;

use super::{keys, whole};
use crate::harness::{Node, Replicated, Socket, node::config, until};

fn reads(node: &Node, url: &str) -> u64 {
    let place = Place::of(url).expect("a url").server;
    node.metrics().where_label("freshet_store_reads_total", "server", &place)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_answers_lists_and_the_primary_when_it_is_gone_or_promoted() {
    let mut servers = Replicated::start(1, &[]).await;
    let mut primary = servers.connect_primary().await;
    let fill = "INSERT INTO products (sku, name, price) SELECT 'k' || n, 'x', n FROM generate_series(1, 300) n";
    sqlx::raw_sql(fill).execute(&mut primary).await.expect("fill");
    servers.wait_for_replay(0).await;
    let database = postgres::Config { replicas: vec![servers.standby_url(0)], ..postgres::Config::at(servers.url()) };
    let node = Node::on(database, config()).await;
    until("the replica answers", async || node.metrics().sum("freshet_store_replica_asked") == Some(1)).await;
    let mut socket = Socket::open(&node).await;
    let mut expected: Vec<String> = (1..=300).map(|n| format!("k{n}")).collect();
    expected.sort_unstable();
    let (on_primary, on_standby) = (reads(&node, &servers.url()), reads(&node, &servers.standby_url(0)));
    assert_eq!(keys(&whole(&mut socket, "products", None, 50).await), expected);
    assert_eq!(reads(&node, &servers.url()), on_primary);
    assert!(reads(&node, &servers.standby_url(0)) >= on_standby + 300);
    // Neither L1 nor the filter learn of it: what was listed is a miss.
    let before = node.metric("freshet_tiers_store_reads_total").await;
    let read = socket.ok("get", json!(["products", "k7"])).await;
    assert_eq!(read["value"]["price"], 7);
    assert_eq!(node.metric("freshet_tiers_store_reads_total").await, before + 1.0);

    servers.kill_standby(0).await;
    assert_eq!(keys(&whole(&mut socket, "products", None, 100).await), expected);
    assert!(reads(&node, &servers.url()) >= on_primary + 300);
    node.stop().await;
    servers.stop().await;
}
