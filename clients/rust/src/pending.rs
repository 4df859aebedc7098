//! Requests from call to answer.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::{Error, Refusal};

/// What may be done with a request whose connection was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Sent again.
    Read,
    /// Sent again: the server does a write of one idempotency key once.
    Keyed,
    /// Not sent again: it may have happened.
    Once,
    /// Dropped: the subscription of the topic of that number, which the next connection asks for anew.
    Subscribe(u64),
    /// Dropped: the end of a subscription; nobody waits for it.
    Unsubscribe,
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Call {
    /// Everything behind the id; empty for a subscription.
    pub(super) tail: String,
    pub(super) kind: Kind,
    /// Whether a byte of it may have left, on any connection.
    pub(super) sent: Arc<AtomicBool>,
    reply: Option<oneshot::Sender<Result<Box<RawValue>, Error>>>,
}

impl Call {
    pub(super) fn new(tail: String, kind: Kind, reply: oneshot::Sender<Result<Box<RawValue>, Error>>) -> Self {
        Call { tail, kind, sent: Arc::default(), reply: Some(reply) }
    }

    /// A request whose answer only the session itself looks at.
    pub(super) fn unasked(tail: String, kind: Kind) -> Self {
        Call { tail, kind, sent: Arc::default(), reply: None }
    }

    /// Whether the caller has gone.
    pub(super) fn is_abandoned(&self) -> bool {
        self.reply.as_ref().is_some_and(oneshot::Sender::is_closed)
    }

    pub(super) fn answer(self, answer: Result<Box<RawValue>, Error>) {
        // The caller may have gone, which is its right.
        let _ = self.reply.map(|reply| reply.send(answer));
    }

    /// Ends it without an answer from the server: a write that has left may have happened, else it is `error`.
    pub(super) fn fail(self, error: Error) {
        let error = end(self.kind, &self.sent, error);
        self.answer(Err(error));
    }
}

/// How a request of `kind` ends that gets no answer because of `error`.
pub(super) fn end(kind: Kind, sent: &AtomicBool, error: Error) -> Error {
    let is_write = matches!(kind, Kind::Keyed | Kind::Once);
    if is_write && sent.load(Ordering::Acquire) { Error::OutcomeUnknown } else { error }
}

/// The requests sent and not answered, by id: as many as [`super::Options::in_flight_max`], the subscriptions being
/// asked for, and those whose callers went since the last sign of life. And those held back for the next connection.
#[derive(Debug, Default)]
pub(super) struct Pending {
    calls: BTreeMap<u64, Call>,
    held: VecDeque<Call>,
    last_id: u64,
}

impl Pending {
    /// Takes `call` as sent and gives it an id.
    pub(super) fn add(&mut self, call: Call) -> u64 {
        call.sent.store(true, Ordering::Release);
        self.last_id += 1;
        self.calls.insert(self.last_id, call);
        self.last_id
    }

    /// Keeps `call` for the next connection.
    pub(super) fn hold(&mut self, call: Call) {
        self.held.push_back(call);
    }

    /// How many are kept for a connection.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// The first of those that are kept. It must be sent, held or answered at once: nobody else knows of it.
    pub(super) fn next_held(&mut self) -> Option<Call> {
        self.held.pop_front()
    }

    pub(super) fn take(&mut self, id: u64) -> Option<Call> {
        self.calls.remove(&id)
    }

    /// Whether no answer is awaited.
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Forgets those whose callers gave up waiting. Their late answers are ignored.
    pub(super) fn prune(&mut self) {
        self.calls.retain(|_, call| !call.is_abandoned());
    }

    /// After a message that was too large closed the connection: none may be repeated, as it may have been that one.
    pub(super) fn refuse(&mut self) {
        let unanswered = std::mem::take(&mut self.calls);
        unanswered.into_values().for_each(|call| call.fail(Refusal::too_large().into()));
    }

    /// Ends the connection: what must not be repeated is answered, the rest kept for the next, in the order sent.
    pub(super) fn lose(&mut self) {
        let mut again = VecDeque::new();
        for call in std::mem::take(&mut self.calls).into_values().filter(|call| !call.is_abandoned()) {
            match call.kind {
                Kind::Once => call.fail(Error::OutcomeUnknown),
                Kind::Read | Kind::Keyed => again.push_back(call),
                Kind::Subscribe(_) | Kind::Unsubscribe => {}
            }
        }
        again.append(&mut self.held);
        self.held = again;
    }
}
