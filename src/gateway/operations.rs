//! Probes and metrics, for the operator's side only.

use axum::{
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};

use serde::Serialize;

use super::{
    Edge, query,
    readiness::{Check, Outcome},
    refusal::Refusal,
};
use crate::protocol::Code;

/// 200 as long as the process answers at all.
pub(super) async fn livez() -> Response {
    text(StatusCode::OK, "text/plain; charset=utf-8", "ok\n".into())
}

/// 200 when clients should be sent here, else 503; with what failed in both cases. `?verbose` lists every check.
pub(super) async fn readyz(State(edge): State<Edge>, RawQuery(asked): RawQuery) -> Result<Response, Refusal> {
    let verbose = query::pairs(asked.as_deref())?.iter().any(|(name, _)| name == "verbose");
    let (outcome, checks) = edge.gateway.readiness.check().await;
    let mut body: String = checks.iter().filter(|check| verbose || !check.ok).map(line).collect();
    let (status, last) = match outcome {
        Outcome::Ready => (StatusCode::OK, "ready\n"),
        Outcome::Degraded => (StatusCode::OK, "degraded\n"),
        Outcome::NotReady => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
    };
    body.push_str(last);
    Ok(text(status, "text/plain; charset=utf-8", body))
}

fn line(check: &Check) -> String {
    let outcome = if check.ok { "ok" } else { "failed" };
    format!("{} {outcome}: {}\n", check.name, check.detail)
}

/// Everything counted, for Prometheus, and how the checks of `/readyz` stand now.
///
/// # Source
/// Prometheus, "Exposition formats", text-based format 0.0.4.
pub(super) async fn metrics(State(edge): State<Edge>) -> Response {
    edge.gateway.readiness.check().await;
    edge.gateway.open.set(edge.gateway.public_sockets().try_into().unwrap_or(i64::MAX));
    text(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", edge.gateway.telemetry.text())
}

/// Refuses a request that a page has made: it would use the network position of the operator who looks at it.
///
/// # Source
/// RFC 6454, section 7; W3C, "Fetch Metadata Request Headers", section 2.3.
pub(super) fn refuse_pages(headers: &HeaderMap) -> Result<(), Refusal> {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    let is_of_page = headers.contains_key(header::ORIGIN) || site.is_some_and(|site| site != b"none");
    match is_of_page {
        true => {
            let message = "pages may not ask this; use \"freshet where\" or \"freshet switch\"";
            Err(Refusal::new(StatusCode::FORBIDDEN, Code::Forbidden, "origin", message))
        }
        false => Ok(()),
    }
}

/// An answer for programs, which nothing keeps.
pub(super) fn json(answer: &impl Serialize) -> Response {
    let body = serde_json::to_string(answer).expect("an answer has no maps with keys that are no text");
    text(StatusCode::OK, "application/json", body)
}

fn text(status: StatusCode, media: &'static str, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
