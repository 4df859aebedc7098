//! When each write is due, and what has become of it.

use crate::cli::bench::clock::{self, Clock};

/// The writes of a run, in the order of their moments.
pub(super) struct Schedule {
    /// Writes a second.
    rate: f64,
    writes: Vec<Write>,
}

/// A write that was made.
#[derive(Clone, Copy)]
pub(super) struct Write {
    pub(super) due: u64,
    pub(super) answered: Option<u64>,
    /// Watchers that have not seen it yet.
    missing: usize,
}

impl Schedule {
    pub(super) fn new(rate: f64) -> Self {
        Schedule { rate, writes: Vec::new() }
    }

    /// How many writes were made.
    pub(super) fn len(&self) -> usize {
        self.writes.len()
    }

    /// When the next one is due.
    pub(super) fn next_due(&self) -> u64 {
        clock::moment(self.writes.len() as u64, self.rate)
    }

    /// Notes the next write as made, for so many watchers.
    pub(super) fn make(&mut self, watchers: usize) {
        self.writes.push(Write { due: self.next_due(), answered: None, missing: watchers });
    }

    /// Notes that write `n` was answered; the write, if there is such a one.
    pub(super) fn answer(&mut self, n: usize, at: u64) -> Option<Write> {
        let write = self.writes.get_mut(n)?;
        write.answered = Some(at);
        Some(*write)
    }

    /// Notes that a watcher has seen write `n`; the write, if there is such a one.
    pub(super) fn show(&mut self, n: usize) -> Option<Write> {
        let write = self.writes.get_mut(n)?;
        write.missing = write.missing.saturating_sub(1);
        Some(*write)
    }

    /// Whether the last write is on its way to watchers.
    pub(super) fn is_under_way(&self) -> bool {
        self.writes.last().is_some_and(|write| write.missing > 0)
    }

    /// The writes due in the window, and those among them that were answered by its end.
    pub(super) fn offered_and_answered(&self, clock: &Clock) -> (u64, u64) {
        let offered = self.writes.iter().filter(|write| clock.is_in_window(write.due));
        let answered = offered.clone().filter(|write| write.answered.is_some_and(|at| at < clock.end));
        (offered.count() as u64, answered.count() as u64)
    }
}
