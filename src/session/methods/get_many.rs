//! `get_many`: several records of one collection, in the order asked.

use std::time::Duration;

use super::{Call, Reply};
use crate::{
    protocol::{GetManyParams, RpcError, codec},
    session::requests::write_record,
    tiers::Wish,
};

pub(super) async fn run(call: Call<'_>) -> Result<Reply, RpcError> {
    let params = GetManyParams::parse(call.params)?;
    let wish = Wish { min_stamp: params.min_stamp, stale_max: params.max_stale_ms.map(Duration::from_millis) };
    let answers = call.service().get_many(&params.collection, &params.keys, &wish).await?;
    let mut body = Vec::new();
    codec::records(&mut body, &answers, |out, (id, answer)| write_record(out, id.key.as_str(), answer));
    Ok(body.into())
}
