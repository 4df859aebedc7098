//! `get`: one record.

use super::{Call, Failure, Reply};
use crate::{protocol::GetParams, service::answer_bytes, session::requests::write_record, tiers::ReadOptions};

pub(super) async fn run(call: Call<'_>) -> Result<Reply, Failure> {
    let params = GetParams::parse(call.params)?;
    let id = call.service().record(&params.collection, &params.key)?;
    let options = ReadOptions { min_stamp: params.min_stamp, stale_max: params.max_stale };
    let answer = call.service().get(&id, &options).await?;
    call.charge.take(answer_bytes(&id.key, &answer))?;
    Ok(Reply::of(move |out| write_record(out, &id, &answer)))
}
