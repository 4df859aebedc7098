//! Writes one record: put, patch and delete differ only in the operation.
//!
//! After the commit the state is installed and published, and then answered. The feed reports the change again, which is no
//! news then.

use std::time::Instant;

use prometheus::IntCounter;

use crate::{
    completion, digest,
    record::{DatabaseId, Patch, Position, RecordId, ShardId, Stamp, State, patch::Members},
    store::{self, Operation, Origin, Token, Write, Written},
    telemetry::{Latency, Telemetry},
    tiers::Loaded,
};

use super::{Error, Service};

/// What may be asked of any write.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// The state the record must be in; [`Stamp::ABSENT`]: it must not exist.
    pub if_stamp: Option<Stamp>,
    /// The client's idempotency key.
    pub idempotency_key: Option<String>,
}

impl Conditions {
    /// The idempotency key, with the fingerprint of what it came with: the text of the `request`, and the condition.
    fn token(self, request: impl FnOnce() -> String) -> Option<Token> {
        let fingerprint = |key| Token { key, fingerprint: digest::of(format!("{} {:?}", request(), self.if_stamp)) };
        self.idempotency_key.map(fingerprint)
    }
}

/// What a write comes to.
type Outcome = Result<Written, Error>;

/// A write that was asked for. It happens when it is begun, or awaited, which begins it and waits.
///
/// # Errors
/// [`Error::NotAnObject`], [`Error::TooLarge`], and what the store refuses.
///
/// # Cancel safety
/// Once begun, the write runs on when its caller is dropped.
#[must_use = "a write happens when it is begun or awaited"]
pub struct WriteRequest<'a> {
    service: &'a Service,
    write: Result<Write, Error>,
}

impl WriteRequest<'_> {
    /// Carries the write out and hands what it comes to to `answer`, which must not block.
    pub fn begin(self, answer: impl FnOnce(Outcome) + Send + Sync + 'static) {
        let write = match self.write {
            Ok(write) => write,
            Err(error) => return answer(Err(error)),
        };
        let (service, id, begun) = (self.service.clone(), write.id.clone(), Instant::now());
        let deletes = matches!(write.operation, Operation::Delete);
        let owner = service.owner_of(&id);
        self.service.store.write(write, self.service.deadline(), move |result| {
            service.outcomes.count(&result, begun);
            service.failures.note_write(&result);
            if let Ok(written) = &result {
                // The shard may have become another's, or disputed, while it was committed.
                service.install(&id, service.owner_of(&id).or(owner), (written, deletes), begun);
            }
            answer(result.map_err(Error::from));
        });
    }
}

impl IntoFuture for WriteRequest<'_> {
    type Output = Outcome;
    type IntoFuture = completion::Outcome<Outcome>;

    fn into_future(self) -> Self::IntoFuture {
        let (answer, outcome) = completion::channel(|| Err(Error::Store(store::Error::OutcomeUnknown)));
        self.begin(answer);
        outcome
    }
}

impl Service {
    /// Replaces the record with `value`, JSON text of an object.
    pub fn put(&self, id: RecordId, value: &str, conditions: Conditions) -> WriteRequest<'_> {
        let members = self.check_len(value.len()).and_then(|()| Ok(Members::of_value(value)?));
        let if_stamp = conditions.if_stamp;
        self.write(id, members.map(Operation::Put), if_stamp, conditions.token(|| format!("put {value}")))
    }

    /// Merges members into the record and adds increments.
    pub fn patch(&self, id: RecordId, patch: Patch, conditions: Conditions) -> WriteRequest<'_> {
        let (merge, if_stamp) = (patch.merge.to_text(), conditions.if_stamp);
        let token = conditions.token(|| format!("patch {merge} {:?}", patch.increment));
        self.write(id, self.check_len(merge.len()).map(|()| Operation::Patch(patch)), if_stamp, token)
    }

    /// Removes the record; removing an absent one changes nothing and is no error.
    pub fn delete(&self, id: RecordId, conditions: Conditions) -> WriteRequest<'_> {
        let if_stamp = conditions.if_stamp;
        self.write(id, Ok(Operation::Delete), if_stamp, conditions.token(|| "delete".into()))
    }

    fn write(
        &self,
        id: RecordId,
        operation: Result<Operation, Error>,
        if_stamp: Option<Stamp>,
        token: Option<Token>,
    ) -> WriteRequest<'_> {
        let write = operation.map(|operation| {
            let is_likely_new = self.tiers.denies(id.as_ref());
            Write { id, operation, if_stamp, token, is_likely_new }
        });
        WriteRequest { service: self, write }
    }

    /// Shows a committed write, which may be one that `deletes`, to this node before its writer is answered; the feed brings it
    /// again later.
    fn install(
        &self,
        id: &RecordId,
        owner: Option<(ShardId, DatabaseId)>,
        (written, deletes): (&Written, bool),
        begun: Instant,
    ) {
        let Some((shard, database)) = owner else { return };
        let Some((value, position)) = &written.installed else {
            return self.tiers.note_written(database, id, written.stamp, !deletes, Position::default());
        };
        let state = State { stamp: written.stamp, value: value.clone() };
        // A newer state may stand already; then that one is published instead, and versions only rise.
        let loaded = Loaded { state, database, position: *position, origin: Origin::Primary, shard, begun };
        if let Some(state) = self.tiers.install_written(id, &loaded) {
            self.hub.publish(id, &state, begun);
        }
    }

    fn owner_of(&self, id: &RecordId) -> Option<(ShardId, DatabaseId)> {
        let shard = self.store.shard_of(id.as_ref()).ok()?;
        Some((shard, self.store.owner(shard).ok()?))
    }

    fn check_len(&self, len: usize) -> Result<(), Error> {
        let limit = super::bytes(self.config.value_max);
        if len > limit { Err(Error::TooLarge { what: "bytes of a value", len, limit }) } else { Ok(()) }
    }
}

/// How many writes came to what, and how long they took. The metrics are looked up by label once, not with each write.
#[derive(Clone)]
pub(super) struct Outcomes {
    counts: [IntCounter; Outcomes::LABELS.len()],
    times: [Latency; Outcomes::LABELS.len()],
}

impl Outcomes {
    const LABELS: [&str; 5] = ["committed", "conflict", "refused", "unknown", "failed"];

    pub(super) fn new(telemetry: &Telemetry) -> Self {
        let counters = telemetry.counters("freshet_service_writes_total", "Writes answered, by outcome.", &["outcome"]);
        let help = "How long writes took, from request to answer, by outcome.";
        Outcomes {
            counts: Self::LABELS.map(|label| counters.with_label_values(&[label])),
            times: telemetry.latencies("freshet_service_write_seconds", help, "outcome", Self::LABELS),
        }
    }

    fn count(&self, result: &Result<Written, store::Error>, begun: Instant) {
        let at = match result {
            Ok(_) => 0,
            Err(store::Error::Conflict { .. }) => 1,
            Err(store::Error::InvalidValue { .. } | store::Error::TokenReused) => 2,
            Err(store::Error::OutcomeUnknown) => 3,
            Err(_) => 4,
        };
        self.counts[at].inc();
        self.times[at].observe(begun.elapsed());
    }
}
