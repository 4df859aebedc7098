//! `patch`: merges members into a record and adds increments.

use serde_json::value::RawValue;

use super::{Answer, Value, Written, written::conditions};
use crate::{
    protocol::{PatchParams, RpcError},
    service::Service,
};

pub(super) fn begin(service: &Service, params: Option<&RawValue>, answer: Answer) {
    let read = PatchParams::parse(params).and_then(|params| {
        let id = service.record(&params.collection, &params.key)?;
        Ok((params, id))
    });
    let (params, id) = match read {
        Ok(read) => read,
        Err(error) => return answer(Err(error)),
    };
    let conditions = conditions(params.if_stamp, params.idempotency_key);
    let (record, returns_value) = (id.clone(), params.returns_value);
    service.patch_then(id, params.patch, conditions, move |result| {
        answer(result.map_err(RpcError::from).map(|written| {
            let value = match written.installed.and_then(|(value, _)| value) {
                _ if !returns_value => Value::Unwanted,
                Some(value) => Value::Known(value),
                None => Value::Gone,
            };
            Written { record, stamp: written.stamp, value }
        }));
    });
}
