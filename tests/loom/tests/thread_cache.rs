//! Threads that read a record while it changes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use freshet_loom::{
    record::{CollectionId, Key, RecordId, RecordRef, ShardId, Stamp, State},
    tiers::{ThreadCaches, entry::Entry, era::Eras},
};
use loom::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

const RECORD: RecordRef<'static> = RecordRef { collection: CollectionId(0), key: "a" };
/// The newest version that is written.
const NEWEST: u64 = 2;

/// A record's entries by version, and which of them the shared cache holds. As moka's, it is found without a lock, so nothing
/// but what it publishes orders what a reader sees.
struct World {
    now: Instant,
    entries: Vec<Arc<Entry>>,
    shared: AtomicU64,
    caches: ThreadCaches,
    /// The newest version that was answered or told.
    known: AtomicU64,
}

impl World {
    fn new() -> Arc<Self> {
        let now = Instant::now();
        let era = Eras::new(1).of(ShardId(0));
        let entry = |version| {
            let state = State::absent(Stamp::new(1, version));
            let id = RecordId::new(RECORD.collection, Key::from_database(RECORD.key));
            Arc::new(Entry::new(id, state, now + Duration::from_secs(60), era))
        };
        Arc::new(World {
            now,
            entries: (0..=NEWEST).map(entry).collect(),
            shared: AtomicU64::new(0),
            caches: ThreadCaches::with_counts(64 * 1024, 1),
            known: AtomicU64::new(0),
        })
    }

    /// Reads, and checks that nothing newer was known before.
    fn read(&self) {
        let known = self.known.load(Ordering::Acquire);
        let fetch = || Some(self.entries[self.shared.load(Ordering::Acquire) as usize].clone());
        let version = self.caches.read(&RECORD, self.now, fetch, |entry| entry.state().stamp.version);
        let version = version.expect("there is always an entry");
        assert!(version >= known, "{version} was answered after {known}");
        self.known.fetch_max(version, Ordering::AcqRel);
    }

    /// Changes the shared cache's entry to that of `version`.
    fn change(&self, version: u64) {
        let _changing = self.caches.change(&RECORD);
        self.shared.store(version, Ordering::Release);
    }
}

/// Checks every order with at most three interruptions of a running thread.
fn model(check: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(check);
}

#[test]
fn readers_never_step_back_while_a_record_changes() {
    model(|| {
        let world = World::new();
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let world = world.clone();
                thread::spawn(move || (0..2).for_each(|_| world.read()))
            })
            .collect();
        world.change(1);
        readers.into_iter().for_each(|reader| reader.join().expect("no panic"));
    });
}

#[test]
fn from_the_moment_a_change_begins_no_thread_answers_from_what_it_kept() {
    model(|| {
        let world = World::new();
        let reader = {
            let world = world.clone();
            thread::spawn(move || (0..3).for_each(|_| world.read()))
        };
        for version in 1..=NEWEST {
            world.change(version);
            // As a write is answered, or a poll makes its changes known.
            world.known.fetch_max(version, Ordering::AcqRel);
        }
        reader.join().expect("no panic");
    });
}
