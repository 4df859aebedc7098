//! One watched record: who watches it and its last few states.

use std::{
    collections::VecDeque,
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;
use slab::Slab;

use super::{Outlet, SlotId};
use crate::{
    protocol::codec,
    record::{RecordId, Stamp, State},
};

/// States kept in any case, for watchers that are not in the ready queue.
const RECENT_MIN: usize = 8;
/// States, and bytes of them, kept while watchers are in the ready queue: a healthy watcher shall see each state although
/// many came before it is written. The number is that of the broadcast channel it is measured against.
const RECENT_MAX: usize = 64;
const RECENT_BYTES_MAX: usize = 64 * 1024;

/// A state as it goes to every watcher: encoded once.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The state's stamp.
    pub stamp: Stamp,
    /// The record object as JSON text.
    pub body: Bytes,
    /// It was not committed before this moment.
    pub since: Instant,
    /// What the body is of: it is encoded anew, with `"reset": true`, for those who saw an earlier generation.
    state: State,
}

impl Frame {
    /// Encodes `state` of the record `key`, which was not committed before `since`.
    pub fn new(key: &str, state: &State, since: Instant) -> Self {
        Frame { stamp: state.stamp, body: encode(key, state, false), since, state: state.clone() }
    }

    /// The text for a watcher who was sent `sent` last: marked as a reset when history was lost in between.
    pub fn body_after(&self, key: &str, sent: Stamp) -> Bytes {
        if sent.generation != 0 && sent.generation < self.stamp.generation {
            encode(key, &self.state, true)
        } else {
            self.body.clone()
        }
    }
}

fn encode(key: &str, state: &State, reset: bool) -> Bytes {
    let mut text =
        Vec::with_capacity(codec::RECORD_HEAD_BYTES_MAX + key.len() + state.value.as_ref().map_or(4, Bytes::len));
    codec::record(&mut text, key, state, None, reset);
    text.into()
}

impl Recent {
    fn push(&mut self, frame: Frame, settled: bool) {
        self.bytes += frame.body.len();
        self.frames.push_back(frame);
        while self.frames.len() > RECENT_MIN
            && (settled || self.frames.len() > RECENT_MAX || self.bytes > RECENT_BYTES_MAX)
        {
            self.bytes -= self.frames.pop_front().map_or(0, |oldest| oldest.body.len());
        }
    }
}

struct Watcher {
    outlet: Arc<dyn Outlet>,
    slot: SlotId,
}

/// A watched record.
///
/// Lock order: the watchers, then an outlet's own lock. The recent states have a lock apart, because an outlet asks
/// for them while it holds its own.
pub struct Topic {
    id: RecordId,
    watchers: Mutex<Slab<Watcher>>,
    recent: Mutex<Recent>,
    owed: Mutex<Option<Owed>>,
}

/// A change of the record that was reported, and whose state has not been read yet.
struct Owed {
    /// The record was not changed before this moment.
    since: Instant,
    /// Its watchers were made to look how long that is ago.
    is_overdue: bool,
}

/// The last states offered, oldest first.
#[derive(Default)]
struct Recent {
    frames: VecDeque<Frame>,
    bytes: usize,
}

impl Topic {
    pub(super) fn new(id: RecordId) -> Self {
        Topic { id, watchers: Mutex::default(), recent: Mutex::default(), owed: Mutex::default() }
    }

    /// The record.
    pub fn id(&self) -> &RecordId {
        &self.id
    }

    /// How many watch it.
    pub fn watchers(&self) -> usize {
        self.watchers.lock().len()
    }

    /// The stamp of the newest state offered.
    pub fn latest(&self) -> Option<Stamp> {
        self.recent.lock().frames.back().map(|frame| frame.stamp)
    }

    /// Hands the states newer than `sent` to `take`, until it breaks off: those that are kept, oldest first, or with
    /// `latest_only` the newest. `take` runs under the topic's lock.
    pub fn give_after(
        &self,
        sent: Stamp,
        latest_only: bool,
        take: impl FnMut(&Frame) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let recent = self.recent.lock();
        let newer = recent.frames.partition_point(|frame| frame.stamp <= sent);
        let first = if latest_only { newer.max(recent.frames.len().saturating_sub(1)) } else { newer };
        recent.frames.range(first..).try_for_each(take)
    }

    /// Takes a state that is newer than the last. With `settled`, the ready queue is empty.
    pub(super) fn offer(&self, state: &State, since: Instant, settled: bool) -> bool {
        let mut recent = self.recent.lock();
        if recent.frames.back().is_some_and(|newest| newest.stamp >= state.stamp) {
            return false;
        }
        recent.push(Frame::new(self.id.key.as_str(), state, since), settled);
        true
    }

