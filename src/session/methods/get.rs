//! `get`: one record.

use std::time::Duration;

use super::{Call, Reply};
use crate::{
    protocol::{GetParams, RpcError},
    session::requests::write_record,
    tiers::Wish,
};

pub(super) async fn run(call: Call<'_>) -> Result<Reply, RpcError> {
    let params = GetParams::parse(call.params)?;
    let id = call.service().record(&params.collection, &params.key)?;
    let wish = Wish { min_stamp: params.min_stamp, stale_max: params.max_stale_ms.map(Duration::from_millis) };
    let answer = call.service().get(&id, &wish).await?;
    let mut body = Vec::new();
    write_record(&mut body, id.key.as_str(), &answer);
    Ok(body.into())
}
