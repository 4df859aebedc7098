//! `put`: replaces a record.

use serde_json::value::RawValue;

use super::Answer;
use crate::{
    protocol::{PutParams, RpcError, codec},
    service::{Conditions, Service},
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
    let key = id.key.clone();
    let conditions = Conditions {
        if_stamp: params.if_stamp,
        idempotency_key: params.idempotency_key.map(std::borrow::Cow::into_owned),
    };
    service.put_then(id, params.value.get(), conditions, move |result| {
        answer(result.map_err(RpcError::from).map(|written| {
            let mut body = Vec::new();
            codec::written(&mut body, key.as_str(), written.stamp, None);
            body
        }));
    });
}
