//! A node in this process, on ports of its own, over a database or in memory.

use std::{future::Future, net::SocketAddr, time::Duration};

use freshet::{
    app::{self, App, Place},
    config::Config,
    service::Service,
    store::postgres,
    telemetry::{Reading, Telemetry},
    tiers::{Tiers, freshness::Verdict},
};
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{TestDatabase, database};

/// How long anything may take that a test waits for: a test that hangs ends by it. Nothing is judged by it.
pub const LIMIT: Duration = Duration::from_secs(60);

/// More than anything takes on a busy machine that nothing holds up, and less than the faults last which hold others up.
pub const SOON: Duration = Duration::from_secs(5);

/// A running node; drained by [`Node::stop`], or stopped with the test's runtime.
pub struct Node {
    public: SocketAddr,
    operations: SocketAddr,
    service: Service,
    tiers: Tiers,
    telemetry: Telemetry,
    stop: CancellationToken,
    running: JoinHandle<Result<(), app::Error>>,
    /// The node's database, when it was made for it.
    pub database: Option<TestDatabase>,
}

/// Which store a scenario runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A database of its own.
    Postgres,
    /// The memory store with the same collections.
    Memory,
}

/// The configuration of a test's node: ports chosen by the system.
pub fn config() -> Config {
    let mut config = Config { collections: Config::shipped_collections(), ..Config::default() };
    config.collections.extend(super::schemas());
    config.gateway.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.gateway.operations = SocketAddr::from(([127, 0, 0, 1], 0));
    // A busy machine is not what tests are about; those about the deadline set their own.
    config.service.deadline = Duration::from_secs(20);
    // Tests count statements; those about audits set a share of their own.
    config.tiers.audit.share = 0.0;
    config
}

impl Node {
    /// A node over a store of `kind`, empty, with products, readings and parcels.
    pub async fn start(kind: Kind) -> Self {
        Self::start_with(kind, config()).await
    }

    /// The same with a configuration of the test's.
    pub async fn start_with(kind: Kind, config: Config) -> Self {
        match kind {
            Kind::Memory => Self::run(config, Place::Memory).await,
            Kind::Postgres => {
                let database = database().await;
                let mut node = Self::over(&database.url(), config).await;
                node.database = Some(database);
                node
            }
        }
    }

    /// A node over a database of its own, with settings of the test's but for its URL.
    pub async fn with_database(settings: postgres::Config, config: Config) -> Self {
        let database = database().await;
        let mut node = Self::on(postgres::Config { url: database.url(), ..settings }, config).await;
        node.database = Some(database);
        node
    }

    /// A node over the database at `url`.
    pub async fn over(url: &str, config: Config) -> Self {
        Self::on(postgres::Config::at(url), config).await
    }

    /// A node over a database with settings of the test's.
    pub async fn on(database: postgres::Config, config: Config) -> Self {
        Self::over_all(vec![database], config).await
    }

    /// A node over several databases, all of which answer.
    pub async fn over_all(databases: Vec<postgres::Config>, config: Config) -> Self {
        Self::run(config, Place::Databases(databases)).await
    }

    /// A node over several databases, some of which may not answer: nothing is waited for.
    pub async fn over_some(databases: Vec<postgres::Config>, config: Config) -> Self {
        Self::start_in(config, Place::Databases(databases)).await
    }

    async fn run(config: Config, place: Place) -> Self {
        let node = Self::start_in(config, place).await;
        until("the node follows the feed", async || node.tiers.freshness().verdict() == Verdict::Fresh).await;
        node
    }

    async fn start_in(config: Config, place: Place) -> Self {
        let app = App::build(&config, &place, None).await.expect("build a node");
        let (public, operations) = app.addresses();
        let (service, tiers, stop) = (app.service().clone(), app.tiers().clone(), CancellationToken::new());
        let telemetry = app.telemetry().clone();
        let running = tokio::spawn(app.run(stop.clone()));
        Node { public, operations, service, tiers, telemetry, stop, running, database: None }
    }

    /// The WebSocket's URL.
    pub fn url(&self) -> String {
        format!("ws://{}/v1/ws", self.public)
    }

    /// The address clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.public
    }

    /// The address of health, metrics and statistics.
    pub fn operations(&self) -> SocketAddr {
        self.operations
    }

    /// A URL on the public listener.
    pub fn http(&self, path: &str) -> String {
        format!("http://{}{path}", self.public)
    }

    /// The service, without a socket.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// The tiers that answer reads.
    pub fn tiers(&self) -> &Tiers {
        &self.tiers
    }

    /// The database made for this node.
    pub fn database(&self) -> &TestDatabase {
        self.database.as_ref().expect("a node over a database of its own")
    }

    /// The node's counters and gauges as they stand now.
    pub fn metrics(&self) -> Reading {
        self.telemetry.read()
    }

    /// The sum of a metric over its labels.
    pub async fn metric(&self, name: &str) -> f64 {
        self.metrics().sum(name).unwrap_or_else(|| panic!("no metric {name}")) as f64
    }

    /// Drains the node and waits for its end.
    pub async fn stop(self) {
        self.stop.cancel();
        timeout(LIMIT, self.running).await.expect("drains in time").expect("joins").expect("ends well");
    }
}

/// Waits until `holds`, looking again every few milliseconds.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    within(what, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    })
    .await;
}

/// Runs `work` within [`LIMIT`].
pub async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    timeout(LIMIT, work).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}
