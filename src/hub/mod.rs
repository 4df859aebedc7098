//! Which connections watch which records, and the ready queue: in which order sockets are written.
//!
//! Promises: a watcher is offered every state newer than the one it was sent last, in rising order, or, where it is
//! slow, the latest; nothing is queued for it beyond one mark a key. A change marks the slots of its watchers; each
//! marked outlet is then written once, with everything outstanding at that moment. When a record may have become fresh, or no
//! longer be it, its slots are doubted in the same way: at most once each, and decided upon when they are written. Leaves
//! sockets and frames to `session`, where states come from to `changes` and `service`, and what is fresh to `service`.

pub mod proven;
pub mod slots;
pub mod topic;

use std::{
    collections::VecDeque,
    hash::BuildHasher,
    sync::Arc,
    time::{Duration, Instant},
};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use parking_lot::Mutex;
use prometheus::{IntCounter, IntGauge};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use proven::{Proven, Untold};
pub use slots::{SlotId, Slots};
pub use topic::{Frame, Topic};

use crate::{
    record::{RecordId, RecordRef, State},
    telemetry::Telemetry,
};

/// Independent parts of the registry.
const PARTS: usize = 64;
/// Outlets written before the hub yields to other tasks.
///
/// # Source
/// Measured: a get's p99 during a burst to 10,000 subscribers was 2-3 ms with 16, 73-121 ms with 256.
const ROUND: usize = 16;

/// Topics whose slots are doubted, and outlets that are enqueued for it, before the task yields to others. Chosen, not measured.
const DOUBT_STEP: usize = 128;

/// Where a watcher's frames go: a connection.
pub trait Outlet: Send + Sync + 'static {
    /// Marks a slot as having something new; true if the outlet must be added to the ready queue.
    fn mark(&self, slot: SlotId) -> bool;

    /// Notes that a slot's record may have become fresh, or no longer be it; true if no slot was doubted before. The outlet is
    /// written for it after [`Self::must_enqueue`].
    fn doubt(&self, slot: SlotId) -> bool;

    /// Whether the outlet, which has something to write, must be added to the ready queue; it counts as added from then on.
    fn must_enqueue(&self) -> bool;

    /// Writes what waits and what is marked, as far as the socket takes it without blocking.
    fn write_marked(&self);
}

/// The registry of watched records, and the ready queue. Cheap to clone.
#[derive(Clone)]
pub struct Hub {
    inner: Arc<Inner>,
}

struct Inner {
    parts: [Mutex<HashMap<RecordId, Arc<Topic>, FixedState>>; PARTS],
    hasher: FixedState,
    ready: Mutex<ReadyQueue>,
    is_ready: Notify,
    /// The topics whose watchers are owed a state.
    owed: Mutex<HashMap<RecordId, Arc<Topic>, FixedState>>,
    published: IntCounter,
    regressions: IntCounter,
    watchers: IntGauge,
}

/// The outlets that have something to write.
#[derive(Default)]
struct ReadyQueue {
    /// Each outlet is here at most once, so the queue is no longer than the number of connections.
    outlets: VecDeque<Arc<dyn Outlet>>,
    /// Some of them are being written.
    is_running: bool,
}

impl ReadyQueue {
    /// Every outlet has been written.
    fn is_settled(&self) -> bool {
        self.outlets.is_empty() && !self.is_running
    }
}

impl Hub {
    /// Nothing is watched yet.
    pub fn new(telemetry: &Telemetry) -> Self {
        let inner = Inner {
            parts: std::array::from_fn(|_| Mutex::default()),
            hasher: FixedState::default(),
            ready: Mutex::default(),
            is_ready: Notify::new(),
            owed: Mutex::default(),
            published: telemetry.counter("freshet_hub_published_total", "States offered to watchers."),
            regressions: telemetry
                .counter("freshet_hub_superseded_total", "States that arrived after a newer one and were dropped."),
            watchers: telemetry.gauge("freshet_hub_watchers", "Subscribed (connection, key) pairs."),
        };
        Hub { inner: Arc::new(inner) }
    }

    /// Registers `slot` of `outlet` as a watcher of `id`. Every state published from now on is marked there.
    pub fn watch(&self, id: &RecordId, outlet: Arc<dyn Outlet>, slot: SlotId) -> (Arc<Topic>, usize) {
        let mut part = self.part(id.as_ref()).lock();
        let topic = part.entry(id.clone()).or_insert_with(|| Arc::new(Topic::new(id.clone()))).clone();
        // Under the part's lock, so that the topic cannot be dropped as unwatched in between.
        let place = topic.add(outlet, slot);
        self.inner.watchers.inc();
        (topic, place)
    }

    /// Ends what [`Hub::watch`] began.
    pub fn unwatch(&self, topic: &Topic, place: usize) {
        let mut part = self.part(topic.id().as_ref()).lock();
        if topic.remove(place) {
            part.remove(topic.id());
        }
        self.inner.watchers.dec();
    }

    /// Whether anybody watches anything.
    pub fn has_watchers(&self) -> bool {
        self.inner.watchers.get() > 0
    }

    /// Whether anybody watches the record.
    pub fn is_watched(&self, record: RecordRef<'_>) -> bool {
        self.topic(record).is_some()
    }

