//! What is measured: nodes over one database, with Redis or without.

use std::{process::Command, time::Duration};

use freshet::client::{Client, Options};
use tokio::time::sleep;

use super::{client::Cores, database::Database, node::Node, pace::Pace, redis::Redis};

/// Nodes of the service.
pub const NODES: usize = 3;
/// Room in L1 that the defaults give.
pub const DEFAULT: &str = "256 MiB";
/// How long a node may take until Redis answers it.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Whether nodes have Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    Shared,
    None,
}

/// The servers that nodes use, and how long all is measured.
pub struct Service {
    pub database: Database,
    pub redis: Redis,
    pub pace: Pace,
}

impl Service {
    /// Starts PostgreSQL and Redis. `is_quick`: one short round of everything.
    pub async fn start(is_quick: bool) -> Result<Self, String> {
        let redis = Redis::start().await?;
        let pace = if is_quick { Pace::QUICK } else { Pace::FULL };
        Ok(Service { database: Database::start().await?, redis, pace })
    }

    /// Lets all servers, and the nodes that start from here on, have these cores: the first, or all.
    pub fn have(&self, cores: Cores) -> Result<(), String> {
        let list = match cores {
            Cores::Own => "0",
            Cores::All => cores.list(),
        };
        for pid in [std::process::id(), self.database.pid(), self.redis.pid()] {
            let mut command = Command::new("taskset");
            command.args(["--all-tasks", "--pid", "--cpu-list", list, &pid.to_string()]);
            let output =
                command.output().map_err(|error| format!("taskset (of util-linux) does not start: {error}"))?;
            if !output.status.success() {
                return Err(String::from_utf8_lossy(&output.stderr).into_owned());
            }
        }
        Ok(())
    }

    /// Whether it is the short form.
    pub fn is_quick(&self) -> bool {
        self.pace.rounds == 1
    }

    /// One of two lengths, rounds or numbers.
    pub fn in_full<T>(&self, full: T, quick: T) -> T {
        if self.is_quick() { quick } else { full }
    }

    /// A node whose L1 has room for `cache`. With Redis, returns when that answers reads.
    pub async fn node(&self, tier: Tier, cache: &str) -> Result<Node, String> {
        let mut configuration = self.database.configuration();
        if tier == Tier::Shared {
            configuration.push_str(&format!("[redis]\nurls = [\"{}\"]\n", self.redis.url()));
        }
        let node = Node::start(&configuration, cache).await?;
        if tier == Tier::Shared {
            self.wait_for_redis(&node).await?;
        }
        Ok(node)
    }

    /// [`NODES`] of them.
    pub async fn nodes(&self, tier: Tier, cache: &str) -> Result<Vec<Node>, String> {
        let mut nodes = Vec::new();
        for _ in 0..NODES {
            nodes.push(self.node(tier, cache).await?);
        }
        Ok(nodes)
    }

    /// Reads one key after the other until Redis has answered, or taken, one of them.
    pub async fn wait_for_redis(&self, node: &Node) -> Result<(), String> {
        let (client, before) = (connect(node).await?, used(node).await?);
        let until = tokio::time::Instant::now() + START_LIMIT;
        for key in self.database.probes() {
            get(&client, &key).await?;
            if used(node).await? > before {
                client.close().await;
                return Ok(());
            }
            sleep(Duration::from_millis(20)).await;
            if tokio::time::Instant::now() > until {
                break;
            }
        }
        Err("Redis answers no read of a node".into())
    }

    /// Ends the servers.
    pub async fn stop(self) {
        self.database.stop().await;
        self.redis.stop().await;
    }
}

async fn used(node: &Node) -> Result<u64, String> {
    let counters = node.counters().await?;
    let of = |outcome| counters.labelled("freshet_shared_lookups_total", "outcome", outcome);
    Ok(of("hit") + of("filled"))
}

/// What a figure says of the cores that it was measured on.
pub fn place(cores: Cores) -> &'static str {
    match cores {
        Cores::Own => "servers on one core",
        Cores::All => "both cores for all (default)",
    }
}

/// A client of a node.
pub async fn connect(node: &Node) -> Result<Client, String> {
    Client::connect(&node.url(), Options::new()).await.map_err(|error| error.to_string())
}

/// Reads a record, which must be there and be the one that was asked for.
pub async fn get(client: &Client, key: &str) -> Result<(), String> {
    let record = client.get("products", key).await.map_err(|error| format!("get {key}: {error}"))?;
    match record.value {
        Some(_) if record.key == key => Ok(()),
        _ => Err(format!("asked for {key}, got {} with value {:?}", record.key, record.value)),
    }
}
