//! Who owns which shard, by what each database said last.

use std::{
    collections::HashMap,
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::{Mutex, RwLock};

use crate::{
    record::{DatabaseId, ShardId},
    store::{Error, topology::Topology},
};

/// A request that comes sooner than this after the databases were asked does not ask them again.
const REST: Duration = Duration::from_millis(200);

struct Reports {
    /// What each database said last.
    owned: Vec<Vec<ShardId>>,
    /// The first owner of each shard.
    first: HashMap<ShardId, DatabaseId>,
}

/// The databases' reports, and the topology that they make.
pub(super) struct Owners {
    reports: Mutex<Reports>,
    topology: RwLock<Arc<Topology>>,
    /// When the databases were asked last; held while they are.
    asked: tokio::sync::Mutex<Option<Instant>>,
}

impl Owners {
    /// None of `databases` has said anything yet.
    pub(super) fn new(databases: usize) -> Self {
        let reports = Reports { owned: vec![Vec::new(); databases], first: HashMap::new() };
        Owners { reports: Mutex::new(reports), topology: RwLock::default(), asked: Default::default() }
    }

    /// `database` owns `shards` now, and no others.
    pub(super) fn report(&self, database: DatabaseId, shards: Vec<ShardId>) {
        // Held until the topology stands, so that an older one never replaces a newer.
        let mut reports = self.reports.lock();
        let Reports { owned, first } = &mut *reports;
        owned[database.index()] = shards;
        let topology = Topology::of((0..).map(DatabaseId).zip(owned.iter().map(Vec::as_slice))).beside(first);
        *self.topology.write() = Arc::new(topology);
    }

    /// Runs `ask`, which has every database report, unless that was done since the caller began to wait, or just before.
    ///
    /// # Cancel safety
    /// If the caller that asks is dropped, the next one that waits asks in its place.
    pub(super) async fn ask_again(&self, ask: impl Future<Output = ()>) {
        let begun = Instant::now();
        let mut asked = self.asked.lock().await;
        if asked.is_none_or(|at| at + REST < begun) {
            ask.await;
            *asked = Some(Instant::now());
        }
    }

    /// What `database` said last.
    pub(super) fn owned(&self, database: DatabaseId) -> Vec<ShardId> {
        self.reports.lock().owned[database.index()].clone()
    }

    /// The one database that owns `shard`.
    ///
    /// # Errors
    /// [`Error::NotOwned`], [`Error::Disputed`].
    pub(super) fn owner(&self, shard: ShardId) -> Result<DatabaseId, Error> {
        self.topology.read().owner(shard)
    }
}
