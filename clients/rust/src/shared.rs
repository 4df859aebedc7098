//! What the client's handles and its task both touch.

use std::{sync::Arc, time::Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Record, Refusal, incoming::Told, mailbox::Mailbox, topics::Topics};

/// Shared between [`super::Client`], its subscriptions and the task that keeps the connection.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Ends the task.
    pub(super) stop: CancellationToken,
    /// Tells the session to look at `chores` again.
    pub(super) nudge: Notify,
    topics: Mutex<Topics>,
    chores: Mutex<Chores>,
}

/// What the session has to do beside the callers' requests. At most one entry a topic in each list.
#[derive(Debug, Default)]
pub(super) struct Chores {
    /// Topics to subscribe, by number.
    pub(super) subscribe: Vec<u64>,
    /// The server's ids of subscriptions nobody reads any more.
    pub(super) forget: Vec<String>,
}

impl Shared {
    /// Adds a reader of a key, and subscribes to it if it is the first.
    pub(super) fn join(&self, collection: &str, key: &str, reader: &Arc<Mailbox>) {
        let number = self.topics.lock().join(collection, key, reader);
        number.into_iter().for_each(|number| self.subscribe(number));
    }

    /// Takes a reader of a key away, and ends the subscription if it was the last.
    pub(super) fn leave(&self, collection: &str, key: &str, reader: &Arc<Mailbox>) {
        let mut topics = self.topics.lock();
        self.forget(topics.leave(collection, key, reader));
    }

    /// Every topic's number, oldest first.
    pub(super) fn to_resume(&self) -> Vec<u64> {
        self.topics.lock().numbers()
    }

    /// The `subscribe` of a topic, unless it has gone or was asked for already.
    pub(super) fn request(&self, number: u64) -> Option<String> {
        self.topics.lock().request(number)
    }

    /// The session shall subscribe to that topic.
    pub(super) fn subscribe(&self, number: u64) {
        self.chores.lock().subscribe.push(number);
        self.nudge.notify_one();
    }

    /// The server has confirmed a topic. If nobody reads it any more, that ends it.
    pub(super) fn confirmed(&self, number: u64, id: String) {
        let mut topics = self.topics.lock();
        self.forget(topics.confirm(number, id));
    }

    /// The server has refused a topic for now.
    pub(super) fn postponed(&self, number: u64) {
        self.topics.lock().postpone(number);
    }

    /// The server has refused a topic for good.
    pub(super) fn refused(&self, number: u64, refusal: Option<Refusal>) {
        self.topics.lock().refuse(number, refusal);
    }

    /// A state came for the subscription that the server calls `id`.
    pub(super) fn pushed(&self, id: &str, record: &Record) {
        self.topics.lock().push(id, record);
    }

    /// The server says how subscriptions stand.
    pub(super) fn told(&self, told: &Told) {
        self.topics.lock().tell(told);
    }

    /// An answer brought a state of `key`. Returns the newest one known.
    pub(super) fn answered(&self, collection: &str, key: &str, record: Record) -> Record {
        self.topics.lock().answer(collection, key, record)
    }

    /// Takes the chores that came up.
    pub(super) fn chores(&self) -> Chores {
        std::mem::take(&mut self.chores.lock())
    }

    /// The connection is gone, and all server-side ids with it. The server was last heard at `heard`.
    pub(super) fn lost(&self, heard: Instant) {
        let mut topics = self.topics.lock();
        topics.lost(heard);
        *self.chores.lock() = Chores::default();
    }

    /// No connection will come again: every subscription ends.
    pub(super) fn end_all(&self) {
        self.topics.lock().end();
    }

    /// Called with the topics locked: an id must not outlive the connection that it is of, as the next one may use it
    /// for something else.
    fn forget(&self, id: Option<String>) {
        if let Some(id) = id {
            self.chores.lock().forget.push(id);
            self.nudge.notify_one();
        }
    }
}
