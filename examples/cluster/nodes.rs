//! The nodes and the balancer before them.

use std::{net::SocketAddr, time::Duration};

use tokio::time::{sleep, timeout};

use super::{
    balancer::{Balancer, Health},
    instance::Result,
    node::Node,
};

/// How long a node may take to be ready.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// Nodes behind one address. Dropping them kills them.
pub struct Nodes {
    /// By place.
    pub all: Vec<Node>,
    /// Carries clients to them.
    pub balancer: Balancer,
}

impl Nodes {
    /// Puts a balancer on `address` before nodes that do not run yet.
    ///
    /// # Errors
    /// When the address is taken.
    pub async fn new(address: SocketAddr, all: Vec<Node>) -> Result<Self> {
        let addresses: Vec<_> = all.iter().map(|node| (node.public, node.operations)).collect();
        Ok(Nodes { all, balancer: Balancer::start(address, &addresses).await? })
    }

    /// Starts all, and returns when the balancer sends clients to each.
    ///
    /// # Errors
    /// What the first says that does not start.
    pub async fn start(&mut self) -> Result<()> {
        for node in &mut self.all {
            node.start()?;
        }
        for place in 0..self.all.len() {
            self.wait_until_ready(place).await?;
        }
        Ok(())
    }

    /// The place of a node.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.all.iter().position(|node| node.name() == name)
    }

    /// Drains one node after another, starts it again and waits until it is ready. `say` is told of each.
    ///
    /// # Errors
    /// When one does not get ready; those after it are left as they are.
    pub async fn restart_in_turn(&mut self, mut say: impl FnMut(&str)) -> Result<()> {
        for place in 0..self.all.len() {
            let node = &mut self.all[place];
            node.drain().await?;
            node.start()?;
            self.wait_until_ready(place).await?;
            say(self.all[place].name());
        }
        Ok(())
    }

    /// Returns when a node that was started is ready, and the balancer knows.
    ///
    /// # Errors
    /// When it ends before, or is not ready in time.
    pub async fn wait_until_ready(&mut self, place: usize) -> Result<()> {
        let (node, balancer) = (&mut self.all[place], &self.balancer);
        let ready = async {
            while node.is_running() {
                // Asked here as well: what the balancer knows may be of the process that ran before.
                if balancer.ask(place).await == Some(Health::Ready) {
                    balancer.wait_for(place, Health::Ready).await;
                    return Ok(());
                }
                sleep(Duration::from_millis(50)).await;
            }
            Err("ended")
        };
        let outcome = timeout(READY_LIMIT, ready).await.unwrap_or(Err("is not ready"));
        outcome.map_err(|what| format!("{} {what}; {} says why", node.name(), node.log().display()).into())
    }

    /// Drains all at once.
    pub async fn stop(&mut self) {
        for outcome in futures_util::future::join_all(self.all.iter_mut().map(Node::drain)).await {
            if let Err(error) = outcome {
                eprintln!("{error}");
            }
        }
    }
}
