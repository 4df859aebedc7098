//! How many requests of one connection are under way, and when its reader must pause for them.
//!
//! Promises: a reader that pauses is woken when what it waits for is freed, whatever else happens at that moment
//! (`tests/loom/tests/admission.rs` checks it in every order: ends of requests, a flush of unsent bytes, and both). Here the
//! reader's waker alone orders the steps. The count is `SeqCst` because a drain sets its flag and then looks at the count,
//! while a request is counted out and then looks at the flag, which loom does not check.

use std::task::Waker;

use crate::sync::{
    AtomicWaker,
    atomic::{AtomicUsize, Ordering},
};

/// A connection's requests under way, and its reader where it waits for room.
#[derive(Default)]
pub struct Admission {
    in_flight: AtomicUsize,
    reader: AtomicWaker,
}

impl Admission {
    /// Requests under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::SeqCst)
    }

    /// Counts a request of `weight` in.
    pub fn begin(&self, weight: usize) {
        self.in_flight.fetch_add(weight, Ordering::SeqCst);
    }

    /// Whether the reader must pause since `is_full`; if so, `waker` is woken when it should look again.
    pub fn must_pause(&self, waker: &Waker, is_full: impl Fn() -> bool) -> bool {
        if !is_full() {
            return false;
        }
        // Registered only now, or else every push would wake the reader; looked at again, for what was freed meanwhile.
        self.reader.register(waker);
        is_full()
    }

    /// Lets a reader that pauses look again; to be called after something was freed, not before.
    pub fn wake_reader(&self) {
        self.reader.wake();
    }

    /// Counts a request of `weight` out; true if it was the last.
    pub fn end(&self, weight: usize) -> bool {
        let was_last = self.in_flight.fetch_sub(weight, Ordering::SeqCst) == weight;
        self.wake_reader();
        was_last
    }
}
