//! Notes what happens, from all tasks of a run.
//!
//! Promises: at most [`EVENTS_MAX`] events are kept; before that the run is told to end, and a run that comes so far all the same
//! is not judged. Events are noted in the order
//! in which a connection brought them.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use parking_lot::Mutex;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{
    history::{Event, History, Micros, Pushed, State, Subscribed, Truth},
    judge::has_arrived,
};
use crate::record::Stamp;

/// The most events of a run: some 200 bytes each, 200 MB in all.
pub(super) const EVENTS_MAX: usize = 1_000_000;
/// When there are so many, the run is told to end; what is under way still has room.
const EVENTS_FULL: usize = EVENTS_MAX / 5 * 4;

/// What disturbed the run without being a violation.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Disturbances {
    /// Connections that were lost.
    pub(super) disconnects: u64,
    /// Nodes that asked to be left.
    pub(super) drains: u64,
    /// Requests that were not answered in time.
    pub(super) timeouts: u64,
    /// Requests that were refused, by the reason.
    pub(super) refusals: BTreeMap<String, u64>,
    /// The last reason for which a connection was lost.
    pub(super) last_loss: Option<String>,
}

/// The account of a run under way.
pub(super) struct Recorder {
    began: Instant,
    /// Fires when the run should end, since there is little room for more events.
    pub(super) full: CancellationToken,
    /// Events were dropped: what is left cannot be judged.
    pub(super) is_cut: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    history: History,
    disturbances: Disturbances,
    subscriptions: u32,
    /// Each key of each open subscription.
    watched: HashMap<(u32, u32), Watched>,
    /// The newest state of each key that was told, or acknowledged.
    newest: HashMap<u32, Stamp>,
}

/// A key of an open subscription.
struct Watched {
    session: u32,
    /// What the subscription named as known.
    since: Option<Stamp>,
    /// What was pushed last.
    last: Option<State>,
}

impl Recorder {
    pub(super) fn new(keys: Vec<String>) -> Self {
        let inner = Inner { history: History { keys, ..History::default() }, ..Inner::default() };
        Recorder {
            began: Instant::now(),
            full: CancellationToken::new(),
            is_cut: AtomicBool::new(false),
            inner: Mutex::new(inner),
        }
    }

    pub(super) fn now(&self) -> Micros {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// A new connection to `node`; its number.
    pub(super) fn open_session(&self, node: &str) -> u32 {
        let sessions = &mut self.inner.lock().history.sessions;
        sessions.push(node.to_owned());
        sessions.len() as u32 - 1
    }

    /// A new subscription of `session`; its number.
    pub(super) fn subscribe(&self, session: u32, keys: &[(u32, Option<Stamp>)]) -> u32 {
        let sent = self.now();
        let mut inner = self.inner.lock();
        inner.subscriptions += 1;
        let subscription = inner.subscriptions;
        for &(key, since) in keys {
            inner.watched.insert((subscription, key), Watched { session, since, last: None });
            self.note(&mut inner, Event::Subscribed(Subscribed { subscription, key, session, since, sent }));
        }
        subscription
    }

    /// The subscription is over.
    pub(super) fn end(&self, subscription: u32) {
        let at = self.now();
        let mut inner = self.inner.lock();
        inner.watched.retain(|(watched, _), _| *watched != subscription);
        self.note(&mut inner, Event::Ended { subscription, at });
    }

    /// The session's subscriptions are over.
    pub(super) fn end_session(&self, session: u32) {
        let inner = self.inner.lock();
        let own = inner.watched.iter().filter(|(_, watched)| watched.session == session);
        let own: HashSet<u32> = own.map(|((subscription, _), _)| *subscription).collect();
        drop(inner);
        own.into_iter().for_each(|subscription| self.end(subscription));
    }

    pub(super) fn push(&self, pushed: Pushed) {
        let mut inner = self.inner.lock();
        if let Some(watched) = inner.watched.get_mut(&(pushed.subscription, pushed.key)) {
            watched.last = Some(pushed.state.clone());
        }
        self.note(&mut inner, Event::Pushed(pushed));
    }

    /// Notes any other event.
    pub(super) fn event(&self, event: Event) {
        self.note(&mut self.inner.lock(), event);
    }

    fn note(&self, inner: &mut Inner, event: Event) {
        let newer = match &event {
            Event::Write(write) => write.stamp().map(|stamp| (write.key, stamp)),
            Event::Read(read) => Some((read.key, read.state.stamp)),
            Event::Pushed(pushed) => Some((pushed.key, pushed.state.stamp)),
            _ => None,
        };
        if let Some((key, stamp)) = newer {
            let newest = inner.newest.entry(key).or_default();
            *newest = stamp.max(*newest);
        }
        // The final states are few, and without them little can be judged.
        let events = inner.history.events.len();
        if events >= EVENTS_FULL {
            self.full.cancel();
        }
        if events < EVENTS_MAX || matches!(event, Event::Truth(_)) {
            inner.history.events.push(event);
        } else {
            self.is_cut.store(true, Ordering::Relaxed);
        }
    }

    /// The newest stamp of the key that was told or acknowledged.
    pub(super) fn newest(&self, key: u32) -> Option<Stamp> {
        self.inner.lock().newest.get(&key).copied()
    }

    pub(super) fn disturb(&self, note: impl FnOnce(&mut Disturbances)) {
        note(&mut self.inner.lock().disturbances);
    }

    pub(super) fn disturbances(&self) -> Disturbances {
        self.inner.lock().disturbances.clone()
    }

    /// How many keys of open subscriptions have not arrived at their truth.
    pub(super) fn behind(&self, truths: &[Truth]) -> usize {
        let truths: HashMap<u32, &Truth> = truths.iter().map(|truth| (truth.key, truth)).collect();
        let inner = self.inner.lock();
        let is_behind = |key: u32, watched: &Watched| {
            let truth = truths.get(&key);
            truth.is_some_and(|truth| !has_arrived(watched.since, watched.last.as_ref(), &truth.state))
        };
        inner.watched.iter().filter(|((_, key), watched)| is_behind(*key, watched)).count()
    }

    /// Notes the final states, and gives the history away.
    pub(super) fn finish(&self, truths: Vec<Truth>) -> History {
        let mut inner = self.inner.lock();
        for truth in truths {
            self.note(&mut inner, Event::Truth(truth));
        }
        std::mem::take(&mut inner.history)
    }

    /// How many events there are.
    pub(super) fn len(&self) -> usize {
        self.inner.lock().history.events.len()
    }
}
