//! What each thread keeps of L1 for itself: the entries it answered with last, to be found without the shared cache's
//! locks, read log and hash walk.
//!
//! Promises: from the moment a change of a record begins, no thread answers from an entry that it kept before. Bounded: half
//! of L1's capacity for all threads of the process together, which the shared cache mostly holds, too; a thread that ends
//! gives its share back. Leaves to [`super::local`] what is cached at all.
//!
//! An entry is judged by a count, not by a flag in the entry. A flag would have to be set by the evicting thread under the
//! cache's own lock, and moka tells of an eviction after it. A count for each record, shared by hash, that only changes of
//! ours raise needs nothing from the cache: an evicted entry may still be used, and the change that would make it wrong
//! raises the count whether the cache holds the entry or not. A change raises it before it begins and lowers the number of
//! changes in progress after it; no entry is kept while one is in progress.
//! (`readers_never_step_back_while_a_record_changes`; the tests of `tests/loom/tests/thread_cache.rs` check this file and
//! [`super::seqcount`] in every order of two readers and a change, and of one reader and two changes)

mod budget;
mod kept;

use std::{cell::RefCell, hash::BuildHasher as _, num::NonZeroUsize, sync::Arc, thread, time::Instant};

use foldhash::fast::RandomState;

use self::{
    budget::Budget,
    kept::{Kept, Slot},
};
use super::{
    entry::Entry,
    seqcount::{Changing, SeqCount},
};
use crate::record::RecordRef;

/// Larger entries are left to the shared cache: writing them takes longer than finding them there.
const ENTRY_BYTES_MAX: usize = 4 * 1024;
/// The part of the shared cache's capacity that threads may keep. An entry counts for each thread that keeps it, although
/// they share its memory.
const PART: u64 = 2;
/// Sequence counts; records share them by hash.
const COUNTS: usize = 8 * 1024;
/// Of so many uses of a slot, one asks the shared cache: else what is hottest would look cold to it, and be evicted.
const SHARED_EVERY: u32 = 64;

thread_local! {
    /// What this thread keeps, for each caches in use: one, but in tests.
    static KEPT: RefCell<Vec<Kept>> = const { RefCell::new(Vec::new()) };
}

/// The threads' memory, and the counts that say whether their entries still stand.
pub struct ThreadCaches {
    budget: Arc<Budget>,
    counts: Box<[SeqCount]>,
    hasher: RandomState,
}

impl ThreadCaches {
    /// Nothing is kept yet of a cache of `capacity` bytes, which about as many threads read as there are cores.
    pub fn new(capacity: u64) -> Self {
        Self::with_counts(capacity, COUNTS)
    }

    /// [`Self::new`] with so many sequence counts, a power of two.
    pub fn with_counts(capacity: u64, counts: usize) -> Self {
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self::with(Budget::new(capacity / PART, cores), counts)
    }

    fn with(budget: Budget, counts: usize) -> Self {
        ThreadCaches {
            budget: Arc::new(budget),
            counts: (0..counts).map(|_| SeqCount::default()).collect(),
            hasher: RandomState::default(),
        }
    }

    /// Answers from the entry that this thread keeps of `record`, else from what `fetch` finds in the shared cache.
    pub fn read<R>(
        &self,
        record: &RecordRef<'_>,
        now: Instant,
        fetch: impl FnOnce() -> Option<Arc<Entry>>,
        answer: impl FnOnce(&Entry) -> R,
    ) -> Option<R> {
        KEPT.with(|all| match all.try_borrow_mut() {
            Ok(mut all) => self.read_with(self.kept(&mut all), record, now, fetch, answer),
            // Taken already only when an answer asks for another: that one does without.
            Err(_) => fetch().as_deref().map(answer),
        })
    }

