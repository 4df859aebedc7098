//! `get_many`: several records of one collection, in the order asked.

use super::{Call, Failure, Reply};
use crate::{
    protocol::{GetManyParams, codec},
    session::requests::write_record,
    tiers::ReadOptions,
};

pub(super) async fn run(call: Call<'_>) -> Result<Reply, Failure> {
    let params = GetManyParams::parse(call.params)?;
    let options = ReadOptions { min_stamp: params.min_stamp, stale_max: params.max_stale };
    let records = call.service().get_many(&params.collection, &params.keys, &options, call.charge).await?;
    Ok(Reply::of(move |out| codec::records(out, records.iter(), |out, (id, answer)| write_record(out, id, answer))))
}
