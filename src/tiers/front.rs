//! What each thread keeps of L1 for itself: the entries it answered with last, to be found without the shared cache's
//! locks, read log and hash walk.
//!
//! Promises: from the moment a change of a record begins, no thread answers from an entry that it kept before. Bounded: a
//! quarter of L1's capacity a thread, which the shared cache mostly holds, too. Leaves to [`super::local`] what is cached at
//! all.

use std::{cell::RefCell, hash::BuildHasher as _, sync::Arc, time::Instant};

use foldhash::fast::RandomState;
use thread_local::ThreadLocal;

use super::{
    entry::Entry,
    seqcount::{Changing, SeqCount},
};
use crate::record::RecordRef;

/// Entries that a thread keeps at the most; the slot of a record is given by its hash.
///
/// # Source
/// Measured with 100,000 keys, zipf 0.99 (`cargo bench --bench results`).
const SLOTS_MAX: usize = 128 * 1024;
/// A slot for so many bytes of the shared cache.
const BYTES_A_SLOT: u64 = 2 * 1024;
/// Larger entries are left to the shared cache: writing them takes longer than finding them there.
const ENTRY_BYTES_MAX: usize = 4 * 1024;
/// The part of the shared cache's capacity that a thread may keep.
const SHARE: u64 = 4;
/// Sequence counts; records share them by hash.
const COUNTS: usize = 8 * 1024;
/// Of so many uses of a slot, one asks the shared cache: else what is hottest would look cold to it, and be evicted.
const SHARED_EVERY: u32 = 64;

/// The threads' entries, and the counts that say whether they still stand.
pub(super) struct Front {
    threads: ThreadLocal<RefCell<Kept>>,
    capacity: u64,
    counts: Box<[SeqCount]>,
    hasher: RandomState,
}

/// What one thread keeps.
struct Kept {
    slots: Box<[Option<Slot>]>,
    bytes: u64,
    bytes_max: u64,
    /// The slot that is emptied next when there are too many bytes.
    hand: usize,
}

struct Slot {
    hash: u64,
    /// The record's count when the entry was taken.
    count: u64,
    uses: u32,
    entry: Arc<Entry>,
}

impl Front {
    /// Nothing is kept yet of a cache of `capacity` bytes.
    pub(super) fn new(capacity: u64) -> Self {
        Front {
            threads: ThreadLocal::new(),
            capacity,
            counts: (0..COUNTS).map(|_| SeqCount::default()).collect(),
            hasher: RandomState::default(),
        }
    }

    /// Answers from the entry that this thread keeps of `record`, else from what `fetch` finds in the shared cache.
    pub(super) fn read<R>(
        &self,
        record: &RecordRef<'_>,
        now: Instant,
        fetch: impl FnOnce() -> Option<Arc<Entry>>,
        answer: impl FnOnce(&Entry) -> R,
    ) -> Option<R> {
        let hash = self.hasher.hash_one(record);
        let kept = self.threads.get_or(|| RefCell::new(Kept::new(self.capacity)));
        // Taken already only when an answer asks for another: that one does without.
        let Ok(mut kept) = kept.try_borrow_mut() else { return fetch().as_deref().map(answer) };
        let at = kept.place(hash);
        let count = self.count(hash).load();
        if let Some(slot) = &mut kept.slots[at]
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
            kept.put(at, Slot { hash, count, uses: 0, entry });
        }
        Some(answered)
    }

    /// Announces that the shared cache's entry of `record` is about to change, until the guard is dropped.
    pub(super) fn change(&self, record: &RecordRef<'_>) -> Changing<'_> {
        Changing::begin(std::slice::from_ref(self.count(self.hasher.hash_one(record))))
    }

    /// [`Self::change`] for every record.
    pub(super) fn change_all(&self) -> Changing<'_> {
        Changing::begin(&self.counts)
    }

    fn count(&self, hash: u64) -> &SeqCount {
        &self.counts[hash as usize % COUNTS]
    }
}

impl Kept {
    fn new(capacity: u64) -> Self {
        let slots = usize::try_from(capacity / BYTES_A_SLOT).unwrap_or(usize::MAX).clamp(1, SLOTS_MAX);
        Kept { slots: (0..slots).map(|_| None).collect(), bytes: 0, bytes_max: capacity / SHARE, hand: 0 }
    }

    fn place(&self, hash: u64) -> usize {
        (hash >> 32) as usize % self.slots.len()
    }

    fn put(&mut self, at: usize, slot: Slot) {
        self.empty(at);
        self.bytes += slot.entry.bytes() as u64;
        self.slots[at] = Some(slot);
        while self.bytes > self.bytes_max {
            self.empty(self.hand);
            self.hand = (self.hand + 1) % self.slots.len();
        }
    }

