//! Requests from call to answer.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::Error;

/// What may be done with a request whose connection was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Sent again: a read, or a write with an idempotency key.
    Repeatable,
    /// A write that must not be sent twice.
    Once,
    /// A subscription, by its number here; resumed rather than repeated.
    Subscribe(u64),
    /// The end of a subscription; nobody waits for it.
    Forget,
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Call {
    /// Everything behind the id; empty for a subscription.
    pub(super) tail: String,
    pub(super) kind: Kind,
    /// Whether a byte of it may have left.
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

    /// Whether a caller, still there or gone, made it.
    pub(super) fn is_asked(&self) -> bool {
        self.reply.is_some()
    }

    pub(super) fn answer(self, answer: Result<Box<RawValue>, Error>) {
        // The caller may have gone, which is its right.
        let _ = self.reply.map(|reply| reply.send(answer));
    }
}

/// The requests sent and not answered, by id. As long as [`super::Options::in_flight_max`], the subscriptions being
/// resumed, and those whose callers went since the last heartbeat.
#[derive(Debug, Default)]
pub(super) struct Pending {
    calls: BTreeMap<u64, Call>,
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

    pub(super) fn take(&mut self, id: u64) -> Option<Call> {
        self.calls.remove(&id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Forgets those whose callers gave up waiting. Their late answers are ignored, but for a subscription's: its id
    /// is needed to end it on the server.
    pub(super) fn prune(&mut self) {
        self.calls.retain(|_, call| !call.is_abandoned() || matches!(call.kind, Kind::Subscribe(_)));
    }

    /// Ends the connection: what must not be repeated is answered, the rest returned in the order sent.
    pub(super) fn drain(&mut self) -> Vec<Call> {
        let mut again = Vec::new();
        for call in std::mem::take(&mut self.calls).into_values().filter(|call| !call.is_abandoned()) {
            match call.kind {
                Kind::Once => call.answer(Err(Error::OutcomeUnknown)),
                Kind::Repeatable => again.push(call),
                Kind::Subscribe(_) if call.is_asked() => again.push(call),
                Kind::Subscribe(_) | Kind::Forget => {}
            }
        }
        again
    }
}
