//! A node in a process of its own.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{counters::Counters, running::Running};

/// How long a node may take to be ready.
const START_LIMIT: Duration = Duration::from_secs(60);

/// It is ended with its value.
pub struct Node {
    running: Running,
}

impl Node {
    /// Starts it, and returns when it is ready for clients.
    pub async fn start(configuration: &str, cache: &str) -> Result<Self, String> {
        let node = Node { running: Running::start(configuration, cache) };
        let until = Instant::now() + START_LIMIT;
        while !node.is_ready().await {
            if Instant::now() > until {
                return Err("a node is not ready".into());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(node)
    }

    async fn is_ready(&self) -> bool {
        reqwest::get(self.operations("readyz")).await.is_ok_and(|answer| answer.status().is_success())
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// Its WebSocket.
    pub fn url(&self) -> String {
        self.running.url()
    }

    /// What it has counted.
    pub async fn counters(&self) -> Result<Counters, String> {
        let text = async { reqwest::get(self.operations("metrics")).await?.text().await };
        Ok(Counters(text.await.map_err(|error| format!("a node's counters: {error}"))?))
    }

    fn operations(&self, path: &str) -> String {
        format!("http://{}/{path}", self.running.operations)
    }
}
