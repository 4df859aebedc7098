//! `patch`: merges members into a record and adds increments.

use serde_json::value::RawValue;

use super::Answer;
use crate::{
    protocol::{PatchParams, RpcError, codec},
    record::{RecordId, Stamp},
    service::{Conditions, Service},
    tiers::Wish,
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
    let conditions = Conditions {
        if_stamp: params.if_stamp,
        idempotency_key: params.idempotency_key.map(std::borrow::Cow::into_owned),
    };
    let (again, record, returns_value) = (service.clone(), id.clone(), params.returns_value);
    service.patch_then(id, params.patch, conditions, move |result| match result {
        Err(error) => answer(Err(error.into())),
        Ok(written) => match written.installed.and_then(|(value, _)| value) {
            None if returns_value => drop(tokio::spawn(answer_as_it_stands(again, record, written.stamp, answer))),
            value => answer(Ok(body(&record, written.stamp, value.filter(|_| returns_value).as_deref()))),
        },
    });
}

/// For a repeated idempotency key: the value of then is gone, so the record as it stands is returned.
async fn answer_as_it_stands(service: Service, record: RecordId, stamp: Stamp, answer: Answer) {
    let found = service.get(&record, &Wish { min_stamp: Some(stamp), stale_max: None }).await;
    let body = found.map(|found| body(&record, found.state.stamp, found.state.value.as_deref()));
    answer(body.map_err(RpcError::from));
}

fn body(record: &RecordId, stamp: Stamp, value: Option<&[u8]>) -> Vec<u8> {
    let mut body = Vec::new();
    codec::written(&mut body, record.key.as_str(), stamp, value);
    body
}