    pub(super) fn mark_all(&self, due: &mut Vec<Arc<dyn Outlet>>) {
        for (_, watcher) in self.watchers.lock().iter() {
            if watcher.outlet.mark(watcher.slot) {
                due.push(watcher.outlet.clone());
            }
        }
    }

    pub(super) fn doubt_all(&self, doubtful: &mut Vec<Arc<dyn Outlet>>) {
        for (_, watcher) in self.watchers.lock().iter() {
            if watcher.outlet.doubt(watcher.slot) {
                doubtful.push(watcher.outlet.clone());
            }
        }
    }

    /// The moment before which the record was not changed, where its watchers are owed the state of a change.
    pub fn owed(&self) -> Option<Instant> {
        self.owed.lock().as_ref().map(|owed| owed.since)
    }

    /// The watchers are owed a change that did not happen before `since`. The earliest one counts.
    pub(super) fn owe(&self, since: Instant) {
        let mut owed = self.owed.lock();
        let since = owed.as_ref().map_or(since, |owed| owed.since.min(since));
        let is_overdue = owed.as_ref().is_some_and(|owed| owed.is_overdue);
        *owed = Some(Owed { since, is_overdue });
    }

    /// The watchers were offered what they are owed; returns since when they were.
    pub(super) fn settle(&self) -> Option<Instant> {
        self.owed.lock().take().map(|owed| owed.since)
    }

    /// Whether the watchers have been owed a change for longer than `limit`; true once.
    pub(super) fn becomes_overdue(&self, limit: Duration) -> bool {
        let mut owed = self.owed.lock();
        let overdue = owed.as_mut().filter(|owed| owed.since.elapsed() > limit);
        overdue.is_some_and(|owed| !std::mem::replace(&mut owed.is_overdue, true))
    }

    pub(super) fn add(&self, outlet: Arc<dyn Outlet>, slot: SlotId) -> usize {
        self.watchers.lock().insert(Watcher { outlet, slot })
    }

    /// Removes a watcher; true if it was the last.
    pub(super) fn remove(&self, place: usize) -> bool {
        let mut watchers = self.watchers.lock();
        let removed = watchers.try_remove(place);
        let none_left = watchers.is_empty();
        drop(watchers);
        // The outlet may go with its last reference, outside the lock.
        drop(removed);
        none_left
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{CollectionId, Key};

    fn topic() -> Topic {
        Topic::new(RecordId::new(CollectionId(0), Key::from_database("a")))
    }

    fn offer(topic: &Topic, version: u64, len: usize, settled: bool) -> bool {
        let state = State { stamp: Stamp::new(1, version), value: Some(vec![b'1'; len].into()) };
        topic.offer(&state, Instant::now(), settled)
    }

    fn after(topic: &Topic, version: u64, latest_only: bool) -> Vec<u64> {
        let mut given = Vec::new();
        let flow = topic.give_after(Stamp::new(1, version), latest_only, |frame| {
            given.push(frame.stamp.version);
            ControlFlow::Continue(())
        });
        assert!(flow.is_continue());
        given
    }

    #[test]
    fn only_newer_states_are_offered_and_given() {
        let topic = topic();
        assert!(offer(&topic, 5, 10, true));
        assert!(!offer(&topic, 5, 10, true) && !offer(&topic, 4, 10, true));
        assert!(offer(&topic, 7, 10, true));
        assert_eq!(after(&topic, 0, false), [5, 7]);
        assert_eq!(after(&topic, 5, false), [7]);
        assert_eq!(after(&topic, 0, true), [7]);
        assert_eq!((after(&topic, 7, false), after(&topic, 7, true)), (vec![], vec![]));
    }

    #[test]
    fn states_are_kept_while_watchers_are_in_the_ready_queue() {
        let topic = topic();
        (1..=200).for_each(|version| assert!(offer(&topic, version, 10, false)));
        assert_eq!(after(&topic, 0, false), (137..=200).collect::<Vec<_>>());
        assert!(offer(&topic, 201, 10, true));
        assert_eq!(after(&topic, 0, false), (194..=201).collect::<Vec<_>>());
    }

    #[test]
    fn large_states_are_kept_within_a_bound() {
        let topic = topic();
        (1..=200).for_each(|version| assert!(offer(&topic, version, 5_000, false)));
        let bytes: usize = topic.recent.lock().frames.iter().map(|frame| frame.body.len()).sum();
        assert!(bytes <= RECENT_BYTES_MAX && topic.recent.lock().bytes == bytes, "{bytes} bytes are kept");
        (201..=400).for_each(|version| assert!(offer(&topic, version, 50_000, false)));
        assert_eq!(after(&topic, 0, false).len(), RECENT_MIN);
    }
}
