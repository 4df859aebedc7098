//! A request's body: bounded in size and time, of the media type that is understood.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
};
use http_body_util::BodyExt as _;

use super::{Config, refusal::Refusal};
use crate::protocol::Code;

/// How long what is too large is still taken and dropped: a client that cannot finish sending often never reads why.
const LINGER: Duration = Duration::from_secs(1);
/// Up to how many times the limit.
const LINGER_FACTOR: usize = 8;

/// Reads a body as text.
///
/// # Errors
/// 413 beyond the limit, 408 when it takes too long, 400 when the client stops early or it is no UTF-8.
pub(super) async fn text(config: &Config, body: Body) -> Result<String, Refusal> {
    let limit = usize::try_from(config.body_max.as_u64()).unwrap_or(usize::MAX);
    let reading = tokio::time::timeout(config.body_limit, read(body, limit));
    let bytes = reading.await.map_err(|_| {
        let message = format!("the body was not complete within {:?}", config.body_limit);
        Refusal::new(StatusCode::REQUEST_TIMEOUT, Code::Deadline, "body_timeout", message)
            .with(header::CONNECTION, HeaderValue::from_static("close"))
    })??;
    String::from_utf8(bytes).map_err(|_| Refusal::bad_request("encoding", "the body is no UTF-8"))
}

async fn read(mut body: Body, limit: usize) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::bad_request("body", "the body ended early"))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > limit {
            drop(tokio::time::timeout(LINGER, discard(body, limit.saturating_mul(LINGER_FACTOR))).await);
            return Err(too_large(limit));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

async fn discard(mut body: Body, mut left: usize) {
    while let Some(Ok(frame)) = body.frame().await {
        let taken = frame.data_ref().map_or(0, bytes::Bytes::len);
        match left.checked_sub(taken) {
            Some(still) => left = still,
            None => return,
        }
    }
}

fn too_large(limit: usize) -> Refusal {
    let message = format!("the body is larger than the limit of {limit} bytes");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, Code::TooLarge, "too_large", message)
}

/// Whether a request must say what its body is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Declared {
    /// It must: a page of any origin may send a POST that does not.
    Required,
    /// It may leave it out.
    Optional,
}

/// Checks `Content-Type`; `advertise` is the header that lists what is understood.
///
/// # Errors
/// 415, naming the types.
pub(super) fn check_type(
    headers: &HeaderMap,
    understood: &[&str],
    declared: Declared,
    advertise: &'static str,
) -> Result<(), Refusal> {
    let given = headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let essence = given.as_deref().map(|given| given.split(';').next().unwrap_or_default().trim());
    match essence {
        None if declared == Declared::Optional => return Ok(()),
        Some(essence) if understood.iter().any(|media| media.eq_ignore_ascii_case(essence)) => return Ok(()),
        _ => {}
    }
    let list = understood.join(", ");
    let message = match essence {
        Some(given) => {
            format!("a body of type {:?} is not understood; {list} is", given.chars().take(64).collect::<String>())
        }
        None => format!("\"Content-Type\" is missing; {list} is understood"),
    };
    let refusal =
        Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::InvalidRequest, "unsupported_media_type", message);
    Err(match HeaderValue::from_str(&list) {
        Ok(list) => refusal.with(HeaderName::from_static(advertise), list),
        Err(_) => refusal,
    })
}
