//! L1: records in this process, as the bytes they are sent as.
//!
//! Bounded in bytes; an entry expires after a time that differs a little for each, so that a burst of fills does not
//! come back as a burst of misses.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytesize::ByteSize;
use moka::{
    Expiry,
    ops::compute::{CompResult, Op},
    sync::Cache,
};
use rand::Rng as _;
use serde::{Deserialize, Serialize};

use crate::record::{RecordId, RecordRef, State};

/// An entry's cost beyond key and value: the cache's own nodes, counted with a heap profile of moka 0.12.
const ENTRY_OVERHEAD_BYTES: usize = 200;
/// The share of its lifetime by which an entry's expiry is spread.
const JITTER: f64 = 0.1;

/// How much is kept and for how long.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The memory that records may take, keys and overhead included.
    pub capacity: ByteSize,
    /// How long a record is kept. The feed keeps it current meanwhile; this only bounds what an undetected fault
    /// could leave behind.
    #[serde(with = "humantime_serde")]
    pub ttl: Duration,
    /// How long an absence is kept.
    #[serde(with = "humantime_serde")]
    pub absent_ttl: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config { capacity: ByteSize::mib(256), ttl: Duration::from_secs(30 * 60), absent_ttl: Duration::from_secs(30) }
    }
}

/// The cache. Cheap to clone.
#[derive(Clone)]
pub struct Local {
    entries: Cache<RecordId, Arc<State>, foldhash::fast::RandomState>,
}

impl Local {
    /// An empty cache.
    pub fn new(config: &Config) -> Self {
        let entries = Cache::builder()
            .max_capacity(config.capacity.as_u64())
            .weigher(|id: &RecordId, state: &Arc<State>| Self::weight(id, state))
            .expire_after(Lifetime { present: config.ttl, absent: config.absent_ttl })
            .build_with_hasher(foldhash::fast::RandomState::default());
        Local { entries }
    }

    /// The bytes that a record counts for against [`Config::capacity`].
    pub fn weight(id: &RecordId, state: &State) -> u32 {
        let value = state.value.as_ref().map_or(0, bytes::Bytes::len);
        u32::try_from(id.key.as_str().len() + value + ENTRY_OVERHEAD_BYTES).unwrap_or(u32::MAX)
    }

    /// The entry of a record.
    pub fn get(&self, record: &RecordRef<'_>) -> Option<Arc<State>> {
        self.entries.get(record)
    }

    /// Whether there is an entry; does not count as a use.
    pub fn contains(&self, record: &RecordRef<'_>) -> bool {
        self.entries.contains_key(record)
    }

    /// Puts what `admit` allows in place of an entry that is older, and returns what stands then. `admit` runs under
    /// the cache's lock for the key, and says `None` when the state offered is too old.
    pub fn install(&self, id: &RecordId, admit: impl FnOnce() -> Option<State>) -> Option<Arc<State>> {
        let mut admitted = None;
        let result = self.entries.entry(id.clone()).and_compute_with(|current| {
            let Some(state) = admit() else { return Op::Nop };
            let state = Arc::new(state);
            admitted = Some(state.clone());
            match current {
                Some(entry) if entry.value().stamp >= state.stamp => Op::Nop,
                _ => Op::Put(state),
            }
        });
        admitted.map(|admitted| match result {
            CompResult::Unchanged(entry) if entry.value().stamp > admitted.stamp => entry.into_value(),
            _ => admitted,
        })
    }

    /// Removes an entry that is older than `stamp`.
    pub fn remove_older(&self, id: &RecordId, stamp: crate::record::Stamp) {
        self.entries.entry(id.clone()).and_compute_with(|current| match current {
            Some(entry) if entry.value().stamp < stamp => Op::Remove,
            _ => Op::Nop,
        });
    }

    /// Forgets everything that stands now.
    pub fn clear(&self) {
        self.entries.invalidate_all();
    }

    /// Entries held, about.
    pub fn entries(&self) -> u64 {
        self.entries.entry_count()
    }

    /// Bytes held, about.
    pub fn bytes(&self) -> u64 {
        self.entries.weighted_size()
    }
}

struct Lifetime {
    present: Duration,
    absent: Duration,
}

impl Lifetime {
    fn of(&self, state: &State) -> Duration {
        let whole = if state.value.is_some() { self.present } else { self.absent };
        whole.mul_f64(1.0 - JITTER * rand::rng().random::<f64>())
    }
}

impl Expiry<RecordId, Arc<State>> for Lifetime {
    fn expire_after_create(&self, _: &RecordId, state: &Arc<State>, _: Instant) -> Option<Duration> {
        Some(self.of(state))
    }

    fn expire_after_update(
        &self,
        _: &RecordId,
        state: &Arc<State>,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(self.of(state))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::record::{CollectionId, Key, Stamp};

    fn state(version: u64) -> State {
        State { stamp: Stamp::new(1, version), value: Some(Bytes::from(vec![b'x'; 1000])) }
    }

    #[test]
    fn only_a_newer_state_replaces_an_entry() {
        let local = Local::new(&Config::default());
        let id = RecordId::new(CollectionId(0), Key::from_database("a"));
        local.install(&id, || Some(state(2)));
        let stands = local.install(&id, || Some(state(1)));
        assert_eq!(stands.map(|s| s.stamp.version), Some(2));
        assert!(local.install(&id, || None).is_none());
        local.remove_older(&id, Stamp::new(1, 2));
        assert!(local.contains(&id.as_ref()));
        local.remove_older(&id, Stamp::new(1, 3));
        assert!(!local.contains(&id.as_ref()));
    }

    #[test]
    fn memory_stays_within_its_bound() {
        let local = Local::new(&Config { capacity: ByteSize::kib(64), ..Config::default() });
        for n in 0..1_000 {
            let id = RecordId::new(CollectionId(0), Key::from_database(n.to_string()));
            local.install(&id, || Some(state(1)));
        }
        local.entries.run_pending_tasks();
        assert!(local.bytes() <= 64 * 1024, "{} bytes are held", local.bytes());
        assert!(local.entries() > 0);
    }
}
