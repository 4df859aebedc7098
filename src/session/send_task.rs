//! The task that sends a connection's unsent bytes once its socket takes more.
//!
//! Promises: while bytes are unsent because the socket took no more, one task waits for the socket, and never two; none is lost
//! when the task ends at the moment at which a sender leaves bytes (`tests/loom/tests/send_task.rs` checks it in every
//! order).

use crate::sync::atomic::{AtomicBool, Ordering};

/// Whether the task runs. Every step on the flag reads and writes it at once, so that all are in one order: if a sender found
/// that the task runs, the task sees the sender's bytes at its last look. (loom lets a plain store of the task's be
/// overtaken by a swap of a sender's that did not read it.)
#[derive(Default)]
pub struct SendTask {
    runs: AtomicBool,
}

impl SendTask {
    /// A sender that has left bytes unsent calls this once they can be seen: true if it must [`Self::run`] the task.
    pub fn must_start(&self) -> bool {
        !self.runs.swap(true, Ordering::AcqRel)
    }

    /// The task: waits until the socket `is_writable`, then calls `flush`, which says whether the socket took everything,
    /// until nothing is unsent, or the socket is never writable again.
    ///
    /// # Cancel safety
    /// None: a task that was dropped counts as running.
    pub async fn run<W: Future<Output = bool>>(
        &self,
        is_writable: impl Fn() -> W,
        flush: impl Fn() -> bool,
        has_unsent: impl Fn() -> bool,
    ) {
        while is_writable().await {
            if flush() {
                // Cleared before the last look: a sender that leaves bytes from here on starts another task.
                self.end();
                if !has_unsent() || !self.must_start() {
                    return;
                }
            }
        }
        self.end();
    }

    fn end(&self) {
        self.runs.swap(false, Ordering::AcqRel);
    }
}
