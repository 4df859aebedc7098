//! Reads spread over streaming replicas: how a lagging, dead or promoted one is noticed by nobody but the counters.

mod away;
mod commands;
mod matrix;
mod promotion;
mod reads;

use freshet::{
    config::Config,
    store::postgres::{self, session::Place},
};
use serde_json::{Value, json};

use crate::harness::{Node, Replicated, Socket, node, until};

/// The database with its standbys, as a node is told of it.
fn database(servers: &Replicated, standbys: usize) -> postgres::Config {
    let replicas = (0..standbys).map(|standby| servers.standby_url(standby)).collect();
    postgres::Config { replicas, ..postgres::Config::at(servers.url()) }
}

/// A node whose L1 holds nothing, so that reads go to the servers, once all `standbys` answer some.
async fn node_without_cache(servers: &Replicated, standbys: usize) -> Node {
    let mut config = node::config();
    config.tiers.local.capacity = "0 B".parse().expect("a size");
    node_with(servers, standbys, config).await
}

async fn node_with(servers: &Replicated, standbys: usize, config: Config) -> Node {
    let node = Node::on(database(servers, standbys), config).await;
    all_asked(&node, standbys).await;
    node
}

/// Waits until so many replicas answer reads.
async fn all_asked(node: &Node, standbys: usize) {
    until("the replicas answer reads", async || {
        node.metrics().sum("freshet_store_replica_asked") == Some(standbys as u64)
    })
    .await;
}

/// Reads k1, k2 and so on until every replica has answered one: then they are known to show what was there when the node began.
async fn all_used(node: &Node, socket: &mut Socket, servers: &Replicated, standbys: usize) {
    let mut keys = (1..).map(|n| format!("k{n}"));
    for standby in 0..standbys {
        let place = Place::of(&servers.standby_url(standby)).expect("a url").server;
        let reads = || node.metrics().where_label("freshet_store_reads_total", "server", &place);
        let before = reads();
        until("the replica is used", async || {
            socket.ok("get", json!(["products", keys.next()])).await;
            reads() > before
        })
        .await;
    }
}

async fn put(socket: &mut Socket, key: &str, price: u32) -> Value {
    socket.ok("put", json!(["products", key, {"name": "x", "price": price}])).await
}

/// Statements on replicas that failed, for a reason.
fn failures(node: &Node, reason: &str) -> u64 {
    node.metrics().where_label("freshet_store_replica_failures_total", "reason", reason)
}
