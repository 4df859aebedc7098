//! Changed records that are looked for in Redis before a database is asked: another node may have read them since the change.
//!
//! Each slice has a few requests under way at most; records that come meanwhile share the next. While another node reads a record,
//! the record pauses and is then looked for again, up to the number of pauses that the caller has; requests and the records that
//! were found do not wait for it. A record that changes during its request or its pause is looked for once more.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;

use crate::{record::RecordId, shared::SLOTS_AT_ONCE_MAX};

/// Requests of a slice under way at once. The fewer, the more records each carries; with one, a record waits for two round trips.
const REQUESTS_AT_ONCE: usize = 4;

/// The records that are looked for.
#[derive(Default)]
pub(super) struct Sought {
    records: HashMap<RecordId, Record, RandomState>,
    slices: HashMap<u32, Slice, RandomState>,
}

struct Record {
    slice: u32,
    /// It was not changed before this.
    since: Instant,
    /// How often it was looked for, and another node was reading it.
    looks: usize,
    state: State,
}

enum State {
    /// In its slice's queue.
    Waiting,
    /// Asked for, or pausing; with the moment of a change that came meanwhile.
    Looked { again: Option<Instant> },
}

#[derive(Default)]
struct Slice {
    waiting: VecDeque<RecordId>,
    requests: usize,
}

impl Sought {
    /// Has a record looked for that was not changed before `since`.
    pub(super) fn add(&mut self, slice: u32, id: RecordId, since: Instant) {
        match self.records.entry(id) {
            Entry::Vacant(free) => {
                self.slices.entry(slice).or_default().waiting.push_back(free.key().clone());
                free.insert(Record { slice, since, looks: 0, state: State::Waiting });
            }
            Entry::Occupied(mut record) => {
                if let State::Looked { again } = &mut record.get_mut().state {
                    again.get_or_insert(since);
                }
            }
        }
    }

    /// Takes what one request is to ask for.
    pub(super) fn next(&mut self) -> Option<(u32, Vec<RecordId>)> {
        let has_room = |slice: &Slice| slice.requests < REQUESTS_AT_ONCE && !slice.waiting.is_empty();
        let (number, slice) = self.slices.iter_mut().find(|(_, slice)| has_room(slice))?;
        let count = slice.waiting.len().min(SLOTS_AT_ONCE_MAX);
        let ids: Vec<RecordId> = slice.waiting.drain(..count).collect();
        slice.requests += 1;
        for id in &ids {
            if let Some(record) = self.records.get_mut(id) {
                record.state = State::Looked { again: None };
            }
        }
        Some((*number, ids))
    }

    /// A slice's request has ended.
    pub(super) fn answered(&mut self, slice: u32) {
        if let Some(slice) = self.slices.get_mut(&slice) {
            slice.requests -= 1;
        }
    }

    /// Another node is reading the record: returns which of `pauses` comes before it is looked for again; `None` after the last.
    pub(super) fn pause(&mut self, id: &RecordId, pauses: &[Duration]) -> Option<Duration> {
        let record = self.records.get_mut(id)?;
        record.looks += 1;
        pauses.get(record.looks - 1).copied()
    }

    /// A record's pause has ended.
    pub(super) fn paused(&mut self, id: RecordId) {
        if let Some(record) = self.records.get_mut(&id) {
            // What changed meanwhile is looked for with it.
            record.state = State::Waiting;
            self.slices.entry(record.slice).or_default().waiting.push_back(id);
        }
    }

    /// A record need not be looked for any longer, unless it was changed meanwhile; returns since when it was sought.
    pub(super) fn end(&mut self, id: &RecordId) -> Option<Instant> {
        let record = self.records.remove(id)?;
        if let State::Looked { again: Some(again) } = record.state {
            self.add(record.slice, id.clone(), again);
        }
        Some(record.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{CollectionId, Key};

    fn id(key: &str) -> RecordId {
        RecordId::new(CollectionId(0), Key::from_database(key))
    }

    #[test]
    fn records_that_come_while_a_slice_is_asked_share_the_next_request_and_another_slice_does_not_wait() {
        let (mut sought, now) = (Sought::default(), Instant::now());
        for n in 0..REQUESTS_AT_ONCE {
            sought.add(0, id(&n.to_string()), now);
            assert_eq!(sought.next(), Some((0, vec![id(&n.to_string())])));
        }
        for (slice, key) in [(0, "b"), (0, "c"), (1, "d"), (0, "b")] {
            sought.add(slice, id(key), now);
        }
        assert_eq!(sought.next(), Some((1, vec![id("d")])));
        assert_eq!(sought.next(), None);
        sought.answered(0);
        assert_eq!(sought.next(), Some((0, vec![id("b"), id("c")])));
    }

    #[test]
    fn a_record_that_changes_while_it_is_looked_for_is_looked_for_once_more() {
        let (mut sought, first) = (Sought::default(), Instant::now());
        let second = first + Duration::from_secs(1);
        sought.add(0, id("a"), first);
        sought.next().expect("a request");
        sought.add(0, id("a"), second);
        sought.add(0, id("a"), second + Duration::from_secs(1));
        assert_eq!(sought.end(&id("a")), Some(first));
        sought.answered(0);
        assert_eq!(sought.next(), Some((0, vec![id("a")])));
        assert_eq!((sought.end(&id("a")), sought.end(&id("a"))), (Some(second), None));
        sought.answered(0);
        assert_eq!(sought.next(), None);
    }

    #[test]
    fn a_record_that_another_node_reads_pauses_some_times_and_holds_up_no_other() {
        let (mut sought, now) = (Sought::default(), Instant::now());
        let pauses = [Duration::from_millis(3), Duration::from_millis(6)];
        sought.add(0, id("held"), now);
        for pause in pauses {
            assert_eq!(sought.next(), Some((0, vec![id("held")])));
            sought.answered(0);
            assert_eq!(sought.pause(&id("held"), &pauses), Some(pause));
            sought.add(0, id("free"), now);
            assert_eq!(sought.next(), Some((0, vec![id("free")])));
            sought.answered(0);
            sought.end(&id("free"));
            sought.paused(id("held"));
        }
        sought.next().expect("a request");
        assert_eq!(sought.pause(&id("held"), &pauses), None, "there is no third");
    }
}
