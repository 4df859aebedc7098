//! The memory that all threads together may keep.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that threads draw before they use them, in grants that are large beside an entry: the counter they share changes
/// seldom, and never as one answers.
pub(super) struct Budget {
    max: u64,
    drawn: AtomicU64,
    /// Threads that may keep something now.
    threads: AtomicU64,
    /// How many are expected.
    threads_usual: u64,
}

impl Budget {
    /// Room for `max` bytes, in equal shares for `threads_usual` threads; more threads make the shares smaller.
    pub(super) fn new(max: u64, threads_usual: usize) -> Self {
        let threads_usual = u64::try_from(threads_usual).unwrap_or(u64::MAX).max(1);
        Budget { max, drawn: AtomicU64::new(0), threads: AtomicU64::new(0), threads_usual }
    }

    /// What one thread may have drawn: none is left without because another came first.
    pub(super) fn share(&self) -> u64 {
        self.max / self.threads.load(Ordering::Relaxed).max(self.threads_usual)
    }

    /// Takes `bytes`, if they are there. Never more than all are out.
    pub(super) fn draw(&self, bytes: u64) -> bool {
        let drawn = |drawn: u64| drawn.checked_add(bytes).filter(|&drawn| drawn <= self.max);
        self.drawn.fetch_update(Ordering::Relaxed, Ordering::Relaxed, drawn).is_ok()
    }

    pub(super) fn give_back(&self, bytes: u64) {
        self.drawn.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn join(&self) {
        self.threads.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn leave(&self) {
        self.threads.fetch_sub(1, Ordering::Relaxed);
    }

    /// What is drawn now.
    #[cfg(test)]
    pub(super) fn drawn(&self) -> u64 {
        self.drawn.load(Ordering::SeqCst)
    }
}
