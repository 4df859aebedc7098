//! Which records wait for the shared cache, and who waits for each.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;

use super::read_queue::{Caller, Callers};
use crate::record::RecordId;

/// The reads of one slice. Concurrent reads of a record share one way through Redis and the database.
#[derive(Default)]
pub(super) struct SharedQueue {
    wanted: HashMap<RecordId, Wanted, RandomState>,
    /// Those that Redis was not asked for yet, in the order they were first wanted.
    waiting: VecDeque<RecordId>,
    is_served: bool,
}

/// How far a record is.
enum Wanted {
    /// Redis is asked, or will be.
    Asked(Callers),
    /// This node has the lease, and the database is asked.
    Loading,
}

/// What becomes of a caller.
pub(super) enum Joined {
    /// It waits.
    Waiting,
    /// It waits, and nobody serves the queue.
    First,
    /// The database is asked for the record already.
    Loading(Caller),
}

impl SharedQueue {
    /// Adds a caller. Where it is the first, whoever is told so serves the queue.
    pub(super) fn join(&mut self, id: &RecordId, caller: Caller) -> Joined {
        match self.wanted.get_mut(id) {
            Some(Wanted::Loading) => return Joined::Loading(caller),
            Some(Wanted::Asked(callers)) => callers.push(caller),
            None => {
                self.wanted.insert(id.clone(), Wanted::Asked(vec![caller]));
                self.waiting.push_back(id.clone());
            }
        }
        if std::mem::replace(&mut self.is_served, true) { Joined::Waiting } else { Joined::First }
    }

    /// The next records to ask for, `records_max` at the most; `None` when there are none, and the queue is served no more.
    pub(super) fn next(&mut self, records_max: usize) -> Option<Vec<RecordId>> {
        let next: Vec<RecordId> = self.waiting.drain(..self.waiting.len().min(records_max)).collect();
        self.is_served = !next.is_empty();
        self.is_served.then_some(next)
    }

    /// The callers of a record that is settled, one way or the other.
    pub(super) fn settle(&mut self, id: &RecordId) -> Callers {
        match self.wanted.remove(id) {
            Some(Wanted::Asked(callers)) => callers,
            _ => Callers::new(),
        }
    }

    /// The callers of a record that the database is asked for from now on, until [`Self::settle`].
    pub(super) fn begin_loading(&mut self, id: &RecordId) -> Callers {
        match self.wanted.insert(id.clone(), Wanted::Loading) {
            Some(Wanted::Asked(callers)) => callers,
            _ => Callers::new(),
        }
    }

    /// All callers, where the task that served the queue is gone.
    pub(super) fn abandon(&mut self) -> Vec<Callers> {
        self.waiting.clear();
        self.is_served = false;
        let abandoned = self.wanted.drain().map(|(_, wanted)| match wanted {
            Wanted::Asked(callers) => callers,
            Wanted::Loading => Callers::new(),
        });
        abandoned.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        record::{CollectionId, Key},
        resilience::Deadline,
    };

    fn caller() -> Caller {
        Caller::new(Deadline::after(Duration::from_secs(1)), |_| ())
    }

    fn id(key: &str) -> RecordId {
        RecordId::new(CollectionId(0), Key::from_database(key))
    }

    #[test]
    fn callers_of_a_record_share_its_way() {
        let mut queue = SharedQueue::default();
        assert!(matches!(queue.join(&id("a"), caller()), Joined::First));
        assert!(matches!(queue.join(&id("a"), caller()), Joined::Waiting));
        assert!(matches!(queue.join(&id("b"), caller()), Joined::Waiting));
        assert_eq!(queue.next(1), Some(vec![id("a")]));
        assert!(matches!(queue.join(&id("a"), caller()), Joined::Waiting), "it is asked for already");
        assert_eq!(queue.next(9), Some(vec![id("b")]));
        assert_eq!(queue.next(9), None);
        assert_eq!(queue.begin_loading(&id("a")).len(), 3);
        assert!(matches!(queue.join(&id("a"), caller()), Joined::Loading(_)));
        assert_eq!((queue.settle(&id("a")).len(), queue.settle(&id("b")).len()), (0, 1));
        assert!(matches!(queue.join(&id("a"), caller()), Joined::First), "the queue was served to its end");
    }
}