    fn empty(&mut self, at: usize) {
        self.bytes -= self.slots[at].take().map_or(0, |slot| slot.entry.bytes() as u64);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU64, Ordering},
        time::Duration,
    };

    use bytes::Bytes;

    use super::*;
    use crate::record::{CollectionId, Key, RecordId, Stamp, State};

    fn entry(key: &str, version: u64, len: usize, expires: Instant) -> Arc<Entry> {
        let state = State { stamp: Stamp::new(1, version), value: Some(Bytes::from(vec![b'1'; len])) };
        Arc::new(Entry::new(RecordId::new(CollectionId(0), Key::from_database(key)), state, expires))
    }

    /// The version answered when the shared cache holds `shared`, and whether it was asked.
    fn read(front: &Front, shared: Option<&Arc<Entry>>, now: Instant) -> (Option<u64>, bool) {
        let record = RecordRef { collection: CollectionId(0), key: "a" };
        let mut asked = false;
        let fetch = || {
            asked = true;
            shared.cloned()
        };
        let version = front.read(&record, now, fetch, |entry| entry.state().stamp.version);
        (version, asked)
    }

    fn record() -> RecordRef<'static> {
        RecordRef { collection: CollectionId(0), key: "a" }
    }

    #[test]
    fn what_was_read_is_kept_until_a_change_begins() {
        let (front, now) = (Front::new(256 << 20), Instant::now());
        let (old, new) =
            (entry("a", 1, 8, now + Duration::from_secs(9)), entry("a", 2, 8, now + Duration::from_secs(9)));
        assert_eq!(read(&front, Some(&old), now), (Some(1), true));
        assert_eq!(read(&front, None, now), (Some(1), false));
        let changing = front.change(&record());
        // The shared cache may still hold the old entry; it is answered and not kept.
        assert_eq!(read(&front, Some(&old), now), (Some(1), true));
        assert_eq!(read(&front, Some(&new), now), (Some(2), true));
        drop(changing);
        assert_eq!(read(&front, Some(&new), now), (Some(2), true));
        assert_eq!(read(&front, None, now), (Some(2), false));
        drop(front.change_all());
        assert_eq!(read(&front, None, now), (None, true));
    }

    #[test]
    fn an_entry_is_not_used_past_its_lifetime() {
        let (front, now) = (Front::new(256 << 20), Instant::now());
        let kept = entry("a", 1, 8, now + Duration::from_secs(9));
        read(&front, Some(&kept), now);
        assert_eq!(read(&front, None, now + Duration::from_secs(8)), (Some(1), false));
        assert_eq!(read(&front, None, now + Duration::from_secs(9)), (None, true));
    }

    #[test]
    fn one_use_in_sixty_four_is_seen_by_the_shared_cache() {
        let (front, now) = (Front::new(256 << 20), Instant::now());
        let kept = entry("a", 1, 8, now + Duration::from_secs(9));
        let asked = (0..640).filter(|_| read(&front, Some(&kept), now).1).count();
        assert_eq!(asked, 10);
    }

    #[test]
    fn large_entries_are_not_kept() {
        let (front, now) = (Front::new(256 << 20), Instant::now());
        let large = entry("a", 1, ENTRY_BYTES_MAX, now + Duration::from_secs(9));
        read(&front, Some(&large), now);
        assert_eq!(read(&front, None, now), (None, true));
    }

    #[test]
    fn a_thread_keeps_no_more_than_its_share() {
        let (capacity, now) = (64 * 1024, Instant::now());
        let mut kept = Kept::new(capacity);
        for n in 0..1_000_u64 {
            let key = n.to_string();
            let entry = entry(&key, 1, 1_000, now + Duration::from_secs(9));
            let at = kept.place(n << 32);
            kept.put(at, Slot { hash: n, count: 0, uses: 0, entry });
        }
        let held: u64 = kept.slots.iter().flatten().map(|slot| slot.entry.bytes() as u64).sum();
        assert!(
            held == kept.bytes && held <= capacity / SHARE && held > capacity / (2 * SHARE),
            "{held} bytes are kept"
        );
    }

    #[test]
    fn readers_never_step_back_while_a_record_changes() {
        let front = Front::new(256 << 20);
        let shared = parking_lot::Mutex::new(entry("a", 0, 8, Instant::now() + Duration::from_secs(60)));
        let newest = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while newest.load(Ordering::SeqCst) < 20_000 {
                        let known = newest.load(Ordering::SeqCst);
                        let fetch = || Some(shared.lock().clone());
                        let version = front.read(&record(), Instant::now(), fetch, |entry| entry.state().stamp.version);
                        let version = version.expect("there is always an entry");
                        assert!(version >= known, "{version} was answered after {known}");
                        newest.fetch_max(version, Ordering::SeqCst);
                    }
                });
            }
            for version in 1..=20_000 {
                let _changing = front.change(&record());
                *shared.lock() = entry("a", version, 8, Instant::now() + Duration::from_secs(60));
            }
        });
    }
}
