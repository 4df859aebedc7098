//! The composition root: a node is built bottom-up, run, and drained top-down in named phases.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    changes::{Counters, Follower, Keeper, Listener, Relay},
    config::Config,
    gateway::{Gateway, Page, Readiness},
    hub::Hub,
    record::DatabaseId,
    resilience::Deadline,
    service::Service,
    session::Sessions,
    shared::{self, Cache},
    shutdown::{Tasks, first_ended, phase},
    store::{
        self, Memory, Postgres, Store,
        memory::SchemaError,
        postgres::{
            self,
            migrate::{self, Source},
            server::{self, Options, PrivateServer},
        },
    },
    telemetry::Telemetry,
    tiers::{Tiers, freshness::Verdict},
};

/// The database made in a private server.
pub const DATABASE: &str = "freshet";
/// How long a database may take to answer at the start.
const OPEN_LIMIT: Duration = Duration::from_secs(10);
/// How often filters are looked at.
const FILTER_INTERVAL: Duration = Duration::from_millis(500);
/// How often gauges are set.
const GAUGE_INTERVAL: Duration = Duration::from_millis(500);
/// The limits of the drain's phases.
const CLIENTS_LIMIT: Duration = Duration::from_secs(5);
const PHASE_LIMIT: Duration = Duration::from_secs(10);

