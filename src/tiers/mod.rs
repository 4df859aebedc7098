//! The read path: L1, the filter, the shared cache, then the store; and the rule by which every level only moves forward.
//!
//! Promises, for each key and within a generation: no answer is older than one given before by this node; an answer
//! without an age reflects every change that was visible on the primary [`freshness::Config::fresh`] before it,
//! absences included. Leaves to `changes` how changes arrive, and to `hub` who is told of them.

mod answers;
mod apply;
pub mod audit;
mod base;
mod batch;
mod chains;
mod changed;
pub mod entry;
pub mod era;
mod fills;
pub mod filter;
mod floors;
pub mod freshness;
pub mod local;
mod lookups;
mod read;
mod read_queue;
mod route;
mod seqcount;
mod shadow;
mod shared;
mod shared_queue;
#[cfg(test)]
mod simulation;
mod standing;
mod thread_cache;
mod view;
pub mod whereabouts;

use std::sync::Arc;

use prometheus::{GaugeVec, IntCounter, IntGauge};
use serde::{Deserialize, Serialize};

pub use batch::{Batcher, Loaded};
pub use chains::{SharedDatabase, SharedState};
pub use changed::{Found, Grant};
pub use read::{Answer, ReadOptions, Source};
pub use read_queue::Join;

use self::{
    answers::Answers,
    audit::Audits,
    filter::Filters,
    freshness::Freshness,
    local::Local,
    shared::SharedReads,
    standing::Standings,
    view::{View, Views},
};
use crate::{
    record::{CollectionId, DatabaseId, Position, RecordRef},
    shared::Cache,
    store::Store,
    telemetry::Telemetry,
};

/// How the tiers are sized.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The cache in this process.
    pub local: local::Config,
    /// The filters of absent keys.
    pub filter: filter::Config,
    /// When cached values may be believed.
    pub freshness: freshness::Config,
    /// Comparing what is cached with the databases.
    pub audit: audit::Config,
    /// For how many marks a read may be under way and still be used (20 marks are about a second).
    pub window: Window,
    /// Keys changed or read within the window whose newest version is remembered, at the most: 100 to 200 bytes and the
    /// key for each. Beyond it the window becomes shorter.
    pub floors_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            local: local::Config::default(),
            filter: filter::Config::default(),
            freshness: freshness::Config::default(),
            audit: audit::Config::default(),
            window: Window::default(),
            floors_max: 250_000,
        }
    }
}

/// A number of marks.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Window(pub u64);

impl Default for Window {
    /// A minute of marks at one every 50 ms.
    fn default() -> Self {
        Window(1_200)
    }
}

/// The tiers of one node. Cheap to clone.
#[derive(Clone)]
pub struct Tiers {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    batcher: Batcher,
    local: Local,
    shared: Option<SharedReads>,
    views: Views,
    standings: Standings,
    answers: Answers,
    audits: Audits,
    stale_reads: IntCounter,
    store_reads: IntCounter,
    age: GaugeVec,
    local_entries: IntGauge,
    local_bytes: IntGauge,
    floors_held: IntGauge,
}

impl Tiers {
    /// Empty tiers over `store` and, where there is one, the cache that all nodes share.
    pub fn new(config: &Config, store: Store, shared: Option<Cache>, telemetry: &Telemetry) -> Self {
        let shards = store.catalogue().iter().map(|collection| collection.modulus).max().unwrap_or(1);
        let inner = Inner {
            batcher: Batcher::new(
                store.clone(),
                telemetry.counter("freshet_tiers_statements_total", "Statements that read the store for a client."),
            ),
            local: Local::new(&config.local, shards),
            shared: shared.map(|cache| SharedReads::new(cache, telemetry)),
            views: Views::new(config, store.databases().count(), store.catalogue()),
            standings: Standings::new(shards),
            answers: Answers::new(telemetry),
            audits: Audits::new(&config.audit, telemetry),
            stale_reads: telemetry
                .counter("freshet_tiers_stale_reads_total", "Store reads that were older than what the node knew."),
            store_reads: telemetry.counter("freshet_tiers_store_reads_total", "Reads that went to the store."),
            age: telemetry.durations(
                "freshet_tiers_age_seconds",
                "The age of the newest proof that every change is applied.",
                &["database"],
            ),
            local_entries: telemetry.gauge("freshet_tiers_local_entries", "Records held in this process, about."),
            local_bytes: telemetry.gauge("freshet_tiers_local_bytes", "Memory that they take, about."),
            floors_held: telemetry.gauge("freshet_tiers_floors", "Keys whose newest version is remembered, about."),
            store,
        };
        let help = "What freshet_tiers_local_bytes may come to: tiers.local.capacity.";
        telemetry.limit("freshet_tiers_local_max_bytes", help, config.local.capacity.as_u64());
        telemetry.limit("freshet_tiers_floors_max", "What freshet_tiers_floors may come to.", config.floors_max);
        Tiers { inner: Arc::new(inner) }
    }

