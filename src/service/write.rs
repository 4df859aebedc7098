//! Writes one record: put, patch and delete differ only in the operation.

use std::time::Instant;

use crate::{
    record::{Patch, RecordId, Stamp, State, patch::Members},
    store::{self, Loaded, Operation, Token, Write, Written},
    tiers::Era,
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
        self.check_len(value.len())?;
        let members = Members::parse(value).map_err(|_| Error::NotAnObject)?;
        let fingerprint = format!("put {value}");
        self.write(id, Operation::Put(members), conditions, fingerprint).await
    }

    /// Merges members into the record and adds increments.
    ///
    /// # Errors
    /// [`Error::TooLarge`] and what the store refuses.
    ///
    /// # Cancel safety
    /// Once begun, the write runs on when its caller is dropped.
    pub async fn patch(&self, id: RecordId, patch: Patch, conditions: Conditions) -> Result<Written, Error> {
        let merge = patch.merge.to_text();
        self.check_len(merge.len())?;
        let fingerprint = format!("patch {merge} {:?}", patch.increment);
        self.write(id, Operation::Patch(patch), conditions, fingerprint).await
    }

    /// Removes the record; removing an absent one changes nothing and is no error.
    ///
    /// # Errors
    /// What the store refuses.
    ///
    /// # Cancel safety
    /// Once begun, the write runs on when its caller is dropped.
    pub async fn delete(&self, id: RecordId, conditions: Conditions) -> Result<Written, Error> {
        self.write(id, Operation::Delete, conditions, "delete".into()).await
    }

    async fn write(
        &self,
        id: RecordId,
        operation: Operation,
        conditions: Conditions,
        request: String,
    ) -> Result<Written, Error> {
        let token = conditions
            .idempotency_key
            .map(|key| Token { key, fingerprint: fingerprint(&format!("{request} {:?}", conditions.if_stamp)) });
        let write = Write { id: id.clone(), operation, if_stamp: conditions.if_stamp, token };
        let (era, begun) = (self.tiers.era(), Instant::now());
        let result = self.store.write(write, self.deadline()).await;
        self.writes.with_label_values(&[outcome(&result)]).inc();
        let written = result?;
        self.install(&id, &written, era, begun);
        Ok(written)
    }

    /// Shows a committed write to this node before its writer is answered; the feed brings it again later.
    fn install(&self, id: &RecordId, written: &Written, era: Era, begun: Instant) {
        let Some((value, position)) = &written.installed else { return };
        let Ok(shard) = self.store.shard_of(id) else { return };
        let state = State { stamp: written.stamp, value: value.clone() };
        // A newer state may stand already; then that one is published instead, and versions only rise.
        if let Some(state) = self.tiers.install(id, &Loaded { state, position: *position, shard }, era) {
            self.hub.publish(id, &state, begun);
        }
    }

    fn check_len(&self, len: usize) -> Result<(), Error> {
        let limit = usize::try_from(self.config.value_max.as_u64()).unwrap_or(usize::MAX);
        if len > limit { Err(Error::TooLarge { what: "bytes of a value", len, limit }) } else { Ok(()) }
    }
}

/// Equal for equal requests. Two different requests that share a key and a fingerprint would be taken for one; 128
/// bits of SHA-256 are far beyond that happening by accident.
fn fingerprint(request: &str) -> String {
    use sha2::{Digest as _, Sha256};
    Sha256::digest(request).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn outcome(result: &Result<Written, store::Error>) -> &'static str {
    match result {
        Ok(_) => "committed",
        Err(store::Error::Conflict { .. }) => "conflict",
        Err(store::Error::InvalidValue { .. } | store::Error::TokenReused) => "refused",
        Err(store::Error::OutcomeUnknown) => "unknown",
        Err(_) => "failed",
    }
}
