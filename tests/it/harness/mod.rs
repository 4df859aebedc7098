//! What the scenarios share: one private PostgreSQL server a test process, and a database a test.
//!
//! The server starts with the first test that asks and ends with the process, its data removed. A database
//! is a copy of a template, so a test costs no migration. Without PostgreSQL every test fails and says so.

mod authority;
mod both;
pub mod cluster;
pub mod command;
mod database;
pub mod events;
pub mod holder;
#[path = "../../../examples/cluster/instance.rs"]
#[allow(dead_code, reason = "the example uses all of it")]
mod instance;
pub mod node;
mod poller;
mod process;
#[path = "../../../examples/cluster/processes.rs"]
pub mod processes;
mod proxy;
pub mod raw;
mod redis;
mod redis_cluster;
mod replicated;
mod server;
pub mod socket;
pub mod tampering;
pub mod terminal;
pub mod three_nodes;
pub mod watcher;

pub use authority::Authority;
pub(crate) use both::both;
pub use database::{TestDatabase, blank_database, database, empty_database};
pub use events::Events;
pub use node::{Kind, Node, until, within};
pub use poller::Poller;
pub use process::Process;
pub use proxy::{Link, Proxy};
pub use raw::Raw;
pub use redis::Redis;
pub use redis_cluster::RedisCluster;
pub use replicated::Replicated;
pub use server::{durable_server, folder, migrate};
pub use socket::Socket;
pub use three_nodes::ThreeNodes;
pub use watcher::Watcher;

/// The number of logical shards of [`database`].
pub const MODULUS: u32 = 64;

/// The test collections, as the memory store is told of them.
pub fn schemas() -> Vec<freshet::store::memory::Schema> {
    #[derive(serde::Deserialize)]
    struct Fixture {
        collection: Vec<freshet::store::memory::Schema>,
    }
    toml::from_str::<Fixture>(include_str!("../fixtures/schemas.toml")).expect("the fixture is valid").collection
}
