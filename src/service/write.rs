//! Writes one record: put, patch and delete differ only in the operation.
//!
//! After the commit the state is installed and published, and then answered. The feed reports the change again, which is no
//! news then.

use std::time::Instant;

use prometheus::IntCounter;
use tokio::sync::oneshot;

use crate::{
    digest,
    record::{Patch, RecordId, Stamp, State, patch::Members},
    store::{self, Operation, Token, Write, Written},
    telemetry::Telemetry,
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

impl Service {
    /// Replaces the record with `value`, JSON text of an object.
    ///
    /// # Errors
    /// [`Error::NotAnObject`], [`Error::TooLarge`], and what the store refuses.
    ///
    /// # Cancel safety
    /// Once begun, the write runs on when its caller is dropped.
    pub async fn put(&self, id: RecordId, value: &str, conditions: Conditions) -> Result<Written, Error> {
        let (answer, answered) = waiting();
        self.put_then(id, value, conditions, answer);
        answered.await
    }

    /// [`Self::put`], whose outcome is handed to `answer`, which must not block.
    pub fn put_then(&self, id: RecordId, value: &str, conditions: Conditions, answer: impl Answer) {
        let members = self.check_len(value.len()).and_then(|()| Ok(Members::of_value(value)?));
        match members {
            Ok(members) => self.write(id, Operation::Put(members), conditions, || format!("put {value}"), answer),
            Err(error) => answer(Err(error)),
        }
    }

    /// Merges members into the record and adds increments.
    ///
    /// # Errors
    /// [`Error::TooLarge`] and what the store refuses.
    ///
    /// # Cancel safety
    /// Once begun, the write runs on when its caller is dropped.
    pub async fn patch(&self, id: RecordId, patch: Patch, conditions: Conditions) -> Result<Written, Error> {
        let (answer, answered) = waiting();
        self.patch_then(id, patch, conditions, answer);
        answered.await
    }

    /// [`Self::patch`], whose outcome is handed to `answer`, which must not block.
    pub fn patch_then(&self, id: RecordId, patch: Patch, conditions: Conditions, answer: impl Answer) {
        let merge = patch.merge.to_text();
        match self.check_len(merge.len()) {
            Ok(()) => {
                // Only an idempotency key asks for it.
                let request =
                    conditions.idempotency_key.as_ref().map(|_| format!("patch {merge} {:?}", patch.increment));
                self.write(id, Operation::Patch(patch), conditions, || request.unwrap_or_default(), answer);
            }
            Err(error) => answer(Err(error)),
        }
    }

    /// Removes the record; removing an absent one changes nothing and is no error.
    ///
    /// # Errors
    /// What the store refuses.
    ///
    /// # Cancel safety
    /// Once begun, the write runs on when its caller is dropped.
    pub async fn delete(&self, id: RecordId, conditions: Conditions) -> Result<Written, Error> {
        let (answer, answered) = waiting();
        self.delete_then(id, conditions, answer);
        answered.await
    }

    /// [`Self::delete`], whose outcome is handed to `answer`, which must not block.
    pub fn delete_then(&self, id: RecordId, conditions: Conditions, answer: impl Answer) {
        self.write(id, Operation::Delete, conditions, || "delete".into(), answer);
    }

    fn write(
        &self,
        id: RecordId,
        operation: Operation,
        conditions: Conditions,
        request: impl FnOnce() -> String,
        answer: impl Answer,
    ) {
        let token = conditions.idempotency_key.map(|key| {
            let fingerprint = digest::of(format!("{} {:?}", request(), conditions.if_stamp));
            Token { key, fingerprint }
        });
        let is_likely_new = self.tiers.filters().denies(id.as_ref());
        let write = Write { id: id.clone(), operation, if_stamp: conditions.if_stamp, token, is_likely_new };
        let (service, begun) = (self.clone(), Instant::now());
        self.store.write(write, self.deadline(), move |result| {
            service.outcomes.count(&result);
            if let Ok(written) = &result {
                service.install(&id, written, begun);
            }
            answer(result.map_err(Error::from));
        });
    }

    /// Shows a committed write to this node before its writer is answered; the feed brings it again later.
    fn install(&self, id: &RecordId, written: &Written, begun: Instant) {
        let Some((value, position)) = &written.installed else { return };
        let Ok(shard) = self.store.shard_of(id) else { return };
        let state = State { stamp: written.stamp, value: value.clone() };
        // A newer state may stand already; then that one is published instead, and versions only rise.
        if let Some(state) = self.tiers.install_written(id, &Loaded { state, position: *position, shard, begun }) {
            self.hub.publish(id, &state, begun);
        }
    }

    fn check_len(&self, len: usize) -> Result<(), Error> {
        let limit = super::bytes(self.config.value_max);
        if len > limit { Err(Error::TooLarge { what: "bytes of a value", len, limit }) } else { Ok(()) }
    }
}

/// Takes the outcome of a write.
pub trait Answer: FnOnce(Result<Written, Error>) + Send + Sync + 'static {}

impl<F: FnOnce(Result<Written, Error>) + Send + Sync + 'static> Answer for F {}

/// An answer, and the wait for it.
fn waiting() -> (impl Answer, impl Future<Output = Result<Written, Error>>) {
    let (give, answered) = oneshot::channel();
    let answer = move |answer| drop(give.send(answer));
    (answer, async { answered.await.unwrap_or(Err(Error::Store(store::Error::OutcomeUnknown))) })
}

/// How many writes came to what. The counters are looked up by label once, not with each write.
#[derive(Clone)]
pub(super) struct Outcomes([IntCounter; 5]);

impl Outcomes {
    const LABELS: [&str; 5] = ["committed", "conflict", "refused", "unknown", "failed"];

    pub(super) fn new(telemetry: &Telemetry) -> Self {
        let counters = telemetry.counters("freshet_service_writes_total", "Writes answered, by outcome.", "outcome");
        Outcomes(Self::LABELS.map(|label| counters.with_label_values(&[label])))
    }

    fn count(&self, result: &Result<Written, store::Error>) {
        let at = match result {
            Ok(_) => 0,
            Err(store::Error::Conflict { .. }) => 1,
            Err(store::Error::InvalidValue { .. } | store::Error::TokenReused) => 2,
            Err(store::Error::OutcomeUnknown) => 3,
            Err(_) => 4,
        };
        self.0[at].inc();
    }
}
