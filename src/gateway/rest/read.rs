//! `GET /v1/{collection}/{key}`: one record.

use axum::{
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use bytes::Bytes;

use super::{
    caching, read_option,
    segments::{RecordPath, Segments},
};
use crate::{
    gateway::{Edge, query, refusal::Refusal, tag},
    protocol::codec,
    record::RecordId,
    service::{Charge, budget::SMALL_BYTES},
    tiers::{Answer, ReadOptions},
};

/// The value with its stamp as ETag; 304 when the client has it; 404, with the record object, when there is none.
pub(super) async fn get(
    State(edge): State<Edge>,
    Segments((collection, key)): Segments<RecordPath>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let service = edge.gateway.service();
    let id = service.record(&collection, &key)?;
    let answer = service.get(&id, &options(query.as_deref())?).await?;
    let charge = service.answers().charge(service.config().answer_bytes_max());
    let mut response = body(&id, &answer, charge, &headers)?;
    let described = response.headers_mut();
    described.insert(header::ETAG, tag::of_stamp(answer.state.stamp));
    caching::describe(described, &edge.gateway.config.cache, &[&answer]);
    caching::name(described, &collection, std::iter::once(id.key.as_str()));
    Ok(response)
}

fn options(query: Option<&str>) -> Result<ReadOptions, Refusal> {
    let mut options = ReadOptions::default();
    for (name, value) in query::pairs(query)? {
        if !read_option(&mut options, &name, &value)? {
            return Err(query::unknown(&name, "min_stamp and max_stale_ms"));
        }
    }
    Ok(options)
}

/// A conditional request asks about a record that is there: an absent one is 404 in any case.
///
/// # Source
/// RFC 9110, section 13.2.1.
fn body(id: &RecordId, answer: &Answer, charge: Charge, headers: &HeaderMap) -> Result<Response, Refusal> {
    let current = tag::is_current(headers, &tag::of_stamp(answer.state.stamp))?;
    let (status, body) = match &answer.state.value {
        Some(_) if current => (StatusCode::NOT_MODIFIED, Body::empty()),
        Some(value) => (StatusCode::OK, Body::from(held(value, charge)?)),
        None => {
            let mut record = Vec::new();
            codec::record(&mut record, id.key.as_str(), &answer.state, None, false);
            (StatusCode::NOT_FOUND, Body::from(record))
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    if status != StatusCode::NOT_MODIFIED {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    Ok(response)
}

/// A large value, charged until the client has taken it.
fn held(value: &Bytes, charge: Charge) -> Result<Bytes, Refusal> {
    if value.len() <= SMALL_BYTES {
        return Ok(value.clone());
    }
    charge.take(value.len())?;
    Ok(charge.hold(value.clone()))
}
