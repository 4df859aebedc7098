//! How soon a poll of the feed follows the one before.

use std::time::{Duration, Instant};

/// The pause between polls while changes come in, and its limit when none do. Each costs the database 0.2 ms of a core.
///
/// # Source
/// docs/coherence.md, section 5.
const ACTIVE: Duration = Duration::from_millis(5);
const IDLE: Duration = Duration::from_millis(25);
/// The pause on a node that has no watchers and answers no reads.
const UNUSED: Duration = Duration::from_millis(100);
/// The pause while keepers tell of changes, as far as the certificate allows.
const TOLD: Duration = Duration::from_secs(1);
/// A node is in use for so long after a read.
const USE: Duration = Duration::from_secs(1);

/// The pauses between the polls of one database.
pub(super) struct Pace {
    pause: Duration,
    /// Reads that the node had answered at the last poll.
    answered: u64,
    /// When it was last seen to be in use.
    used: Instant,
    told: Duration,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Pace { pause: ACTIVE, answered: 0, used: now, told: TOLD }
    }

    /// Polls often enough that a third of `fresh` proves nothing new.
    pub(super) fn within(self, fresh: Duration) -> Self {
        Pace { told: TOLD.min(fresh / 3), ..self }
    }

    /// The pause after a poll while keepers tell of changes.
    pub(super) fn while_told(&mut self) -> Duration {
        self.pause = ACTIVE;
        self.told
    }

    /// Whether the node is in use, which has `answered` so many reads until `now`. Keys are spread over all databases by
    /// their hash, so the node's readers are most likely each database's.
    pub(super) fn is_used(&mut self, answered: u64, has_watchers: bool, now: Instant) -> bool {
        if std::mem::replace(&mut self.answered, answered) != answered || has_watchers {
            self.used = now;
        }
        now.saturating_duration_since(self.used) < USE
    }

    /// The pause after a poll.
    pub(super) fn after(&mut self, is_used: bool, has_changes: bool) -> Duration {
        self.pause = match (is_used, has_changes) {
            (false, _) => UNUSED,
            (true, true) => ACTIVE,
            (true, false) => (self.pause * 2).min(IDLE),
        };
        self.pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polls_follow_each_other_fast_where_changes_are_waited_for_and_slowly_where_they_are_not() {
        let mut pace = Pace::new(Instant::now());
        let idle: Vec<_> = (0..4).map(|_| pace.after(true, false)).collect();
        assert_eq!(idle.last(), Some(&IDLE));
        assert_eq!(pace.after(true, true), ACTIVE);
        assert_eq!([false, true].map(|has_changes| pace.after(false, has_changes)), [UNUSED; 2]);
        assert_eq!(pace.after(true, false), IDLE, "the first reader makes it look sooner");
    }

    #[test]
    fn a_node_is_in_use_while_somebody_watches_and_for_a_second_after_a_read() {
        let begun = Instant::now();
        let (mut pace, at) = (Pace::new(begun), |millis| begun + Duration::from_millis(millis));
        assert!(pace.is_used(0, false, at(999)) && !pace.is_used(0, false, at(1_000)));
        assert!(pace.is_used(1, false, at(5_000)) && pace.is_used(1, false, at(5_999)));
        assert!(!pace.is_used(1, false, at(6_000)));
        assert!(pace.is_used(1, true, at(9_000)));
    }
}
