//! Whether something has changed since it was copied.

use crate::sync::atomic::{AtomicU64, Ordering};

/// How many changes have begun, in the upper 48 bits, and how many are under way, in the lower 16.
///
/// # Source
/// The seqcount of Linux (`include/linux/seqlock.h`), for several writers at once: a reader's copy is good while the
/// count is what it was when the copy was made, and none is made while a change is under way.
///
/// # Ordering
/// The load acquires and [`Self::end`] releases: a reader that finds a change ended finds the changed entry, too, in a cache
/// that it reads without a lock. If either is relaxed, `tests/loom/tests/thread_cache.rs` fails. [`Self::begin`] could be
/// relaxed as long as the cache publishes an entry with a release of its own, as moka does; its order costs nothing on x86,
/// and then the promise does not rest on moka's.
#[derive(Default)]
pub(super) struct SeqCount(AtomicU64);

impl SeqCount {
    const BEGUN: u64 = 1 << 16;

    pub(super) fn load(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    pub(super) fn is_still(count: u64) -> bool {
        count.is_multiple_of(Self::BEGUN)
    }

    fn begin(&self) {
        self.0.fetch_add(Self::BEGUN + 1, Ordering::AcqRel);
    }

    fn end(&self) {
        self.0.fetch_sub(1, Ordering::Release);
    }
}

/// A change under way, of what the counts are for.
pub struct Changing<'a>(&'a [SeqCount]);

impl<'a> Changing<'a> {
    pub(super) fn begin(counts: &'a [SeqCount]) -> Self {
        counts.iter().for_each(SeqCount::begin);
        Changing(counts)
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(SeqCount::end);
    }
}
