//! `delete`: removes a record.

use serde_json::value::RawValue;

use super::{Answer, Value, Written, written::conditions};
use crate::{
    protocol::{DeleteParams, RpcError},
    service::Service,
};

pub(super) fn begin(service: &Service, params: Option<&RawValue>, answer: Answer) {
    let read = DeleteParams::parse(params).and_then(|params| {
        let id = service.record(&params.collection, &params.key)?;
        Ok((params, id))
    });
    let (params, id) = match read {
        Ok(read) => read,
        Err(error) => return answer(Err(error)),
    };
    let conditions = conditions(params.if_stamp, params.idempotency_key);
    let record = id.clone();
    service.delete_then(id, conditions, move |result| {
        answer(result.map_err(RpcError::from).map(|written| Written {
            record,
            stamp: written.stamp,
            value: Value::Unwanted,
        }));
    });
}