/// Why a node cannot start, or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An address is taken or not ours.
    #[error("failed to listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The key of `[gateway]`, and the option, that says which.
        key: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The private server did not start.
    #[error("failed to start a private PostgreSQL")]
    Server(#[from] server::Error),
    /// The shared cache is configured wrongly.
    #[error("failed to set up the shared cache")]
    Shared(#[from] shared::Error),
    /// The store could not be opened or set up.
    #[error("failed to open the store")]
    Store(#[from] store::Error),
    /// One of the long-lived tasks ended before the node was told to stop.
    #[error(
        "the task \"{task}\" ended unexpectedly, and with it the node; start it again, and report what the log says"
    )]
    TaskEnded {
        /// Its name.
        task: &'static str,
    },
    /// The private server ended before the node was told to stop: its disk may be full.
    #[error("the private PostgreSQL ended, and with it the node")]
    ServerEnded(#[source] server::Error),
    /// The memory store's collections are wrong.
    #[error("failed to set up the memory store")]
    Schema(#[from] SchemaError),
}

/// Where records are kept.
#[derive(Clone, Debug)]
pub enum Place {
    /// In these databases, each of which owns some of the shards.
    Databases(Vec<postgres::Config>),
    /// In a private PostgreSQL that keeps its data in this folder.
    Private(PathBuf),
    /// In one that has the demo's collection as well.
    Demo(PathBuf),
    /// In this process.
    Memory,
}

/// A node that is ready to run.
pub struct App {
    private: Option<PrivateServer>,
    store: Store,
    tiers: Tiers,
    sessions: Sessions,
    gateway: Gateway,
    readiness: Readiness,
    telemetry: Telemetry,
    tasks: Tasks,
    /// The accept loops stop apart from each other: the public one first, the other last.
    accepting: Tasks,
    operating: Tasks,
    public: TcpListener,
    operations: TcpListener,
}

impl App {
    /// Builds a node. It listens already, and answers once [`App::run`] is called.
    ///
    /// # Errors
    /// [`Error`]; whatever was started has been stopped again.
    pub async fn build(config: &Config, place: &Place, page: Option<Page>) -> Result<Self, Error> {
        // The addresses first: a port in use should be said before a database is started.
        let public = listen(config.gateway.listen, "listen").await?;
        let operations = listen(config.gateway.operations, "operations").await?;
        let telemetry = Telemetry::new();
        telemetry.add_process();
        let (store, private) = open_store(config, place, &telemetry).await?;
        let shared = shared_cache(config, place, &telemetry)?;
        let tiers = Tiers::new(&config.tiers, store.clone(), shared.clone(), &telemetry);
        let hub = Hub::new(&telemetry);
        let service = Service::new(config.service.clone(), store.clone(), tiers.clone(), hub.clone(), &telemetry);
        let sessions = Sessions::new(config.session.clone(), service, &telemetry);
        let readiness = Readiness::new(sessions.service().clone(), store.clone(), telemetry.clone());
        let gateway =
            Gateway::new(config.gateway.clone(), sessions.clone(), telemetry.clone(), readiness.clone(), page);
        let tasks = Tasks::new();
        let counters = Counters::new(&telemetry);
        for database in store.databases() {
            let relay = Relay::new(database, store.clone(), tiers.clone(), &counters);
            tasks.spawn("relay", |stop| relay.run(stop));
            let mut follower = Follower::new(database, store.clone(), tiers.clone(), hub.clone(), &counters);
            if let Some(cache) = &shared {
                let keeper = Keeper::new(database, store.clone(), cache.clone(), &counters);
                tasks.spawn("keeper", |stop| keeper.run(stop));
                let (listener, hints) = Listener::new(database, store.clone(), cache.clone());
                tasks.spawn("hints", |stop| listener.run(stop));
                follower = follower.told(hints, cache.config().slices() as usize);
            }
            tasks.spawn("follower", |stop| follower.run(stop));
            let filtered = tiers.clone();
            tasks.spawn("filters", move |stop| keep_filters(filtered, database, stop));
        }
        let filled = tiers.clone();
        tasks.spawn("shared fills", |stop| filled.fill_shared(stop));
        let audited = tiers.clone();
        tasks.spawn("audit", |stop| audited.audit(stop));
        let observed = tiers.clone();
        tasks.spawn("gauges", |stop| keep_gauges(observed, stop));
        tasks.spawn("hub", |stop| hub.run(stop));
        let certificates = sessions.service().certificates().clone();
        tasks.spawn("certificates", |stop| certificates.run(stop));
        let beating = sessions.clone();
        tasks.spawn("heartbeat", |stop| beating.keep_alive(stop));
        let (accepting, operating) = (Tasks::new(), Tasks::new());
        Ok(App {
            private,
            store,
            tiers,
            sessions,
            gateway,
            readiness,
            telemetry,
            tasks,
            accepting,
            operating,
            public,
            operations,
        })
    }

    /// The addresses clients and operators reach this node at.
    pub fn addresses(&self) -> (SocketAddr, SocketAddr) {
        let address = |listener: &TcpListener| listener.local_addr().expect("a bound listener has an address");
        (address(&self.public), address(&self.operations))
    }

    /// The service, for what runs beside the node in this process.
    pub fn service(&self) -> &Service {
        self.sessions.service()
    }

    /// The store behind the node.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The tiers of the node.
    pub fn tiers(&self) -> &Tiers {
        &self.tiers
    }

    /// What the node counts.
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// The long-lived tasks, in groups that stop together: if one of them ends unexpectedly, the node ends.
    pub fn tasks(&self) -> Vec<Tasks> {
        let own = [&self.tasks, &self.accepting, &self.operating];
        own.into_iter().chain(self.store.tasks()).cloned().collect()
    }

    /// Serves until `stop`, then drains.
    ///
    /// # Errors
    /// [`Error::TaskEnded`] and [`Error::ServerEnded`]: the node could not go on, and was drained.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        let groups = self.tasks();
        let (gateway, listener) = (self.gateway.clone(), self.public);
        self.accepting.spawn("public listener", |stop| async move { gateway.serve_public(listener, stop).await });
        let (gateway, listener) = (self.gateway, self.operations);
        self.operating
            .spawn("operations listener", |stop| async move { gateway.serve_operations(listener, stop).await });
        let ended = tokio::select! {
            () = stop.cancelled() => Ok(()),
            task = first_ended(&groups) => Err(Error::TaskEnded { task }),
            error = server_end(&mut self.private) => Err(Error::ServerEnded(error)),
        };
        if let Err(error) = &ended {
            tracing::error!(%error, "the node cannot go on");
        }
        tracing::info!("drains");
        self.readiness.drain();
        self.accepting.cancel();
        // An upgrade under way may still join until the listener has ended, so its clients are told after it.
        phase("tell clients", CLIENTS_LIMIT, self.sessions.drain()).await;
        end(&self.accepting).await;
        phase("tell the last clients", CLIENTS_LIMIT, self.sessions.drain()).await;
        phase("flush writes and close the store", PHASE_LIMIT, self.store.close()).await;
        end(&self.tasks).await;
        end(&self.operating).await;
        if let Some(private) = self.private {
            phase("stop the private PostgreSQL", PHASE_LIMIT * 3, private.stop()).await;
        }
        tracing::info!("drained");
        ended
    }
}

/// Waits until the private server ends by itself, and returns the reason. Without a private server it waits for ever.
async fn server_end(private: &mut Option<PrivateServer>) -> server::Error {
    match private {
        Some(private) => private.ended().await,
        None => std::future::pending().await,
    }
}

/// A phase of the drain that waits for tasks to end.
async fn end(tasks: &Tasks) {
    for task in tasks.stop(PHASE_LIMIT).await {
        tracing::warn!(task, "drain: it failed, or did not end in time and was ended");
    }
}

async fn listen(address: SocketAddr, key: &'static str) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Listen { address, key, source })
}

async fn open_store(
    config: &Config,
    place: &Place,
    telemetry: &Telemetry,
) -> Result<(Store, Option<PrivateServer>), Error> {
    let counters = || postgres::Counters::new(telemetry);
    match place {
        Place::Memory => {
            let memory = Memory::new(config.collections.clone(), config.shards)?;
            Ok((Store::Memory(Arc::new(memory)), None))
        }
        Place::Databases(databases) => {
            let postgres = Postgres::open(databases.clone(), &counters(), Deadline::after(OPEN_LIMIT)).await?;
            Ok((Store::Postgres(Arc::new(postgres)), None))
        }
        Place::Private(folder) | Place::Demo(folder) => {
            let source = if matches!(place, Place::Demo(_)) { Source::Demo } else { Source::Release };
            let private = PrivateServer::start(Options::new(folder)).await?;
            match open_private(config, &private, source, &counters()).await {
                Ok(store) => Ok((store, Some(private))),
                Err(error) => {
                    private.stop().await;
                    Err(error.into())
                }
            }
        }
    }
}

/// The second tier, if one is configured. Records in memory are this node's alone, so it is not used for them. That is no
/// reason to refuse the configuration: `--memory` wins over the `[[database]]` entries of the same file as well.
fn shared_cache(config: &Config, place: &Place, telemetry: &Telemetry) -> Result<Option<Cache>, shared::Error> {
    match (&config.redis, place) {
        (Some(_), Place::Memory) => {
            tracing::warn!("Redis is not used: records in memory are this node's alone");
            Ok(None)
        }
        (redis, _) => redis.clone().map(|redis| Cache::new(redis, telemetry)).transpose(),
    }
}

/// Sets the private server's database up, every shard in it, and opens it.
async fn open_private(
    config: &Config,
    private: &PrivateServer,
    source: Source<'_>,
    counters: &postgres::Counters,
) -> Result<Store, store::Error> {
    migrate::create_database(&private.url("postgres"), DATABASE).await?;
    let url = private.url(DATABASE);
    migrate::migrate_only(&url, config.shards, source).await?;
    let postgres = Postgres::open(vec![postgres::Config::at(url)], counters, Deadline::after(OPEN_LIMIT)).await?;
    Ok(Store::Postgres(Arc::new(postgres)))
}

/// Sets the gauges that nothing else keeps current.
async fn keep_gauges(tiers: Tiers, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(GAUGE_INTERVAL)).await.is_some() {
        tiers.observe();
        tiers.look_at_chains().await;
    }
}

/// Builds the filters of a database once its feed is followed, and again when they are worn: while it is not, a filter would
/// miss what changes during the scan, and would not be asked.
async fn keep_filters(tiers: Tiers, database: DatabaseId, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(FILTER_INTERVAL)).await.is_some() {
        if tiers.freshness_of(database).verdict() != Verdict::Fresh {
            continue;
        }
        stop.run_until_cancelled(tiers.build_filters(database)).await;
    }
}
