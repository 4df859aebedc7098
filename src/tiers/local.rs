//! L1: records in this process, as the bytes they are sent as.
//!
//! Bounded in bytes; the entry used longest ago makes room. A replay of real traces through moka alone, with its TinyLFU,
//! hit up to nine of a hundred reads less than LRU, and more only in the smallest rooms. An entry expires after a time that differs a little
//! for each, so that a burst of fills does not come back as a burst of misses.

use std::{
    hash::BuildHasher as _,
    sync::Arc,
    time::{Duration, Instant},
};

use bytesize::ByteSize;
use moka::{Expiry, policy::EvictionPolicy, sync::Cache};
use parking_lot::{Mutex, MutexGuard};
use rand::Rng as _;
use serde::{Deserialize, Serialize};

use super::{entry::Entry, era::Eras, thread_cache::ThreadCaches};
use crate::record::{RecordId, RecordRef, ShardId, Stamp, State};

/// What the cache's own nodes take for an entry, counted with a heap profile of moka 0.12.
const ENTRY_OVERHEAD_BYTES: usize = 160;
/// Lock stripes, which records share by hash. moka has a lock for each key of its own
/// (`and_compute_with`), which costs a map's insert and removal, and allocations, each time.
const STRIPES: usize = 1024;
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
    entries: Cache<RecordId, Arc<Entry>, foldhash::fast::RandomState>,
    caches: Arc<ThreadCaches>,
    eras: Arc<Eras>,
    stripes: Arc<[Mutex<()>]>,
    hasher: foldhash::fast::RandomState,
    lifetime: Lifetime,
}

impl Local {
    /// An empty cache of records of `shards` shards.
    pub fn new(config: &Config, shards: u32) -> Self {
        let entries = Cache::builder()
            .max_capacity(config.capacity.as_u64())
            .weigher(|_: &RecordId, entry: &Arc<Entry>| Self::weight(entry))
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(AsTheySay)
            .build_with_hasher(foldhash::fast::RandomState::default());
        let lifetime = Lifetime { present: config.ttl, absent: config.absent_ttl };
        Local {
            entries,
            caches: Arc::new(ThreadCaches::new(config.capacity.as_u64())),
            eras: Arc::new(Eras::new(shards)),
            stripes: std::iter::repeat_with(Mutex::default).take(STRIPES).collect(),
            hasher: foldhash::fast::RandomState::default(),
            lifetime,
        }
    }

    /// The bytes that an entry counts for against [`Config::capacity`].
    pub fn weight(entry: &Entry) -> u32 {
        u32::try_from(entry.bytes() + ENTRY_OVERHEAD_BYTES).unwrap_or(u32::MAX)
    }

    /// Answers from the entry of a record, if there is one.
    pub fn get<R>(&self, record: &RecordRef<'_>, now: Instant, answer: impl FnOnce(&Entry) -> R) -> Option<R> {
        // What threads keep needs no look at its era: they forget everything when one ends.
        self.caches.read(record, now, || self.find(record), answer)
    }

    /// Whether there is an entry, or was one that has been forgotten; does not count as a use.
    pub fn contains(&self, record: &RecordRef<'_>) -> bool {
        self.entries.contains_key(record)
    }

    /// Puts what `admit` allows in place of an entry that is older, and returns the state that stands then. `admit` runs
    /// while no other thread changes the entry, and says `None` when the state offered is too old.
    pub fn install(&self, id: &RecordId, shard: ShardId, admit: impl FnOnce() -> Option<State>) -> Option<State> {
        let record = id.as_ref();
        let _stripe = self.lock_stripe(&record);
        let _changing = self.caches.change(&record);
        let state = admit()?;
        match self.find(&record) {
            Some(entry) if entry.state().stamp > state.stamp => return Some(entry.state().clone()),
            Some(entry) if entry.state().stamp == state.stamp => {}
            _ => {
                let expires = Instant::now() + self.lifetime.of(&state);
                self.entries
                    .insert(id.clone(), Arc::new(Entry::new(id.clone(), state.clone(), expires, self.eras.of(shard))));
            }
        }
        Some(state)
    }

    /// Removes an entry that is older than `stamp`.
    pub fn remove_older(&self, id: &RecordId, stamp: Stamp) {
        let record = id.as_ref();
        let _stripe = self.lock_stripe(&record);
        let _changing = self.caches.change(&record);
        if self.entries.get(&record).is_some_and(|entry| entry.state().stamp < stamp) {
            self.entries.invalidate(&record);
        }
    }

    /// Removes an entry, whatever its stamp, after `refuse`, during which no other thread changes the entry: what it makes
    /// floors refuse is not put back.
    pub fn remove(&self, id: &RecordId, refuse: impl FnOnce()) {
        let record = id.as_ref();
        let _stripe = self.lock_stripe(&record);
        let _changing = self.caches.change(&record);
        refuse();
        self.entries.invalidate(&record);
    }

