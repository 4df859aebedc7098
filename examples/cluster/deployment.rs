//! All of it: databases, Redis, nodes and the balancer before them, and the configuration that they share.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use freshet::store::postgres::server::Options;
use futures_util::future::join_all;

use super::{
    balancer::Health, cluster::Cluster, executable, instance::Result, node::Node, nodes::Nodes, redis::Redis,
    state::State, stats::Stats,
};

const MODULUS: u32 = 64;
const NODES: [&str; 3] = ["n1", "n2", "n3"];
/// Reads a second that the visitors of each node make.
const READERS: &str = "100";

/// What runs.
pub struct Deployment {
    folder: PathBuf,
    pub cluster: Cluster,
    /// `None` where Redis is not installed.
    pub redis: Option<Redis>,
    pub nodes: Nodes,
}

/// Ports of 127.0.0.1 from a first one on.
#[derive(Clone, Copy)]
pub struct Ports(pub u16);

impl Ports {
    fn balancer(self) -> SocketAddr {
        at(self.0)
    }

    /// The public and the operations address of a node. `freshet top` looks for the first node's where it is by default.
    fn node(self, place: usize) -> (SocketAddr, SocketAddr) {
        let place = place as u16;
        (at(self.0 + 11 + place), at(self.0 + 1 + place))
    }

    fn redis(self) -> u16 {
        self.0 + 20
    }

    /// Said before anything is started.
    fn check(self) -> Result<()> {
        let nodes =
            (0..NODES.len()).map(|place| self.node(place)).flat_map(|(public, operations)| [public, operations]);
        for address in std::iter::once(self.balancer()).chain(nodes) {
            TcpListener::bind(address).map_err(|error| format!("{address}: {error}; --port chooses other ports"))?;
        }
        Ok(())
    }
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

impl Deployment {
    /// Starts everything on the data in `folder`, and returns when each node is ready.
    ///
    /// # Errors
    /// When PostgreSQL is not installed, a port is taken, or the folder cannot be used.
    pub async fn start(folder: &Path, ports: Ports) -> Result<Self> {
        ports.check()?;
        eprintln!("starting two PostgreSQL servers, each with a standby, in {}", folder.display());
        let cluster = Cluster::start(folder, MODULUS, true, options).await?;
        cluster.migrate().await?;
        let redis = Redis::start(ports.redis()).await?;
        if redis.is_none() {
            eprintln!("no Redis is installed, and the nodes go on without (apt-get install redis-server)");
        }
        let nodes = NODES.into_iter().enumerate();
        let nodes = nodes.map(|(place, name)| Node::new(name, ports.node(place), folder, program(folder))).collect();
        let nodes = Nodes::new(ports.balancer(), nodes).await?;
        let mut deployment = Deployment { folder: folder.to_owned(), cluster, redis, nodes };
        deployment.write_configuration()?;
        eprintln!("starting {} nodes", NODES.len());
        deployment.nodes.start().await?;
        Ok(deployment)
    }

    /// The file that `--config` takes.
    pub fn configuration(&self) -> PathBuf {
        configuration(&self.folder)
    }

    /// Writes it, as the databases stand now.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write_configuration(&self) -> Result<()> {
        let mut text = self.cluster.configuration();
        if let Some(redis) = &self.redis {
            // A debug build, and all of it on one machine, may be slow.
            text.push_str(&format!("\n[redis]\nurls = [\"{}\"]\nlimit = \"250ms\"\n", redis.url()));
        }
        Ok(fs::write(self.configuration(), text)?)
    }

    /// A line for each node, for Redis and for each server, the primary of a pair first.
    pub async fn status(&mut self) -> String {
        let nodes = join_all(self.nodes.all.iter().map(|node| Stats::of(node.operations))).await;
        let mut text = String::new();
        for (place, stats) in nodes.into_iter().enumerate() {
            let doing = self.node_does(place);
            let (clients, tiers) = stats.map_or_else(|_| Default::default(), |stats| (stats.clients(), stats.tiers()));
            text.push_str(&line(self.nodes.all[place].name(), doing, &clients, &tiers));
        }
        if let Some(redis) = &self.redis {
            let (doing, keys, memory) = redis.describe().await;
            text.push_str(&line("redis", doing, &keys, &memory));
        }
        for (pair, databases) in self.cluster.pairs() {
            let held = format!("{} to {}", databases[0], databases[databases.len() - 1]).replace('_', "-");
            let primary = State::of(&pair.primary).await;
            text.push_str(&line(pair.primary.name(), &held, "primary", &primary.describe(None)));
            if let Some(standby) = &pair.standby {
                let said = State::of(standby).await.describe(Some(primary));
                text.push_str(&line(standby.name(), &held, "standby", &said));
            }
        }
        text
    }

    fn node_does(&mut self, place: usize) -> &'static str {
        match self.nodes.balancer.health(place) {
            _ if !self.nodes.all[place].is_running() => "down",
            Health::Ready => "ready",
            Health::Unready => "not ready",
            Health::Silent => "does not answer",
        }
    }

    /// Drains the nodes, and shuts everything down.
    pub async fn stop(mut self) {
        self.nodes.stop().await;
        if let Some(mut redis) = self.redis {
            redis.stop().await;
        }
        self.cluster.stop().await;
    }
}

fn line(name: &str, what: &str, how: &str, said: &str) -> String {
    format!("  {name:<7}{what:<18}{how:<12}{said}").trim_end().to_owned() + "\n"
}

fn configuration(folder: &Path) -> PathBuf {
    folder.join("freshet.toml")
}

/// A node with the demo's page. One of them plays the sales at a time.
fn program(folder: &Path) -> impl Fn() -> tokio::process::Command + Send + Sync + 'static {
    let configuration = configuration(folder);
    move || {
        let mut command = executable::freshet();
        command.args(["demo", "--readers", READERS, "--config"]).arg(&configuration);
        command
    }
}

fn options(data_dir: PathBuf) -> Options {
    let mut options = Options::new(data_dir).with_standbys();
    // A server flushes a copy before its first use, in any case.
    options.sync = false;
    // Room for four databases and some nodes; and a frozen standby holds up the shutdown of its primary for seconds only.
    let settings = [("max_connections", "300"), ("wal_sender_timeout", "5s")];
    options.settings.extend(settings.map(|(name, value)| (name.to_owned(), value.to_owned())));
    options
}
