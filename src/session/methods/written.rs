//! A committed write as it is answered.

use std::borrow::Cow;

use bytes::Bytes;

use super::{Again, Failure, Reply};
use crate::{
    protocol::codec,
    record::{RecordId, Stamp},
    service::{Charge, Conditions, Service, answer_bytes},
    tiers::{Answer, ReadOptions},
};

/// What a write came to.
pub(in crate::session) struct Written {
    pub(in crate::session) record: RecordId,
    pub(in crate::session) stamp: Stamp,
    pub(in crate::session) value: Value,
}

/// What is answered beside the stamp.
pub(in crate::session) enum Value {
    /// Nothing else was asked for.
    Unwanted,
    /// The value as it was committed.
    Known(Bytes),
    /// The value of a repeated idempotency key is gone, so the record as it stands is answered.
    Gone,
}

impl Written {
    /// The answer, its value charged.
    pub(super) async fn reply(self, service: &Service, charge: &Charge) -> Result<Reply, Failure> {
        let bytes = match &self.value {
            Value::Unwanted => 0,
            Value::Gone => return self.read(service, charge).await,
            Value::Known(value) => codec::RECORD_HEAD_BYTES_MAX + self.record.key.as_str().len() + value.len(),
        };
        match charge.take(bytes) {
            Ok(()) => Ok(Reply::of(move |out| self.write(out))),
            Err(_) => Err(Failure::NoRoom(Again::Read(self))),
        }
    }

    /// The answer with the record as it stands, which may be newer than what was written. Where that cannot be read, the
    /// stamp alone: an error would say that nothing was written.
    pub(in crate::session) async fn read(self, service: &Service, charge: &Charge) -> Result<Reply, Failure> {
        let options = ReadOptions { min_stamp: Some(self.stamp), stale_max: None };
        let Ok(found) = service.get(&self.record, &options).await else { return Ok(self.without_value()) };
        if charge.take(answer_bytes(&self.record.key, &found)).is_err() {
            return Err(Failure::NoRoom(Again::Read(self)));
        }
        Ok(Reply::of(move |out| write(out, &self.record, &found)))
    }

    /// The answer with the stamp alone.
    pub(in crate::session) fn without_value(self) -> Reply {
        Reply::of(move |out| Written { value: Value::Unwanted, ..self }.write(out))
    }

    /// Writes the answer.
    pub(in crate::session) fn write(&self, out: &mut Vec<u8>) {
        let value = if let Value::Known(value) = &self.value { Some(&value[..]) } else { None };
        codec::written(out, self.record.key.as_str(), self.stamp, value);
    }
}

/// What a write's parameters ask beside the write itself.
pub(super) fn conditions(if_stamp: Option<Stamp>, idempotency_key: Option<Cow<'_, str>>) -> Conditions {
    Conditions { if_stamp, idempotency_key: idempotency_key.map(Cow::into_owned) }
}

/// Writes the answer of a write that left the record as `found`.
pub(in crate::session) fn write(out: &mut Vec<u8>, record: &RecordId, found: &Answer) {
    codec::written(out, record.key.as_str(), found.state.stamp, found.state.value.as_deref());
}
