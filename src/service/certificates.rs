//! What the watchers of records are told of the certificates of their databases, and the task that sees them lapse and return.
//!
//! Promises: when a database's certificate is older than `tiers.freshness.fresh`, the slots of its records are doubted, and
//! once more when it is proven again; a record whose change could not be read for so long is treated alike, by itself. Slots of
//! other databases are left alone. While every certificate is fresh the task wakes once a second and looks at no slot.
//!
//! The verdict that watchers are told is decided here and kept, not taken anew by each connection: a connection that saw a lapse
//! which this task did not see would never be told of its end. (`tests/it/freshness.rs`)

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use crate::{
    hub::{Hub, Proven, Topic},
    record::{DatabaseId, RecordRef, ShardId},
    store::Store,
    tiers::Tiers,
};

/// How often the task looks while a certificate has lapsed, and at the most.
const PACE_MIN: Duration = Duration::from_millis(100);
/// How often it looks at the least: for records that are owed, and for shards that have come, gone or moved.
const PACE_MAX: Duration = Duration::from_secs(1);

/// Which certificates are fresh, as watchers are told. Cheap to clone.
#[derive(Clone)]
pub struct Certificates {
    store: Store,
    tiers: Tiers,
    hub: Hub,
    /// Of each database. Fresh at first: what is read at the start is no older than the node.
    are_fresh: Arc<[AtomicBool]>,
    opened: Instant,
}

impl Certificates {
    pub(super) fn new(store: Store, tiers: Tiers, hub: Hub) -> Self {
        let are_fresh = store.databases().map(|_| AtomicBool::new(true)).collect();
        Certificates { store, tiers, hub, are_fresh, opened: Instant::now() }
    }

    /// How far the state of a watched record is proven that its watchers have when everything marked has been sent.
    pub fn proven(&self, topic: &Topic) -> Proven {
        // The certificate first: when it vouches for a change, the topic is owed that change, or has been offered it.
        let certified = self.certified(topic.id().as_ref());
        self.with_owed(certified, topic)
    }

    /// How far what this node knows of a record is proven now, whether somebody watches it or not.
    pub fn proven_now(&self, record: RecordRef<'_>) -> Proven {
        let age = self.certified(record).age;
        let certified = Proven { is_fresh: self.owner(record).is_some() && age <= self.limit(), age };
        self.hub.topic(record).map_or(certified, |topic| self.with_owed(certified, &topic))
    }

    fn certified(&self, record: RecordRef<'_>) -> Proven {
        match self.owner(record) {
            Some(database) => Proven {
                age: self.tiers.freshness_of(database).age(),
                is_fresh: self.are_fresh[database.index()].load(Ordering::SeqCst),
            },
            // No database vouches for it. Whatever was read of it, this node read it.
            None => Proven { age: self.opened.elapsed(), is_fresh: false },
        }
    }

    fn with_owed(&self, certified: Proven, topic: &Topic) -> Proven {
        let Some(owed) = topic.owed().map(|since| since.elapsed()) else { return certified };
        Proven { is_fresh: certified.is_fresh && owed <= self.limit(), age: certified.age.max(owed) }
    }

    fn owner(&self, record: RecordRef<'_>) -> Option<DatabaseId> {
        self.store.owner(self.store.shard_of(record).ok()?).ok()
    }

    fn limit(&self) -> Duration {
        self.tiers.freshness().fresh()
    }

    /// Watches the certificates until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut owned = self.owned();
        while stop.run_until_cancelled(tokio::time::sleep(self.pause())).await.is_some() {
            let changed: Vec<_> = self.store.databases().filter(|&database| self.has_changed(database)).collect();
            if !changed.is_empty() {
                self.hub.doubt(|record| self.owner(record).is_some_and(|owner| changed.contains(&owner))).await;
            }
            self.hub.doubt_overdue(self.limit());
            let owned_now = self.owned();
            if owned != owned_now {
                owned = owned_now;
                self.hub.doubt(|_| true).await;
            }
        }
    }

    /// Until the first certificate can lapse or, where one has, until it may have returned.
    fn pause(&self) -> Duration {
        let pauses = self.store.databases().map(|database| match self.is_fresh(database) {
            true => self.limit().saturating_sub(self.tiers.freshness_of(database).age()) + Duration::from_millis(1),
            false => PACE_MIN,
        });
        pauses.min().unwrap_or(PACE_MAX).clamp(PACE_MIN.min(self.limit()), PACE_MAX)
    }

    /// Takes the verdict on a database; whether it is another than before.
    fn has_changed(&self, database: DatabaseId) -> bool {
        // By age alone, which begins with the node: before the first poll, everything that was read is as young.
        let is_fresh = self.tiers.freshness_of(database).age() <= self.limit();
        let was_fresh = self.are_fresh[database.index()].swap(is_fresh, Ordering::SeqCst);
        if was_fresh && !is_fresh {
            tracing::warn!(database = self.store.name(database), "nothing is proven; watchers of its records are told");
        }
        was_fresh != is_fresh
    }

    fn is_fresh(&self, database: DatabaseId) -> bool {
        self.are_fresh[database.index()].load(Ordering::SeqCst)
    }

    fn owned(&self) -> Vec<Vec<ShardId>> {
        self.store.databases().map(|database| self.store.owned(database)).collect()
    }
}
