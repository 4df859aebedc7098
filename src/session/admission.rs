//! How many requests of one connection are under way, and when its reader must pause for them. A long request counts for
//! several, since its text is held until it is answered.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Waker,
};

use futures_util::task::AtomicWaker;

use super::Connection;

/// A request counts once, and once more for each so many bytes of its text.
const BYTES_OF_ONE: usize = 32 * 1024;

/// A connection's requests under way, and its reader where it waits for room.
#[derive(Default)]
pub(super) struct Admission {
    in_flight: AtomicUsize,
    reader: AtomicWaker,
}

impl Admission {
    /// Requests under way.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::SeqCst)
    }

    /// Whether the reader must pause since `is_full`; if so, `waker` is woken when it should look again.
    pub(super) fn must_pause(&self, waker: &Waker, is_full: impl Fn() -> bool) -> bool {
        if !is_full() {
            return false;
        }
        // Registered only now, or else every push would wake the reader; looked at again, for what was freed meanwhile.
        self.reader.register(waker);
        is_full()
    }

    /// Lets a reader that pauses look again.
    pub(super) fn wake_reader(&self) {
        self.reader.wake();
    }

    /// Counts a request of `weight` out; true if it was the last.
    pub(super) fn end(&self, weight: usize) -> bool {
        let was_last = self.in_flight.fetch_sub(weight, Ordering::SeqCst) == weight;
        self.wake_reader();
        was_last
    }
}

/// A request under way: counted in when made, and out when dropped.
pub(super) struct Admitted {
    connection: Arc<Connection>,
    weight: usize,
}

impl Admitted {
    /// A request of `bytes`.
    pub(super) fn new(connection: Arc<Connection>, bytes: usize) -> Self {
        let weight = 1 + bytes / BYTES_OF_ONE;
        connection.admission.in_flight.fetch_add(weight, Ordering::SeqCst);
        Admitted { connection, weight }
    }

    /// The connection it came over.
    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.connection.end_request(self.weight);
    }
}
