//! What the client's handles and its task both touch.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Refusal, subscription::Watch};

/// Shared between [`super::Client`], its subscriptions and the task that keeps the connection.
#[derive(Debug)]
pub(super) struct Shared {
    /// Ends the task.
    pub(super) stop: CancellationToken,
    /// What to present at the next connect.
    pub(super) token: Mutex<Option<String>>,
    /// Tells the session to look at `chores` again.
    pub(super) nudge: Notify,
    watches: Mutex<HashMap<u64, Arc<Watch>>>,
    chores: Mutex<Chores>,
    last_number: AtomicU64,
}

/// What the session has to do beside the callers' requests. At most one entry a subscription in each list.
#[derive(Debug, Default)]
pub(super) struct Chores {
    /// Subscriptions to resume, by number.
    pub(super) resume: Vec<u64>,
    /// The server's ids of subscriptions nobody reads any more.
    pub(super) forget: Vec<String>,
}

impl Shared {
    pub(super) fn new(token: Option<String>) -> Self {
        Shared {
            stop: CancellationToken::new(),
            token: Mutex::new(token),
            nudge: Notify::new(),
            watches: Mutex::default(),
            chores: Mutex::default(),
            last_number: AtomicU64::new(0),
        }
    }

    pub(super) fn next_number(&self) -> u64 {
        self.last_number.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn add(&self, number: u64, watch: Arc<Watch>) {
        self.watches.lock().insert(number, watch);
    }

    pub(super) fn watch(&self, number: u64) -> Option<Arc<Watch>> {
        self.watches.lock().get(&number).cloned()
    }

    /// Every subscription that was once confirmed, by number.
    pub(super) fn to_resume(&self) -> Vec<u64> {
        let watches = self.watches.lock();
        let mut numbers: Vec<u64> = watches.iter().filter(|(_, w)| w.is_confirmed()).map(|(&n, _)| n).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Drops the subscription here and, when the server knows it, there.
    pub(super) fn forget(&self, number: u64) {
        let watch = self.watches.lock().remove(&number);
        if let Some(id) = watch.and_then(|watch| watch.server_id()) {
            self.chores.lock().forget.push(id);
            self.nudge.notify_one();
        }
    }

    pub(super) fn resume(&self, number: u64) {
        self.chores.lock().resume.push(number);
        self.nudge.notify_one();
    }

    pub(super) fn forget_on_server(&self, id: String) {
        self.chores.lock().forget.push(id);
        self.nudge.notify_one();
    }

    /// Takes the chores that came up.
    pub(super) fn chores(&self) -> Chores {
        std::mem::take(&mut self.chores.lock())
    }

    /// The connection is gone, and all server-side ids with it.
    pub(super) fn lost(&self) {
        *self.chores.lock() = Chores::default();
        for watch in self.watches.lock().values() {
            watch.detach();
        }
    }

    /// The server will not resume that subscription.
    pub(super) fn end(&self, number: u64, refusal: Option<Refusal>) {
        if let Some(watch) = self.watches.lock().remove(&number) {
            watch.end(refusal);
        }
    }

    /// No connection will come again: every subscription ends.
    pub(super) fn end_all(&self) {
        for (_, watch) in self.watches.lock().drain() {
            watch.end(None);
        }
    }
}