    /// The databases behind, with their names.
    pub fn databases(&self) -> impl Iterator<Item = (DatabaseId, &str)> {
        self.inner.store.databases().map(|database| (database, self.inner.store.name(database)))
    }

    /// The filters of absent keys of a database.
    pub fn filters(&self, database: DatabaseId) -> &Filters {
        &self.inner.views.of(database).filters
    }

    /// Whether every database has a filter for the collection in use.
    pub fn is_filtered(&self, collection: CollectionId) -> bool {
        self.inner.views.iter().all(|view| view.filters.is_ready(collection))
    }

    /// Whether a filter says that the record is certainly absent from what was scanned and applied.
    pub fn denies(&self, record: RecordRef<'_>) -> bool {
        self.view_of(record).is_some_and(|view| view.filters.denies(record))
    }

    /// The cache in this process.
    pub fn local(&self) -> &Local {
        &self.inner.local
    }

    /// The oldest of the certificates that the node has, one for each database.
    pub fn freshness(&self) -> &Freshness {
        self.inner.views.oldest()
    }

    /// The certificate for a database.
    pub fn freshness_of(&self, database: DatabaseId) -> &Freshness {
        &self.inner.views.of(database).freshness
    }

    /// The last mark of a database that was applied.
    pub fn applied(&self, database: DatabaseId) -> Position {
        self.inner.views.of(database).floors.applied()
    }

    /// What is known of the database that owns the record; `None` where its shard has no owner.
    fn view_of(&self, record: RecordRef<'_>) -> Option<&View> {
        self.owner_of(record).map(|database| self.inner.views.of(database))
    }

    fn owner_of(&self, record: RecordRef<'_>) -> Option<DatabaseId> {
        let shard = self.inner.store.shard_of(record).ok()?;
        self.inner.store.owner(shard).ok()
    }

    /// Builds the filter of every collection of a database that needs one. One that cannot be built keeps no other from it.
    pub async fn build_filters(&self, database: DatabaseId) {
        let filters = self.filters(database);
        for collection in self.inner.store.catalogue().iter() {
            if !filters.needs_build(collection.id) {
                continue;
            }
            let name = &collection.name;
            match filters.build(&self.inner.store, database, collection.id).await {
                Ok(keys) => tracing::info!(collection = %name, keys, "built the filter of absent keys"),
                Err(error) => tracing::warn!(
                    %error, collection = %name,
                    "the filter of absent keys could not be built; they go to the database until it is"
                ),
            }
        }
    }

    /// Shows the age of the certificate and the size of L1 to whoever reads the counters.
    pub fn observe(&self) {
        let held = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        for database in self.inner.store.databases() {
            let age = self.freshness_of(database).age().as_secs_f64();
            self.inner.age.with_label_values(&[self.inner.store.name(database)]).set(age);
        }
        self.inner.local_entries.set(held(self.inner.local.entries()));
        self.inner.local_bytes.set(held(self.inner.local.bytes()));
        let floors: usize = self.inner.views.iter().map(|view| view.floors.len()).sum();
        self.inner.floors_held.set(held(floors as u64));
    }

    /// Waits until a read of a database has met a new generation.
    pub async fn reset_met(&self, database: DatabaseId) {
        self.inner.views.of(database).reset.notified().await;
    }
}
