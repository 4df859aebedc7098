//! The last changes in the order of their commits: the memory store's outbox.

use std::collections::{HashSet, VecDeque};

use crate::record::Change;

/// A bounded log. Versions rise along it, so a reader's place is the last version it took.
pub(super) struct Log {
    changes: VecDeque<Change>,
    changes_max: usize,
    /// The newest version that was dropped at the bound; 0 before that.
    dropped: u64,
}

impl Log {
    pub(super) fn new(changes_max: usize) -> Self {
        Log { changes: VecDeque::new(), changes_max, dropped: 0 }
    }

    /// Appends `change`, whose version is above every one before; returns the oldest when it had to go for that.
    pub(super) fn push(&mut self, change: Change) -> Option<Change> {
        self.changes.push_back(change);
        let oldest = if self.changes.len() > self.changes_max { self.changes.pop_front() } else { None };
        if let Some(oldest) = &oldest {
            self.dropped = oldest.version;
        }
        oldest
    }

    /// What was committed after version `place`, one change for each key at its highest version, in version order;
    /// `None` when some of it was dropped.
    pub(super) fn since(&self, place: u64) -> Option<Vec<Change>> {
        if place < self.dropped {
            return None;
        }
        let start = self.changes.partition_point(|change| change.version <= place);
        let mut seen = HashSet::new();
        let record = |change: &Change| (change.collection, change.key.clone());
        let newest_first = self.changes.range(start..).rev();
        let mut changes: Vec<_> = newest_first.filter(|change| seen.insert(record(change))).cloned().collect();
        changes.reverse();
        Some(changes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{CollectionId, Key};

    fn change(key: &str, version: u64) -> Change {
        Change { collection: CollectionId(0), key: Key::from_database(key), version, deleted: false }
    }

    fn versions(changes: Option<Vec<Change>>) -> Option<Vec<u64>> {
        changes.map(|changes| changes.iter().map(|change| change.version).collect())
    }

    #[test]
    fn each_key_comes_once_at_its_highest_version() {
        let mut log = Log::new(10);
        for (key, version) in [("a", 1), ("b", 2), ("a", 3), ("c", 5)] {
            log.push(change(key, version));
        }
        assert_eq!(versions(log.since(0)), Some(vec![2, 3, 5]));
        assert_eq!(versions(log.since(3)), Some(vec![5]));
        assert_eq!(versions(log.since(5)), Some(vec![]));
    }

    #[test]
    fn a_reader_is_told_when_what_it_lacks_was_dropped() {
        let mut log = Log::new(2);
        assert_eq!(log.push(change("a", 1)), None);
        assert_eq!(log.push(change("b", 2)), None);
        assert_eq!(log.push(change("c", 3)), Some(change("a", 1)));
        assert_eq!(log.since(0), None);
        assert_eq!(versions(log.since(1)), Some(vec![2, 3]), "what was dropped had been taken");
    }
}