    /// Every record that somebody watches now.
    pub fn watched(&self) -> Vec<RecordId> {
        self.inner.parts.iter().flat_map(|part| part.lock().keys().cloned().collect::<Vec<_>>()).collect()
    }

    /// Whether a state as new as `version` was offered for the record already, or nobody watches it.
    pub fn has_seen(&self, record: RecordRef<'_>, version: u64) -> bool {
        self.topic(record).is_none_or(|topic| topic.latest().is_some_and(|stamp| stamp.version >= version))
    }

    /// Offers a state to the record's watchers; one that is not newer than the last is dropped. It was not committed
    /// before `since`: its delivery is measured from there.
    pub fn publish(&self, id: &RecordId, state: &State, since: Instant) {
        let Some(topic) = self.topic(id.as_ref()) else { return };
        let settled = self.inner.ready.lock().is_settled();
        if !topic.offer(state, since, settled) {
            self.inner.regressions.inc();
            return;
        }
        self.inner.published.inc();
        let mut due = Vec::new();
        topic.mark_all(&mut due);
        self.enqueue_all(due);
    }

    /// The record's watchers are owed the state of a change that did not happen before `since`: until [`Self::settle`], what
    /// they have is not proven beyond that moment.
    ///
    /// To be called before a certificate vouches for the change.
    pub fn owe(&self, id: &RecordId, since: Instant) {
        if let Some(topic) = self.topic(id.as_ref()) {
            topic.owe(since);
            self.inner.owed.lock().insert(id.clone(), topic);
        }
    }

    /// The record's watchers are owed nothing any more: what they are owed was published, or another node has it. Those that
    /// were owed it for longer than `limit` are doubted.
    pub fn settle(&self, record: RecordRef<'_>, limit: Duration) {
        let Some(topic) = self.inner.owed.lock().remove(&record) else { return };
        if topic.settle().is_some_and(|since| since.elapsed() > limit) {
            let mut doubtful = Vec::new();
            topic.doubt_all(&mut doubtful);
            self.enqueue_doubtful(doubtful);
        }
    }

    /// Doubts the slots of records that have been owed to their watchers for longer than `limit`, once.
    pub fn doubt_overdue(&self, limit: Duration) {
        let overdue: Vec<_> = {
            let owed = self.inner.owed.lock();
            owed.values().filter(|topic| topic.becomes_overdue(limit)).cloned().collect()
        };
        let mut doubtful = Vec::new();
        overdue.iter().for_each(|topic| topic.doubt_all(&mut doubtful));
        self.enqueue_doubtful(doubtful);
    }

    /// Doubts the slots of every watched record that `concerns` picks, and yields in between. Outlets are written after all were
    /// doubted, so that each can say everything at once.
    pub async fn doubt(&self, concerns: impl Fn(RecordRef<'_>) -> bool) {
        let mut doubtful = Vec::new();
        for part in &self.inner.parts {
            let topics: Vec<_> = part.lock().values().cloned().collect();
            for topics in topics.chunks(DOUBT_STEP) {
                let concerned = topics.iter().filter(|topic| concerns(topic.id().as_ref()));
                concerned.for_each(|topic| topic.doubt_all(&mut doubtful));
                tokio::task::yield_now().await;
            }
        }
        for doubtful in doubtful.chunks(DOUBT_STEP) {
            self.enqueue_doubtful(doubtful.to_vec());
            tokio::task::yield_now().await;
        }
    }

    fn enqueue_doubtful(&self, mut doubtful: Vec<Arc<dyn Outlet>>) {
        doubtful.retain(|outlet| outlet.must_enqueue());
        self.enqueue_all(doubtful);
    }

    fn enqueue_all(&self, due: Vec<Arc<dyn Outlet>>) {
        if !due.is_empty() {
            self.inner.ready.lock().outlets.extend(due);
            self.inner.is_ready.notify_one();
        }
    }

    /// Adds an outlet to the ready queue, after it marked a slot of its own or has something to send.
    pub fn enqueue(&self, outlet: Arc<dyn Outlet>) {
        self.inner.ready.lock().outlets.push_back(outlet);
        self.inner.is_ready.notify_one();
    }

    /// Writes ready outlets until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut round = Vec::with_capacity(ROUND);
        while stop.run_until_cancelled(self.inner.is_ready.notified()).await.is_some() {
            while self.next_round(&mut round) {
                round.drain(..).for_each(|outlet| outlet.write_marked());
                tokio::task::yield_now().await;
            }
        }
    }

    /// Takes the next outlets off the queue; false when it is empty.
    fn next_round(&self, round: &mut Vec<Arc<dyn Outlet>>) -> bool {
        let mut ready = self.inner.ready.lock();
        let len = ready.outlets.len().min(ROUND);
        round.extend(ready.outlets.drain(..len));
        ready.is_running = len > 0;
        ready.is_running
    }

    /// The topic of a record that somebody watches.
    pub fn topic(&self, record: RecordRef<'_>) -> Option<Arc<Topic>> {
        self.part(record).lock().get(&record).cloned()
    }

    fn part(&self, record: RecordRef<'_>) -> &Mutex<HashMap<RecordId, Arc<Topic>, FixedState>> {
        &self.inner.parts[self.inner.hasher.hash_one(record) as usize % PARTS]
    }
}
