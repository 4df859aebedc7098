//! Whether the keepers tell this node of changes, so that it may poll less often.

use std::time::{Duration, Instant};

use crate::shared::{Hint, Incarnation};

/// Keepers tell something four times a second; one that has been silent for so long may be gone.
const SILENCE: Duration = Duration::from_millis(600);

/// What a keeper has read of the outbox is here within this time, as a rule.
const UNDER_WAY: Duration = Duration::from_millis(25);

/// What each slice's keeper told last.
pub(super) struct Hinted {
    slices: Vec<Option<(Incarnation, Instant)>>,
}

impl Hinted {
    /// Nothing was told of any of `slices` yet; without slices nothing ever is.
    pub(super) fn new(slices: usize) -> Self {
        Hinted { slices: vec![None; slices] }
    }

    /// Takes note of a hint. True if changes may be missing before it.
    pub(super) fn meet(&mut self, hint: &Hint, now: Instant) -> bool {
        let Some(told) = self.slices.get_mut(hint.slice) else { return false };
        let before = told.replace((hint.incarnation, now));
        hint.is_partial || before.is_some_and(|(incarnation, _)| incarnation != hint.incarnation)
    }

    /// When the keeper of a slice last told something, less the time that its word may have taken: what it tells next was committed
    /// after that.
    pub(super) fn told_before(&self, slice: usize) -> Option<Instant> {
        let (_, at) = (*self.slices.get(slice)?)?;
        at.checked_sub(UNDER_WAY)
    }

    /// Whether the keepers of all slices tell what changes.
    pub(super) fn is_told(&self, now: Instant) -> bool {
        let is_recent = |told: &Option<(Incarnation, Instant)>| {
            told.is_some_and(|(_, at)| now.saturating_duration_since(at) < SILENCE)
        };
        !self.slices.is_empty() && self.slices.iter().all(is_recent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_told_while_every_slice_is_heard_of() {
        let mut hinted = Hinted::new(2);
        let begun = Instant::now();
        let hint = |slice, life| Hint { slice, incarnation: Incarnation(life), changes: vec![], is_partial: false };
        assert_eq!(hinted.told_before(0), None);
        assert!(!hinted.meet(&hint(0, 1), begun) && !hinted.is_told(begun));
        assert_eq!((hinted.told_before(0), hinted.told_before(1)), (begun.checked_sub(UNDER_WAY), None));
        assert!(!hinted.meet(&hint(1, 1), begun) && hinted.is_told(begun));
        assert!(!hinted.is_told(begun + SILENCE));
        assert!(hinted.meet(&hint(1, 2), begun + SILENCE), "another life");
        assert!(!hinted.is_told(begun + SILENCE), "the other slice is silent");
        assert!(!Hinted::new(0).is_told(begun));
        assert!(hinted.meet(&Hint { is_partial: true, ..hint(1, 2) }, begun), "it is not told all");
    }
}