    /// Waits until no other thread changes the entry of `record`.
    fn lock_stripe(&self, record: &RecordRef<'_>) -> MutexGuard<'_, ()> {
        self.stripes[self.hasher.hash_one(record) as usize % STRIPES].lock()
    }

    /// Forgets what stands now of `shards`. Its memory is given back as entries make room, or expire.
    pub fn forget(&self, shards: impl IntoIterator<Item = ShardId>) {
        let _changing = self.caches.change_all();
        shards.into_iter().for_each(|shard| self.eras.end(shard));
    }

    fn find(&self, record: &RecordRef<'_>) -> Option<Arc<Entry>> {
        self.entries.get(record).filter(|entry| self.eras.is_present(entry.era()))
    }

    /// Entries held, about.
    pub fn entries(&self) -> u64 {
        self.entries.entry_count()
    }

    /// Bytes held, about.
    pub fn bytes(&self) -> u64 {
        self.entries.weighted_size()
    }

    /// The most bytes it may hold.
    pub fn capacity(&self) -> u64 {
        self.entries.policy().max_capacity().unwrap_or(u64::MAX)
    }
}

#[derive(Clone, Copy)]
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

/// Entries know when their time is over.
struct AsTheySay;

impl Expiry<RecordId, Arc<Entry>> for AsTheySay {
    fn expire_after_create(&self, _: &RecordId, entry: &Arc<Entry>, now: Instant) -> Option<Duration> {
        Some(entry.expires().saturating_duration_since(now))
    }

    fn expire_after_update(
        &self,
        _: &RecordId,
        entry: &Arc<Entry>,
        now: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(entry.expires().saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU64, Ordering},
        thread,
    };

    use bytes::Bytes;

    use super::*;
    use crate::record::{CollectionId, Key};

    const SHARD: ShardId = ShardId(1);

    fn state(version: u64) -> State {
        State { stamp: Stamp::new(1, version), value: Some(Bytes::from(vec![b'x'; 1000])) }
    }

    #[test]
    fn only_a_newer_state_replaces_an_entry() {
        let local = Local::new(&Config::default(), 4);
        let id = RecordId::new(CollectionId(0), Key::from_database("a"));
        local.install(&id, SHARD, || Some(state(2)));
        let stands = local.install(&id, SHARD, || Some(state(1)));
        assert_eq!(stands.map(|state| state.stamp.version), Some(2));
        assert!(local.install(&id, SHARD, || None).is_none());
        local.remove_older(&id, Stamp::new(1, 2));
        assert!(local.contains(&id.as_ref()));
        local.remove_older(&id, Stamp::new(1, 3));
        assert!(!local.contains(&id.as_ref()));
    }

    #[test]
    fn what_is_forgotten_is_neither_answered_nor_stands_against_an_older_state() {
        let local = Local::new(&Config::default(), 4);
        let id = |key| RecordId::new(CollectionId(0), Key::from_database(key));
        let version = |key| local.get(&id(key).as_ref(), Instant::now(), |entry| entry.state().stamp.version);
        local.install(&id("a"), SHARD, || Some(state(7)));
        local.install(&id("b"), ShardId(2), || Some(state(7)));
        assert_eq!((version("a"), version("b")), (Some(7), Some(7)), "this thread keeps them");
        local.forget([SHARD]);
        assert_eq!((version("a"), version("b")), (None, Some(7)));
        // Of a history in which fewer versions were used.
        let stands = local.install(&id("a"), SHARD, || Some(state(3)));
        assert_eq!((stands.map(|state| state.stamp.version), version("a")), (Some(3), Some(3)));
    }

    #[test]
    fn of_states_installed_at_once_the_newest_stands() {
        let local = Local::new(&Config::default(), 4);
        let id = RecordId::new(CollectionId(0), Key::from_database("a"));
        let versions = AtomicU64::new(1);
        let install = || {
            for _ in 0..20_000 {
                let version = versions.fetch_add(1, Ordering::Relaxed);
                local.install(&id, SHARD, || Some(state(version)));
                let stands = local.get(&id.as_ref(), Instant::now(), |entry| entry.state().stamp.version);
                assert!(stands >= Some(version), "{stands:?} stands after {version}");
            }
        };
        thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(install))));
    }

    #[test]
    fn memory_stays_within_its_bound() {
        let local = Local::new(&Config { capacity: ByteSize::kib(64), ..Config::default() }, 4);
        for n in 0..1_000 {
            let id = RecordId::new(CollectionId(0), Key::from_database(n.to_string()));
            local.install(&id, SHARD, || Some(state(1)));
        }
        local.entries.run_pending_tasks();
        assert!(local.bytes() <= 64 * 1024, "{} bytes are held", local.bytes());
        assert!(local.entries() > 0);
    }
}
