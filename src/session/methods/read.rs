//! `get`, `get_many` and `list`: one record, several of one collection in the order asked, or in the order of their keys.

use super::{Call, Failure, Reply};
use crate::{
    protocol::{GetManyParams, GetParams, ListParams, codec},
    service::{ListRequest, answer_bytes},
    session::requests::write_record,
    tiers::ReadOptions,
};

pub(super) async fn get(call: Call<'_>) -> Result<Reply, Failure> {
    let params = GetParams::parse(call.params)?;
    let id = call.service().record(&params.collection, &params.key)?;
    let options = ReadOptions { min_stamp: params.min_stamp, stale_max: params.max_stale };
    let answer = call.service().get(&id, &options).await?;
    call.charge.take(answer_bytes(&id.key, &answer))?;
    Ok(Reply::of(move |out| write_record(out, &id, &answer)))
}

pub(super) async fn get_many(call: Call<'_>) -> Result<Reply, Failure> {
    let params = GetManyParams::parse(call.params)?;
    let options = ReadOptions { min_stamp: params.min_stamp, stale_max: params.max_stale };
    let records = call.service().get_many(&params.collection, &params.keys, &options, call.charge).await?;
    Ok(Reply::of(move |out| codec::records(out, records.iter(), |out, (id, answer)| write_record(out, id, answer))))
}

pub(super) async fn list(call: Call<'_>) -> Result<Reply, Failure> {
    let ListParams { collection, prefix, limit, cursor } = ListParams::parse(call.params)?;
    let request = ListRequest { collection: &collection, prefix: prefix.as_deref(), limit, cursor: cursor.as_deref() };
    let page = call.service().list(&request, call.charge).await?;
    Ok(Reply::of(move |out| page.write(out)))
}
