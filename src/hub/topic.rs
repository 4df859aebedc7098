//! One watched record: who watches it and its last few states.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use slab::Slab;

use super::{Outlet, SlotId};
use crate::{
    protocol::codec,
    record::{RecordId, Stamp, State},
};

/// States kept so that a healthy watcher sees each one although several came before its turn.
const RECENT: usize = 8;

/// A state as it goes to every watcher: encoded once.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The state's stamp.
    pub stamp: Stamp,
    /// The record object as JSON text.
    pub body: Bytes,
    /// It was not committed before this moment.
    pub since: Instant,
    /// The same with `"reset": true`, for those who saw an earlier generation.
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
    recent: Mutex<VecDeque<Arc<Frame>>>,
}

impl Topic {
    pub(super) fn new(id: RecordId) -> Self {
        Topic { id, watchers: Mutex::default(), recent: Mutex::default() }
    }

    /// The record.
    pub fn id(&self) -> &RecordId {
        &self.id
    }

    /// The stamp of the newest state offered.
    pub fn latest(&self) -> Option<Stamp> {
        self.recent.lock().back().map(|frame| frame.stamp)
    }

    /// The next state for a watcher who was sent `sent` last: the oldest kept that is newer, or with `latest_only`
    /// the newest.
    pub fn next_after(&self, sent: Stamp, latest_only: bool) -> Option<Arc<Frame>> {
        let recent = self.recent.lock();
        let newest = recent.back().filter(|frame| frame.stamp > sent)?;
        let next = if latest_only { newest } else { recent.iter().find(|frame| frame.stamp > sent)? };
        Some(next.clone())
    }

    pub(super) fn offer(&self, state: &State, since: Instant) -> bool {
        let mut recent = self.recent.lock();
        if recent.back().is_some_and(|newest| newest.stamp >= state.stamp) {
            return false;
        }
        if recent.len() == RECENT {
            recent.pop_front();
        }
        recent.push_back(Arc::new(Frame::new(self.id.key.as_str(), state, since)));
        true
    }

    pub(super) fn mark_all(&self, due: &mut Vec<Arc<dyn Outlet>>) {
        for (_, watcher) in self.watchers.lock().iter() {
            if watcher.outlet.mark(watcher.slot) {
                due.push(watcher.outlet.clone());
            }
        }
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
