//! From where on a read needs no floor to be judged by.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use crate::record::Position;

/// The position from which on the floors of a level are complete, and a moment that does as well: each floor that was
/// dropped had been raised before it, so a read of the primary that begins later shows what it stood for, whatever its
/// position. Without the moment, reads would be refused for as long as no marks are written.
///
/// Only rises. Position and moment may be read while one of them is being raised: whoever raises them does so before the
/// step that relies on both, and with a lock between that step and its readers.
pub(super) struct Base {
    position: AtomicU64,
    start: Instant,
    /// Nanoseconds after `start`.
    moment: AtomicU64,
}

impl Base {
    /// Nothing was dropped yet.
    pub(super) fn new() -> Self {
        Base { position: AtomicU64::new(0), start: Instant::now(), moment: AtomicU64::new(0) }
    }

    /// Whether a read at `position` shows everything whose floor is gone; for one of the primary it is enough that it `begun`
    /// later.
    pub(super) fn admits(&self, position: Position, begun: Option<Instant>) -> bool {
        let is_later = |begun| self.nanos(begun) > self.moment.load(Ordering::Acquire);
        position.0 >= self.position.load(Ordering::Acquire) || begun.is_some_and(is_later)
    }

    /// The position.
    pub(super) fn position(&self) -> u64 {
        self.position.load(Ordering::Acquire)
    }

    /// Floors below `position` may be gone.
    pub(super) fn raise(&self, position: u64) {
        self.position.fetch_max(position, Ordering::AcqRel);
    }

    /// All that is gone was known before `moment`.
    pub(super) fn raise_moment(&self, moment: Instant) {
        self.moment.fetch_max(self.nanos(moment), Ordering::AcqRel);
    }

    /// Starts over at `position`, which may be a lower one.
    pub(super) fn reset(&self, position: Position, moment: Instant) {
        self.raise_moment(moment);
        self.position.store(position.0, Ordering::Release);
    }

    fn nanos(&self, moment: Instant) -> u64 {
        u64::try_from(moment.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX)
    }
}