    /// What this thread keeps of this caches.
    fn kept<'k>(&self, all: &'k mut Vec<Kept>) -> &'k mut Kept {
        let at = all.iter().position(|kept| kept.is_of(&self.budget)).unwrap_or_else(|| {
            all.retain(|kept| !kept.is_orphan());
            all.push(Kept::new(&self.budget));
            all.len() - 1
        });
        &mut all[at]
    }

    fn read_with<R>(
        &self,
        kept: &mut Kept,
        record: &RecordRef<'_>,
        now: Instant,
        fetch: impl FnOnce() -> Option<Arc<Entry>>,
        answer: impl FnOnce(&Entry) -> R,
    ) -> Option<R> {
        let hash = self.hasher.hash_one(record);
        let count = self.count(hash).load();
        if let Some(slot) = kept.get(hash)
            && slot.hash == hash
            && slot.count == count
            && slot.entry.is_of(record)
            && now < slot.entry.expires()
        {
            slot.uses += 1;
            if slot.uses < SHARED_EVERY {
                return Some(answer(&slot.entry));
            }
        }
        // The count was loaded before: a change that begins from here on is seen by the next use.
        let entry = fetch()?;
        let answered = answer(&entry);
        if SeqCount::is_still(count) && entry.bytes() <= ENTRY_BYTES_MAX {
            kept.put(Slot { hash, count, uses: 0, entry }, &self.budget);
        }
        Some(answered)
    }

    /// Announces that the shared cache's entry of `record` is about to change, until the guard is dropped.
    pub fn change(&self, record: &RecordRef<'_>) -> Changing<'_> {
        Changing::begin(std::slice::from_ref(self.count(self.hasher.hash_one(record))))
    }

    /// [`Self::change`] for every record.
    pub fn change_all(&self) -> Changing<'_> {
        Changing::begin(&self.counts)
    }

    fn count(&self, hash: u64) -> &SeqCount {
        &self.counts[hash as usize & (self.counts.len() - 1)]
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Barrier,
            atomic::{AtomicU64, Ordering},
        },
        time::Duration,
    };

    use bytes::Bytes;

    use super::*;
    use crate::{
        record::{CollectionId, Key, RecordId, ShardId, Stamp, State},
        tiers::era::Eras,
    };

    fn entry(key: &str, version: u64, len: usize, expires: Instant) -> Arc<Entry> {
        let state = State { stamp: Stamp::new(1, version), value: Some(Bytes::from(vec![b'1'; len])) };
        Arc::new(Entry::new(
            RecordId::new(CollectionId(0), Key::from_database(key)),
            state,
            expires,
            Eras::new(1).of(ShardId(0)),
        ))
    }

    /// The version answered when the shared cache holds `shared`, and whether it was asked.
    fn read(caches: &ThreadCaches, shared: Option<&Arc<Entry>>, now: Instant) -> (Option<u64>, bool) {
        let record = RecordRef { collection: CollectionId(0), key: "a" };
        let mut asked = false;
        let fetch = || {
            asked = true;
            shared.cloned()
        };
        let version = caches.read(&record, now, fetch, |entry| entry.state().stamp.version);
        (version, asked)
    }

    fn record() -> RecordRef<'static> {
        RecordRef { collection: CollectionId(0), key: "a" }
    }

    #[test]
    fn what_was_read_is_kept_until_a_change_begins() {
        let (caches, now) = (ThreadCaches::new(256 << 20), Instant::now());
        let (old, new) =
            (entry("a", 1, 8, now + Duration::from_secs(9)), entry("a", 2, 8, now + Duration::from_secs(9)));
        assert_eq!(read(&caches, Some(&old), now), (Some(1), true));
        assert_eq!(read(&caches, None, now), (Some(1), false));
        let changing = caches.change(&record());
        // The shared cache may still hold the old entry; it is answered and not kept.
        assert_eq!(read(&caches, Some(&old), now), (Some(1), true));
        assert_eq!(read(&caches, Some(&new), now), (Some(2), true));
        drop(changing);
        assert_eq!(read(&caches, Some(&new), now), (Some(2), true));
        assert_eq!(read(&caches, None, now), (Some(2), false));
        drop(caches.change_all());
        assert_eq!(read(&caches, None, now), (None, true));
    }

    #[test]
    fn an_entry_is_not_used_past_its_lifetime() {
        let (caches, now) = (ThreadCaches::new(256 << 20), Instant::now());
        let kept = entry("a", 1, 8, now + Duration::from_secs(9));
        read(&caches, Some(&kept), now);
        assert_eq!(read(&caches, None, now + Duration::from_secs(8)), (Some(1), false));
        assert_eq!(read(&caches, None, now + Duration::from_secs(9)), (None, true));
    }

    #[test]
    fn one_use_in_sixty_four_is_seen_by_the_shared_cache() {
        let (caches, now) = (ThreadCaches::new(256 << 20), Instant::now());
        let kept = entry("a", 1, 8, now + Duration::from_secs(9));
        let asked = (0..640).filter(|_| read(&caches, Some(&kept), now).1).count();
        assert_eq!(asked, 10);
    }

    #[test]
    fn large_entries_are_not_kept() {
        let (caches, now) = (ThreadCaches::new(256 << 20), Instant::now());
        let large = entry("a", 1, ENTRY_BYTES_MAX, now + Duration::from_secs(9));
        read(&caches, Some(&large), now);
        assert_eq!(read(&caches, None, now), (None, true));
    }

    /// Answers with records `of`, each of 1,000 bytes.
    fn read_many(caches: &ThreadCaches, of: std::ops::Range<u64>) {
        for n in of {
            let key = n.to_string();
            let record = RecordRef { collection: CollectionId(0), key: &key };
            let found = entry(&key, 1, 1_000, Instant::now() + Duration::from_secs(60));
            caches.read(&record, Instant::now(), || Some(found), |_| ());
        }
    }

    #[test]
    fn many_threads_together_stay_within_the_bound_and_give_back_as_they_end() {
        const MAX: u64 = 1 << 20;
        let caches = Arc::new(ThreadCaches::with(Budget::new(MAX, 2), COUNTS));
        let (filled, may_end) = (Arc::new(Barrier::new(17)), Arc::new(Barrier::new(17)));
        let threads: Vec<_> = (0..16)
            .map(|n| {
                let (caches, filled, may_end) = (caches.clone(), filled.clone(), may_end.clone());
                thread::spawn(move || {
                    for round in 0..20 {
                        read_many(&caches, n * 1_000 + round * 50..n * 1_000 + 500);
                        let drawn = caches.budget.drawn();
                        assert!(drawn <= MAX, "{drawn} bytes are drawn");
                    }
                    filled.wait();
                    may_end.wait();
                })
            })
            .collect();
        filled.wait();
        let drawn = caches.budget.drawn();
        assert!(drawn <= MAX && drawn > MAX / 8, "{drawn} bytes are drawn");
        may_end.wait();
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        assert_eq!((caches.budget.drawn(), caches.budget.share()), (0, MAX / 2));
    }

    #[test]
    fn a_thread_forgets_what_it_kept_of_a_cache_that_is_gone() {
        let first = ThreadCaches::with(Budget::new(1 << 20, 1), COUNTS);
        read_many(&first, 0..10);
        drop(first);
        let second = ThreadCaches::with(Budget::new(1 << 20, 1), COUNTS);
        read_many(&second, 0..10);
        assert_eq!(KEPT.with_borrow(Vec::len), 1);
        assert!(second.budget.drawn() > 0);
    }

    #[test]
    fn readers_never_step_back_while_a_record_changes() {
        let caches = ThreadCaches::new(256 << 20);
        let shared = parking_lot::Mutex::new(entry("a", 0, 8, Instant::now() + Duration::from_secs(60)));
        let newest = AtomicU64::new(0);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while newest.load(Ordering::SeqCst) < 20_000 {
                        let known = newest.load(Ordering::SeqCst);
                        let fetch = || Some(shared.lock().clone());
                        let version =
                            caches.read(&record(), Instant::now(), fetch, |entry| entry.state().stamp.version);
                        let version = version.expect("there is always an entry");
                        assert!(version >= known, "{version} was answered after {known}");
                        newest.fetch_max(version, Ordering::SeqCst);
                    }
                });
            }
            for version in 1..=20_000 {
                let _changing = caches.change(&record());
                *shared.lock() = entry("a", version, 8, Instant::now() + Duration::from_secs(60));
            }
        });
    }
}
