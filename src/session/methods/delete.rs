//! `delete`: removes a record.

use serde_json::value::RawValue;

use super::Answer;
use crate::{
    protocol::{DeleteParams, codec},
    service::{Conditions, Service},
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
    let conditions = Conditions {
        if_stamp: params.if_stamp,
        idempotency_key: params.idempotency_key.map(std::borrow::Cow::into_owned),
    };
    let key = id.key.clone();
    service.delete_then(id, conditions, move |result| {
        answer(result.map_err(Into::into).map(|written| {
            let mut body = Vec::new();
            codec::written(&mut body, key.as_str(), written.stamp, None);
            body
        }));
    });
}
