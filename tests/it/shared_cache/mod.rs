//! Records in Redis: what it spares the databases, and that nothing it says or loses makes an answer older.

mod audit;
mod checkup;
mod cluster;
mod faults;
mod hints;
mod matrix;
mod reads;
mod state;
mod stream;
mod switches;
mod tampering;
mod tls;
mod whereabouts;

use std::time::Duration;

use freshet::{config::Config, shared};
use serde_json::{Value, json};

use crate::harness::{Node, Socket, TestDatabase, node, until};

/// A configuration with Redis at `url`, which a busy machine is not too slow for.
fn with_redis(url: &str) -> Config {
    let mut config = node::config();
    config.redis = Some(shared::Config { limit: Duration::from_secs(2), ..shared::Config::at(url) });
    config
}

/// The same without L1, so that each read goes to Redis.
fn without_local(url: &str) -> Config {
    let mut config = with_redis(url);
    config.tiers.local.capacity = "0 B".parse().expect("a size");
    config
}

/// A node that is answered by Redis already.
async fn node(database: &TestDatabase, config: Config) -> Node {
    let node = Node::over(&database.url(), config).await;
    all_answered(&node, database).await;
    node
}

/// Records that are inserted at once to try whether Redis is asked: fewer than a keeper would no longer tell of one by one.
const PROBES: u32 = 900;

/// Waits until reads of the node go to Redis: a keeper is at work, and the chain has reached what the node must see.
async fn all_answered(node: &Node, database: &TestDatabase) {
    let used = |outcome| node.metrics().where_label("freshet_shared_lookups_total", "outcome", outcome);
    let (mut socket, mut tried) = (Socket::open(node).await, 0);
    until("reads go to Redis", async || {
        if tried % PROBES == 0 {
            let probes = "INSERT INTO products (sku, name, price) SELECT '~' || n, 'x', n FROM generate_series";
            database.run(&format!("{probes}({tried}, {}) n ON CONFLICT DO NOTHING", tried + PROBES - 1)).await;
        }
        // Another key each time, which L1 does not have.
        price(&mut socket, &format!("~{tried}")).await;
        tried += 1;
        used("hit") + used("filled") > 0
    })
    .await;
}

/// Reads that Redis answered.
fn hits(node: &Node) -> u64 {
    node.metrics().where_label("freshet_tiers_answers_total", "source", "shared")
}

async fn price(socket: &mut Socket, key: &str) -> Value {
    socket.ok("get", json!(["products", key])).await["value"]["price"].clone()
}
