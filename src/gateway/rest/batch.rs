//! `GET /v1/{collection}?key=..&key=..`: several records of one collection, in the order asked.

use std::borrow::Cow;

use axum::{
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};

use super::{caching, events, list, read_option, segments::Segments};
use crate::{
    gateway::{Edge, query, refusal::Refusal, tag},
    protocol::codec,
    service::{Charge, Records},
    tiers::{Answer, ReadOptions},
};

/// `{"records": [record, ...]}`, absent ones with a `null` value, with an ETag over them all; a stream of events for
/// who accepts that; a list where no key is asked for.
pub(super) async fn get(
    State(edge): State<Edge>,
    Segments(collection): Segments<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    if !wants_events(&headers) && !names_keys(query.as_deref())? {
        return list::get(&edge, &collection, query.as_deref(), &headers).await;
    }
    let (keys, options) = asked(query.as_deref())?;
    if keys.is_empty() {
        return Err(Refusal::bad_request("query", "no key was asked for: say ?key=..&key=.."));
    }
    if wants_events(&headers) {
        return events::open(&edge, &collection, &keys, &options, &headers);
    }
    let service = edge.gateway.service();
    let charge = service.answers().charge(service.config().answer_bytes_max());
    let records = service.get_many(&collection, &keys, &options, &charge).await?;
    let mut response = whole(encode(&records, charge.taken()), charge, &headers)?;
    let described = response.headers_mut();
    let each: Vec<&Answer> = records.iter().map(|(_, answer)| answer).collect();
    caching::describe(described, &edge.gateway.config.cache, &each);
    caching::name(described, &collection, records.iter().map(|(id, _)| id.key.as_str()));
    Ok(response)
}

/// An answer with an ETag over all of it; 304 when the client has it.
pub(super) fn whole(body: Vec<u8>, charge: Charge, headers: &HeaderMap) -> Result<Response, Refusal> {
    let etag = tag::of_bytes(&body);
    let mut response = if tag::is_current(headers, &etag)? {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        let mut response = Response::new(Body::from(charge.hold(body.into())));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    };
    let described = response.headers_mut();
    described.insert(header::ETAG, etag);
    described.insert(header::VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

fn names_keys(query: Option<&str>) -> Result<bool, Refusal> {
    Ok(query::pairs(query)?.iter().any(|(name, _)| name == "key"))
}

/// Whether this is a browser's `EventSource`.
fn wants_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|media| media.trim().starts_with("text/event-stream"))
}

/// The keys and options asked for.
pub(super) fn asked(query: Option<&str>) -> Result<(Vec<Cow<'static, str>>, ReadOptions), Refusal> {
    let (mut keys, mut options) = (Vec::new(), ReadOptions::default());
    for (name, value) in query::pairs(query)? {
        if name == "key" {
            keys.push(Cow::Owned(value));
        } else if !read_option(&mut options, &name, &value)? {
            return Err(query::unknown(&name, "key, min_stamp and max_stale_ms; without key prefix, limit and cursor"));
        }
    }
    Ok((keys, options))
}

fn encode(records: &Records, bytes: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(bytes);
    codec::records(&mut body, records.iter(), |out, (id, answer)| {
        codec::record(out, id.key.as_str(), &answer.state, answer.stale, false);
    });
    body
}
