//! What is known of one watched key.

use super::Record;
use freshet_wire::record::Stamp;

/// The newest state of a key that was accepted. It never goes back, except where the server says that history was lost.
#[derive(Debug, Default)]
pub(super) struct Known {
    state: Option<Record>,
    /// The highest stamp so far; a deletion without a version leaves it as it was.
    seen: Option<Stamp>,
    /// Whether a push came since the last `subscribe`: the first one is the snapshot.
    is_told: bool,
}

impl Known {
    /// The last state accepted.
    pub(super) fn state(&self) -> Option<&Record> {
        self.state.as_ref()
    }

    /// Subscribes anew, from the stamp returned; version 0 is no state to resume from.
    pub(super) fn resume(&mut self) -> Option<Stamp> {
        self.is_told = false;
        self.seen.filter(|stamp| stamp.version > 0)
    }

    /// Takes a pushed state if it is news, and says whether it was.
    pub(super) fn push(&mut self, record: &Record) -> bool {
        let is_snapshot = !std::mem::replace(&mut self.is_told, true);
        self.accepts(record, is_snapshot) && self.take(record)
    }

    /// Takes the state that an answer brought if it is news, and says whether it was.
    pub(super) fn answer(&mut self, record: &Record) -> bool {
        self.accepts(record, false) && self.take(record)
    }

    /// A stamp must rise. Two states need not: one of another generation that is marked `reset`; and, as a snapshot
    /// only, an absence at version 0, the answer for a deletion older than the store remembers.
    fn accepts(&self, record: &Record, is_snapshot: bool) -> bool {
        let (Some(state), Some(seen)) = (&self.state, self.seen) else {
            return true;
        };
        let reset = record.reset && record.stamp.generation != seen.generation;
        let forgotten = is_snapshot && state.value.is_some() && record.is_forgotten();
        record.stamp > seen || reset || forgotten
    }

    fn take(&mut self, record: &Record) -> bool {
        if record.version > 0 || self.seen.is_none() {
            self.seen = Some(record.stamp);
        }
        self.state = Some(record.clone());
        true
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn record(generation: u32, version: u64, present: bool, reset: bool) -> Record {
        let value = if present { "{}" } else { "null" };
        let text = format!(
            r#"{{"key":"a","version":{version},"stamp":"{generation}.{version}","value":{value},"reset":{reset}}}"#
        );
        serde_json::from_str(&text).expect("a record")
    }

    proptest! {
        #[test]
        fn lower_stamps_are_refused(states in prop::collection::vec((1..3_u32, 1..6_u64, any::<bool>(), any::<bool>()), 1..40)) {
            let (mut known, mut highest) = (Known::default(), Stamp::ABSENT);
            for (generation, version, present, pushed) in states {
                let record = record(generation, version, present, false);
                let news = if pushed { known.push(&record) } else { known.answer(&record) };
                prop_assert_eq!(news, record.stamp > highest);
                highest = highest.max(record.stamp);
            }
            prop_assert_eq!(known.state().map(|state| state.stamp), Some(highest));
        }
    }

    #[test]
    fn a_forgotten_deletion_is_told_once_and_only_as_a_snapshot() {
        let mut known = Known::default();
        assert!(known.push(&record(1, 5, true, false)));
        assert!(!known.push(&record(1, 0, false, false)));
        assert!(!known.answer(&record(1, 0, false, false)));
        assert_eq!(known.resume(), Some(Stamp::new(1, 5)));
        assert!(known.push(&record(1, 0, false, false)));
        assert_eq!(known.resume(), Some(Stamp::new(1, 5)), "the high mark stays");
        assert!(!known.push(&record(1, 0, false, false)));
        assert!(!known.push(&record(1, 4, true, false)));
        assert!(known.push(&record(1, 6, true, false)));
    }

    #[test]
    fn an_absence_without_a_version_is_no_state_to_resume_from() {
        let mut known = Known::default();
        assert!(known.push(&record(1, 0, false, false)));
        assert_eq!(known.resume(), None);
    }

    #[test]
    fn a_reset_may_go_back_to_another_generation() {
        let mut known = Known::default();
        assert!(known.push(&record(3, 5, true, false)));
        assert!(!known.push(&record(2, 9, true, false)));
        assert!(known.push(&record(2, 9, true, true)));
        assert!(!known.push(&record(2, 9, true, true)));
    }
}
