//! `put`, `patch` and `delete`: the write that a request asks for, and what is answered once it is committed.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{Again, Call, Failure, Reply};
use crate::{
    protocol::{DeleteParams, PatchParams, PutParams, RpcError, codec},
    record::{RecordId, Stamp},
    service::{Charge, Conditions, Service, WriteRequest, answer_bytes},
    store,
    tiers::ReadOptions,
};

/// The write that a request asks for. It happens when it is begun, which takes no task, or run.
pub(in crate::session) struct WriteCall<'a> {
    record: RecordId,
    write: WriteRequest<'a>,
    returns_value: bool,
}

/// Reads the parameters of one of the methods below.
pub(super) type Parse = for<'a> fn(&'a Service, Option<&RawValue>) -> Result<WriteCall<'a>, RpcError>;

/// Replaces a record.
pub(super) fn put<'a>(service: &'a Service, params: Option<&RawValue>) -> Result<WriteCall<'a>, RpcError> {
    let params = PutParams::parse(params)?;
    let record = service.record(&params.collection, &params.key)?;
    let conditions = conditions(params.if_stamp, params.idempotency_key);
    let write = service.put(record.clone(), params.value.get(), conditions);
    Ok(WriteCall { record, write, returns_value: false })
}

/// Merges members into a record and adds increments.
pub(super) fn patch<'a>(service: &'a Service, params: Option<&RawValue>) -> Result<WriteCall<'a>, RpcError> {
    let params = PatchParams::parse(params)?;
    let record = service.record(&params.collection, &params.key)?;
    let conditions = conditions(params.if_stamp, params.idempotency_key);
    let write = service.patch(record.clone(), params.patch, conditions);
    Ok(WriteCall { record, write, returns_value: params.returns_value })
}

/// Removes a record.
pub(super) fn delete<'a>(service: &'a Service, params: Option<&RawValue>) -> Result<WriteCall<'a>, RpcError> {
    let params = DeleteParams::parse(params)?;
    let record = service.record(&params.collection, &params.key)?;
    let write = service.delete(record.clone(), conditions(params.if_stamp, params.idempotency_key));
    Ok(WriteCall { record, write, returns_value: false })
}

/// Carries a write out and waits for it.
pub(super) async fn run(parse: Parse, call: Call<'_>) -> Result<Reply, Failure> {
    let WriteCall { record, write, returns_value } = parse(call.service(), call.params)?;
    let written = Written::new(record, write.await?, returns_value);
    written.reply(call.service(), call.charge).await
}

impl WriteCall<'_> {
    /// Carries the write out and hands what it comes to to `answer`, which must not block.
    pub(in crate::session) fn begin(self, answer: impl FnOnce(Result<Written, RpcError>) + Send + Sync + 'static) {
        let WriteCall { record, write, returns_value } = self;
        write.begin(move |result| match result {
            Ok(written) => answer(Ok(Written::new(record, written, returns_value))),
            Err(error) => answer(Err(error.into())),
        });
    }
}

/// What a write's parameters ask beside the write itself.
fn conditions(if_stamp: Option<Stamp>, idempotency_key: Option<Cow<'_, str>>) -> Conditions {
    Conditions { if_stamp, idempotency_key: idempotency_key.map(Cow::into_owned) }
}

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
    fn new(record: RecordId, written: store::Written, returns_value: bool) -> Self {
        let value = match written.installed.and_then(|(value, _)| value) {
            _ if !returns_value => Value::Unwanted,
            Some(value) => Value::Known(value),
            None => Value::Gone,
        };
        Written { record, stamp: written.stamp, value }
    }

    /// The answer, its value charged.
    pub(super) async fn reply(self, service: &Service, charge: &Charge) -> Result<Reply, Failure> {
        let bytes = match &self.value {
            Value::Unwanted => 0,
            Value::Gone => return Ok(self.read(service, charge).await),
            Value::Known(value) => codec::RECORD_HEAD_BYTES_MAX + self.record.key.as_str().len() + value.len(),
        };
        match charge.take(bytes) {
            Ok(()) => Ok(Reply::of(move |out| self.write(out))),
            Err(_) => Err(Failure::NoRoom(Again::Read(self))),
        }
    }

    /// The answer with the record as it stands, which may be newer than what was written. Where that cannot be read or has
    /// no room, the stamp alone: an error would say that nothing was written.
    pub(in crate::session) async fn read(self, service: &Service, charge: &Charge) -> Reply {
        let options = ReadOptions { min_stamp: Some(self.stamp), stale_max: None };
        match service.get(&self.record, &options).await {
            Ok(found) if charge.take(answer_bytes(&self.record.key, &found)).is_ok() => Reply::of(move |out| {
                let state = &found.state;
                codec::written(out, self.record.key.as_str(), state.stamp, state.value.as_deref());
            }),
            _ => self.without_value(),
        }
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
