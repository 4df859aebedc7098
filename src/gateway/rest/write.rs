//! `PUT`, `PATCH` and `DELETE /v1/{collection}/{key}`.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use serde_json::value::RawValue;

use super::{
    condition::Condition,
    segments::{RecordPath, Segments},
};
use crate::{
    gateway::{Edge, body, body::Declared, refusal::Refusal, tag},
    protocol::{
        Code, RpcError, codec, json,
        methods::{IDEMPOTENCY_KEY_BYTES_MAX, VALUE_DEPTH_MAX},
    },
    record::{Patch, RecordId, Stamp, State as RecordState, patch::Members},
    service::{self, Conditions, Service, WriteRequest},
    store::Written,
    tiers::ReadOptions,
};

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";

/// What is to be done to a record.
#[derive(Clone, Debug)]
pub(super) enum Command {
    Put(String),
    Patch(Patch),
    Delete,
}

impl Command {
    pub(super) fn request<'a>(&self, service: &'a Service, id: RecordId, conditions: Conditions) -> WriteRequest<'a> {
        match self {
            Command::Put(value) => service.put(id, value, conditions),
            Command::Patch(patch) => service.patch(id, patch.clone(), conditions),
            Command::Delete => service.delete(id, conditions),
        }
    }
}

/// Replaces the record: 200, or 201 when there was none.
pub(super) async fn put(
    State(edge): State<Edge>,
    Segments(path): Segments<RecordPath>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let request = Request::read(&edge, &path, &headers)?;
    body::check_type(&headers, &[JSON], Declared::Optional, "accept")?;
    let value = body::text(&edge.gateway.config, body).await?;
    check_object(&value)?;
    let creates = request.creates().await;
    let written = request.run(&Command::Put(value)).await?;
    let mut response = request.answer(&written, &headers).await?;
    if creates {
        *response.status_mut() = StatusCode::CREATED;
    }
    Ok(response)
}

/// Merges the body into the record, as RFC 7396 says.
pub(super) async fn patch(
    State(edge): State<Edge>,
    Segments(path): Segments<RecordPath>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let request = Request::read(&edge, &path, &headers)?;
    body::check_type(&headers, &[MERGE_PATCH, JSON], Declared::Required, "accept-patch")?;
    let text = body::text(&edge.gateway.config, body).await?;
    check_object(&text)?;
    let merge = Members::of_value(&text).map_err(service::Error::from)?;
    let written = request.run(&Command::Patch(Patch { merge, ..Patch::default() })).await?;
    request.answer(&written, &headers).await
}

/// Removes the record; one that is not there is no error.
pub(super) async fn delete(
    State(edge): State<Edge>,
    Segments(path): Segments<RecordPath>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let request = Request::read(&edge, &path, &headers)?;
    let written = request.run(&Command::Delete).await?;
    Ok(metadata(&request.id, &written))
}

/// What a write's path and headers say.
struct Request<'a> {
    service: &'a Service,
    id: RecordId,
    condition: Condition,
    idempotency_key: Option<String>,
}

impl<'a> Request<'a> {
    fn read(edge: &'a Edge, (collection, key): &RecordPath, headers: &HeaderMap) -> Result<Self, Refusal> {
        edge.gateway.origins.check(headers)?;
        let service = edge.gateway.service();
        Ok(Request {
            service,
            id: service.record(collection, key)?,
            condition: Condition::read(headers)?,
            idempotency_key: idempotency_key(headers)?,
        })
    }

    async fn run(&self, command: &Command) -> Result<Written, Refusal> {
        self.condition.run(self.service, &self.id, command, self.idempotency_key.clone()).await
    }

    /// Whether a put will make a new record, as far as that is known before it: a concurrent write may make it the
    /// other way round.
    async fn creates(&self) -> bool {
        match self.condition {
            Condition::Always => {
                let before = self.service.get(&self.id, &ReadOptions::default()).await;
                before.is_ok_and(|answer| answer.state.value.is_none())
            }
            Condition::Absent => true,
            Condition::At(_) | Condition::AtOneOf(_) | Condition::Present => false,
        }
    }

    /// `{"key", "version", "stamp"}`, or the new value for a client that prefers it.
    ///
    /// # Source
    /// RFC 7240, section 4.2.
    async fn answer(&self, written: &Written, headers: &HeaderMap) -> Result<Response, Refusal> {
        if !prefers_representation(headers) {
            return Ok(metadata(&self.id, written));
        }
        let state = self.state_after(written).await?;
        let Some(value) = state.value else { return Ok(metadata(&self.id, written)) };
        let mut response = json_response(Body::from(value), state.stamp);
        let applied = HeaderValue::from_static("return=representation");
        response.headers_mut().insert(HeaderName::from_static("preference-applied"), applied);
        Ok(response)
    }

    /// The state written. After a repeated idempotency key that of then is gone, and the record as it stands is taken.
    async fn state_after(&self, written: &Written) -> Result<RecordState, Refusal> {
        match &written.installed {
            Some((value, _)) => Ok(RecordState { stamp: written.stamp, value: value.clone() }),
            None => {
                let options = ReadOptions { min_stamp: Some(written.stamp), stale_max: None };
                Ok(self.service.get(&self.id, &options).await?.state)
            }
        }
    }
}

fn metadata(id: &RecordId, written: &Written) -> Response {
    let mut body = Vec::new();
    codec::written(&mut body, id.key.as_str(), written.stamp, None);
    json_response(Body::from(body), written.stamp)
}

fn json_response(body: Body, stamp: Stamp) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    headers.insert(header::ETAG, tag::of_stamp(stamp));
    response
}

/// Refuses a body that is no JSON, no object, or nests too deep.
fn check_object(text: &str) -> Result<(), Refusal> {
    serde_json::from_str::<&RawValue>(text)
        .map_err(|error| RpcError::new(Code::ParseError, format!("the body is no JSON: {error}")))?;
    if !json::nests_at_most(text, VALUE_DEPTH_MAX) {
        let message = format!("the value nests deeper than {VALUE_DEPTH_MAX} levels");
        return Err(RpcError::new(Code::InvalidValue, message).into());
    }
    if !text.trim_start().starts_with('{') {
        return Err(service::Error::NotAnObject.into());
    }
    Ok(())
}

fn prefers_representation(headers: &HeaderMap) -> bool {
    let given = headers.get_all("prefer").into_iter().filter_map(|value| value.to_str().ok());
    given.flat_map(|value| value.split([',', ';'])).any(|token| {
        let token: String = token.chars().filter(|c| !c.is_whitespace() && *c != '"').collect();
        token.eq_ignore_ascii_case("return=representation")
    })
}

/// The client's name for this write; in quotes or without.
///
/// # Source
/// draft-ietf-httpapi-idempotency-key-header-07, section 2.1, where it is a quoted string.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let Some(given) = headers.get("idempotency-key") else { return Ok(None) };
    let given = given.to_str().map(str::trim).unwrap_or_default();
    let key = given.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(given);
    if (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len()) {
        return Ok(Some(key.to_owned()));
    }
    let message = format!("\"Idempotency-Key\" must be 1 to {IDEMPOTENCY_KEY_BYTES_MAX} printable ASCII characters");
    Err(Refusal::bad_request("idempotency_key", message))
}
