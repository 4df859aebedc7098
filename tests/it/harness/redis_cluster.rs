//! A Redis Cluster of a test's own: masters without replicas.

use futures_util::future::join_all;
use redis::{cluster::ClusterClient, cluster_async::ClusterConnection};

use super::{Redis, node::LIMIT, until};

/// The hash slots of a cluster.
const SLOTS: usize = 16_384;

/// The servers, which share the hash slots out evenly in their order.
pub struct RedisCluster {
    masters: Vec<Redis>,
}

impl RedisCluster {
    /// Starts the masters, and returns when each of them takes requests: after 2 s, which a new member waits.
    pub async fn start(masters: usize) -> Self {
        Self::start_with(masters, &[]).await
    }

    /// The same with settings as in `redis.conf`, such as `cluster-require-full-coverage` or `cluster-node-timeout`.
    pub async fn start_with(masters: usize, settings: &[(&str, &str)]) -> Self {
        let own = [("cluster-enabled", "yes"), ("cluster-node-timeout", "5000")];
        let settings: Vec<_> = own.iter().chain(settings).copied().collect();
        let cluster = RedisCluster { masters: join_all((0..masters).map(|_| Redis::start_with(&settings))).await };
        cluster.share_slots().await;
        cluster.meet().await;
        cluster.await_ok().await;
        cluster
    }

    /// Where a client begins.
    pub fn urls(&self) -> Vec<String> {
        self.masters.iter().map(Redis::url).collect()
    }

    /// A connection to all of it that waits for slow servers, as long as a test may take.
    pub async fn connect(&self) -> ClusterConnection {
        let client = ClusterClient::builder(self.urls()).connection_timeout(LIMIT).response_timeout(LIMIT);
        client.build().expect("sound URLs").get_async_connection().await.expect("connect to the cluster")
    }

    /// One of the masters.
    pub fn master(&self, master: usize) -> &Redis {
        &self.masters[master]
    }

    /// The master that a key belongs to.
    pub async fn master_of(&self, key: &str) -> usize {
        let slot: usize = self.masters[0].command(&["CLUSTER", "KEYSLOT", key]).await;
        (0..self.masters.len()).find(|&master| self.slots(master).contains(&slot)).expect("every slot has a master")
    }

    /// Ends a master as a crash does.
    pub async fn kill(&mut self, master: usize) {
        self.masters[master].kill().await;
    }

    /// Starts a master again, with its slots but without what it held, and returns when all of them take requests.
    pub async fn restart(&mut self, master: usize) {
        self.masters[master].restart().await;
        self.await_ok().await;
    }

    /// Ends all of them.
    pub async fn stop(self) {
        join_all(self.masters.into_iter().map(Redis::stop)).await;
    }

    fn slots(&self, master: usize) -> std::ops::Range<usize> {
        let bound = |master: usize| master * SLOTS / self.masters.len();
        bound(master)..bound(master + 1)
    }

    async fn share_slots(&self) {
        for (number, master) in self.masters.iter().enumerate() {
            let (first, last) = (self.slots(number).start.to_string(), (self.slots(number).end - 1).to_string());
            master.command::<()>(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]).await;
            // Different ones, so that no two members have to settle it.
            master.command::<()>(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]).await;
        }
    }

    async fn meet(&self) {
        for other in &self.masters[1..] {
            let port = other.cluster_port();
            self.masters[0].command::<()>(&["CLUSTER", "MEET", "127.0.0.1", &port]).await;
        }
    }

    async fn await_ok(&self) {
        let members = format!("cluster_known_nodes:{}", self.masters.len());
        let slots = format!("cluster_slots_ok:{SLOTS}");
        for master in &self.masters {
            until("a master takes requests", async || {
                let info: String = master.command(&["CLUSTER", "INFO"]).await;
                ["cluster_state:ok", &members, &slots].iter().all(|line| info.lines().any(|found| found == *line))
            })
            .await;
        }
    }
}
