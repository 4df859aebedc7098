//! `patch`: merges members into a record and adds increments.

use super::{Call, Reply};
use crate::{
    protocol::{PatchParams, RpcError, codec},
    service::Conditions,
    tiers::Wish,
};

pub(super) async fn run(call: Call<'_>) -> Result<Reply, RpcError> {
    let params = PatchParams::parse(call.params)?;
    let service = call.service();
    let id = service.record(&params.collection, &params.key)?;
    let conditions = Conditions {
        if_stamp: params.if_stamp,
        idempotency_key: params.idempotency_key.map(std::borrow::Cow::into_owned),
    };
    let written = service.patch(id.clone(), params.patch, conditions).await?;
    let (mut stamp, mut value) = (written.stamp, written.installed.and_then(|(value, _)| value));
    if params.returns_value && value.is_none() {
        // A repeated idempotency key: the value of then is gone, so the record as it stands is returned.
        let answer = service.get(&id, &Wish { min_stamp: Some(stamp), stale_max: None }).await?;
        (stamp, value) = (answer.state.stamp, answer.state.value);
    }
    let value = value.filter(|_| params.returns_value);
    let mut body = Vec::new();
    codec::written(&mut body, id.key.as_str(), stamp, value.as_deref());
    Ok(body.into())
}
