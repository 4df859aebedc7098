//! `put`: replaces a record.

use super::{Call, Reply};
use crate::{
    protocol::{PutParams, RpcError, codec},
    service::Conditions,
};

pub(super) async fn run(call: Call<'_>) -> Result<Reply, RpcError> {
    let params = PutParams::parse(call.params)?;
    let id = call.service().record(&params.collection, &params.key)?;
    let key = id.key.clone();
    let conditions = Conditions {
        if_stamp: params.if_stamp,
        idempotency_key: params.idempotency_key.map(std::borrow::Cow::into_owned),
    };
    let written = call.service().put(id, params.value.get(), conditions).await?;
    let mut body = Vec::new();
    codec::written(&mut body, key.as_str(), written.stamp, None);
    Ok(body.into())
}
