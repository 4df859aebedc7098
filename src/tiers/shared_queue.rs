//! Which records wait for the shared cache, and who waits for each.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;

use super::read_queue::{Caller, Callers};
use crate::{record::RecordId, resilience::Backoff};

/// Records that Redis is asked for at once, at the least and at the most, and about how many bytes.
const RECORDS: (usize, usize) = (8, 256);
const BYTES: usize = 1 << 20;
/// Tasks that serve a slice, and waiting records for which a second one is started.
const TASKS_MAX: usize = 2;
const MANY: usize = 32;
/// So many requests about the slice in a row may come to nothing; then Redis is not asked about it for a while.
const FAILURES_MAX: u32 = 5;
const REST: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));

/// The reads of one slice. Concurrent reads of a record share one way through Redis and the database.
pub(super) struct SharedQueue {
    wanted: HashMap<RecordId, Wanted, RandomState>,
    /// Those that Redis was not asked for yet, in the order they were first wanted.
    waiting: VecDeque<RecordId>,
    /// Tasks that serve it, each with a request in flight.
    tasks: usize,
    /// Of a slot, on an average of late.
    bytes: usize,
    /// In a row.
    failures: u32,
    rest: Backoff,
    /// Redis is not asked before.
    due: Option<Instant>,
}

impl Default for SharedQueue {
    fn default() -> Self {
        SharedQueue {
            wanted: HashMap::default(),
            waiting: VecDeque::new(),
            tasks: 0,
            bytes: 0,
            failures: 0,
            rest: REST,
            due: None,
        }
    }
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
    /// It waits, and one more task is to serve the queue.
    First,
    /// The database is asked for the record already.
    Loading(Caller),
    /// Redis is not asked about the slice for a while.
    Resting(Caller),
}

impl SharedQueue {
    /// Adds a caller. [`Joined::First`] asks for one more task to serve the queue. A second task keeps Redis busy while this node takes
    /// in what the first has read; while few records wait, the first asks for them together.
    pub(super) fn join(&mut self, id: &RecordId, caller: Caller) -> Joined {
        let is_crowded = caller.is_shadow && self.waiting.len() >= RECORDS.1;
        if is_crowded || self.due.is_some_and(|due| Instant::now() < due) {
            return Joined::Resting(caller);
        }
        match self.wanted.get_mut(id) {
            Some(Wanted::Loading) => return Joined::Loading(caller),
            Some(Wanted::Asked(callers)) => callers.push(caller),
            None => {
                self.wanted.insert(id.clone(), Wanted::Asked(vec![caller]));
                self.waiting.push_back(id.clone());
            }
        }
        let is_enough = match self.tasks {
            0 => false,
            TASKS_MAX.. => true,
            _ => self.waiting.len() < MANY,
        };
        if is_enough {
            return Joined::Waiting;
        }
        self.tasks += 1;
        Joined::First
    }

    /// The next records to ask for, fewer where slots are large; `None` when there are none, and the task that asks serves the queue
    /// no more.
    pub(super) fn next(&mut self) -> Option<Vec<RecordId>> {
        let records_max = (BYTES / self.bytes.max(1)).clamp(RECORDS.0, RECORDS.1);
        let next: Vec<RecordId> = self.waiting.drain(..self.waiting.len().min(records_max)).collect();
        if next.is_empty() {
            self.tasks -= 1;
            return None;
        }
        Some(next)
    }

    /// A request was answered, with slots of so many bytes each, on an average.
    pub(super) fn answered(&mut self, bytes: Option<usize>) {
        (self.failures, self.due) = (0, None);
        self.rest.reset();
        if let Some(bytes) = bytes {
            self.bytes = (self.bytes * 7 + bytes) / 8;
        }
    }

    /// A request came to nothing.
    pub(super) fn failed(&mut self) {
        self.failures += 1;
        if self.failures >= FAILURES_MAX {
            self.due = Some(Instant::now() + self.rest.next_wait());
        }
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

    /// All callers, where a task that served the queue is gone; the other, if there is one, goes on with those that come.
    pub(super) fn abandon(&mut self) -> Vec<Callers> {
        self.waiting.clear();
        self.tasks = self.tasks.saturating_sub(1);
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
        assert_eq!(queue.next(), Some(vec![id("a"), id("b")]));
        assert!(matches!(queue.join(&id("a"), caller()), Joined::Waiting), "it is asked for already");
        assert_eq!(queue.next(), None);
        assert_eq!(queue.begin_loading(&id("a")).len(), 3);
        assert!(matches!(queue.join(&id("a"), caller()), Joined::Loading(_)));
        assert_eq!((queue.settle(&id("a")).len(), queue.settle(&id("b")).len()), (0, 1));
        assert!(matches!(queue.join(&id("a"), caller()), Joined::First), "the queue was served to its end");
    }

    #[test]
    fn a_second_task_is_started_for_many_records_and_no_third() {
        let mut queue = SharedQueue::default();
        let started = |ids: std::ops::Range<usize>, queue: &mut SharedQueue| {
            let joins = ids.filter(|n| matches!(queue.join(&id(&n.to_string()), caller()), Joined::First));
            joins.collect::<Vec<_>>()
        };
        assert_eq!(started(0..1, &mut queue), [0]);
        assert!(queue.next().is_some());
        assert_eq!(started(1..200, &mut queue), [MANY], "the first task has its request in flight");
        assert!(queue.next().is_some() && queue.next().is_none());
        assert_eq!(started(200..300, &mut queue), [200 + MANY - 1]);
        while queue.next().is_some() {}
        assert!(started(300..301, &mut queue).is_empty(), "the other task is there");
        while queue.next().is_some() {}
        assert_eq!(started(301..302, &mut queue), [301]);
    }

    #[test]
    fn fewer_records_are_asked_for_where_slots_are_large() {
        let mut queue = SharedQueue::default();
        let mut asked = |bytes| {
            (0..100).for_each(|_| queue.answered(Some(bytes)));
            (0..300).for_each(|n| drop(queue.join(&id(&format!("{bytes} {n}")), caller())));
            let first = queue.next().map_or(0, |asked| asked.len());
            while queue.next().is_some() {}
            first
        };
        assert_eq!([asked(100), asked(16 << 10), asked(1 << 20)], [256, 64, 8]);
    }

    #[test]
    fn redis_is_not_asked_about_a_slice_that_it_does_not_answer_about() {
        let mut queue = SharedQueue::default();
        (0..FAILURES_MAX).for_each(|_| queue.failed());
        assert!(matches!(queue.join(&id("a"), caller()), Joined::Resting(_)));
        queue.answered(None);
        assert!(matches!(queue.join(&id("a"), caller()), Joined::First));
    }
}
