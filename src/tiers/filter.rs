//! A bloom filter for each collection and database: a key that is not there stops here.
//!
//! Promises: it denies only what is absent from a scan and from every change applied since before that scan began.
//! Whether the node is fresh enough to believe a denial is the caller's question. A filter is built beside the one in
//! use and takes its place whole.

use std::{sync::Arc, time::Duration};

use bloomfilter::Bloom;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{
    record::{Catalogue, CollectionId, DatabaseId, Key, RecordId, RecordRef},
    resilience::Backoff,
    store::{Error, Store},
};

/// How long a build that failed waits to be tried again: at first, and at the most.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// How precise and how large filters are.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether absent keys are filtered at all.
    pub enabled: bool,
    /// The share of absent keys that may pass.
    pub false_positive_rate: f64,
    /// Room for at least this many keys.
    pub keys_min: usize,
    /// Room beyond the keys counted when a filter is built, as a factor.
    pub headroom: f64,
}

impl Default for Config {
    fn default() -> Self {
        Config { enabled: true, false_positive_rate: 0.01, keys_min: 10_000, headroom: 1.5 }
    }
}

/// A filter's bits with the counts that say when it is worn out.
struct Bits {
    bloom: Bloom<str>,
    capacity: usize,
    added: usize,
    deleted: usize,
}

impl Bits {
    fn new(capacity: usize, rate: f64) -> Result<Self, Error> {
        let bloom = Bloom::new_for_fp_rate(capacity, rate).map_err(|e| Error::broken(format!("make a filter: {e}")))?;
        Ok(Bits { bloom, capacity, added: 0, deleted: 0 })
    }

    fn add(&mut self, key: &str) {
        if !self.bloom.check_and_set(key) {
            self.added += 1;
        }
    }

    /// Too full for its rate, or holding many keys that are gone.
    fn is_worn(&self) -> bool {
        self.added > self.capacity || self.deleted > self.capacity / 4
    }
}

/// The filter in use and the one being built.
#[derive(Default)]
struct Slot {
    current: Option<Bits>,
    next: Option<Bits>,
    /// After a build that failed.
    pause: Option<Pause>,
}

/// Keeps a table that cannot be scanned, as somebody has locked it, say, from being scanned again and again.
struct Pause {
    backoff: Backoff,
    until: Instant,
}

impl Pause {
    fn extended(pause: Option<Pause>) -> Self {
        let mut backoff = pause.map_or_else(|| Backoff::new(PAUSE_MIN, PAUSE_MAX), |pause| pause.backoff);
        Pause { until: Instant::now() + backoff.next_wait(), backoff }
    }
}

/// The filters of all collections of one database. Cheap to clone.
#[derive(Clone)]
pub struct Filters {
    config: Arc<Config>,
    slots: Arc<[RwLock<Slot>]>,
}

impl Filters {
    /// No filter denies anything yet.
    pub fn new(config: Config, catalogue: &Catalogue) -> Self {
        let slots = catalogue.iter().map(|_| RwLock::default()).collect();
        Filters { config: Arc::new(config), slots }
    }

    /// Whether `record` is certainly absent from what was scanned and applied.
    pub fn denies(&self, record: RecordRef<'_>) -> bool {
        let slot = self.slot(record.collection).read();
        slot.current.as_ref().is_some_and(|bits| !bits.bloom.check(record.key))
    }

    /// Whether a filter is in use for the collection.
    pub fn is_ready(&self, collection: CollectionId) -> bool {
        self.slot(collection).read().current.is_some()
    }

    /// The memory that the collection's filter in use takes; 0 where there is none.
    pub fn bytes(&self, collection: CollectionId) -> u64 {
        self.slot(collection).read().current.as_ref().map_or(0, |bits| bits.bloom.len() / 8)
    }

    /// Takes in a record that exists.
    pub fn add(&self, id: &RecordId) {
        let mut slot = self.slot(id.collection).write();
        let Slot { current, next, .. } = &mut *slot;
        for bits in current.iter_mut().chain(next) {
            bits.add(id.key.as_str());
        }
    }

    /// Counts a deletion: the key's bits stay until the next filter.
    pub fn count_deletion(&self, collection: CollectionId) {
        if let Some(bits) = &mut self.slot(collection).write().current {
            bits.deleted += 1;
        }
    }

    /// Whether the collection needs a new filter, and has not failed to get one a moment ago.
    pub fn needs_build(&self, collection: CollectionId) -> bool {
        let slot = self.slot(collection).read();
        let is_paused = slot.pause.as_ref().is_some_and(|pause| pause.until > Instant::now());
        self.config.enabled && !is_paused && slot.current.as_ref().is_none_or(Bits::is_worn)
    }

    /// Denies nothing any more, until filters are built anew: history was lost.
    pub fn invalidate(&self) {
        self.slots.iter().for_each(|slot| *slot.write() = Slot::default());
    }

    /// Builds the collection's filter anew while the one in use goes on.
    ///
    /// The new filter takes every change that is applied from before the scan begins, and the scan shows those that were
    /// reported until then: so what its snapshots do not show reaches the filter as a change.
    ///
    /// # Errors
    /// What the scan failed with; the filter in use stays, and the next build has to wait: longer with each failure.
    ///
    /// # Cancel safety
    /// A half-built filter is never used; the next build replaces it.
    pub async fn build(&self, store: &Store, database: DatabaseId, collection: CollectionId) -> Result<usize, Error> {
        let built = self.try_build(store, database, collection).await;
        let mut slot = self.slot(collection).write();
        slot.pause = built.as_ref().err().map(|_| Pause::extended(slot.pause.take()));
        built
    }

    async fn try_build(&self, store: &Store, database: DatabaseId, collection: CollectionId) -> Result<usize, Error> {
        let counted = usize::try_from(store.estimate(database, collection).await?).unwrap_or(usize::MAX);
        let mut capacity = self.capacity(counted);
        loop {
            self.slot(collection).write().next = Some(Bits::new(capacity, self.config.false_positive_rate)?);
            store.scan(database, collection, |keys| self.take(collection, keys)).await?;
            let mut slot = self.slot(collection).write();
            match slot.next.take() {
                // Invalidated meanwhile: a reset will build again.
                None => return Ok(0),
                Some(bits) if bits.added > bits.capacity => capacity = self.capacity(bits.added),
                Some(bits) => {
                    let keys = bits.added;
                    slot.current = Some(bits);
                    return Ok(keys);
                }
            }
        }
    }

    fn take(&self, collection: CollectionId, keys: &[Key]) {
        if let Some(bits) = &mut self.slot(collection).write().next {
            keys.iter().for_each(|key| bits.add(key.as_str()));
        }
    }

    fn capacity(&self, keys: usize) -> usize {
        ((keys as f64 * self.config.headroom) as usize).max(self.config.keys_min)
    }

    fn slot(&self, collection: CollectionId) -> &RwLock<Slot> {
        &self.slots[usize::from(collection.0)]
    }
}
