//! `put`: replaces a record.

use serde_json::value::RawValue;

use super::{Answer, Value, Written, written::conditions};
use crate::{
    protocol::{PutParams, RpcError},
    service::Service,
};

pub(super) fn begin(service: &Service, params: Option<&RawValue>, answer: Answer) {
    let read = PutParams::parse(params).and_then(|params| {
        let id = service.record(&params.collection, &params.key)?;
        Ok((params, id))
    });
    let (params, id) = match read {
        Ok(read) => read,
        Err(error) => return answer(Err(error)),
    };
    let record = id.clone();
    let conditions = conditions(params.if_stamp, params.idempotency_key);
    service.put_then(id, params.value.get(), conditions, move |result| {
        answer(result.map_err(RpcError::from).map(|written| Written {
            record,
            stamp: written.stamp,
            value: Value::Unwanted,
        }));
    });
}
