//! Server-Sent Events: an answer that goes on.
//!
//! Promises: an event is made when the socket has room for it, never earlier; a quiet stream is kept alive; every
//! stream ends with the listener's stop, after it has told its client when to come back.
//!
//! # Source
//! HTML Standard, section 9.2 (server-sent events).

use std::{convert::Infallible, time::Duration};

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, header},
    response::Response,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};

use super::Edge;

/// How long a stream may be quiet before a comment is sent: proxies close what seems idle, mostly after 30 s or more.
const QUIET_MAX: Duration = Duration::from_secs(15);
/// When a browser should come back after a stream that broke.
const RETRY: Duration = Duration::from_secs(2);

/// An event with `data`, with the `id` that resumes behind it, and with a `name` if it is not a plain message.
pub(super) fn event(name: Option<&str>, id: Option<&str>, data: &[u8]) -> Bytes {
    let mut text = Vec::with_capacity(data.len() + 64);
    if let Some(name) = name {
        text.extend_from_slice(b"event: ");
        text.extend_from_slice(name.as_bytes());
        text.push(b'\n');
    }
    if let Some(id) = id {
        text.extend_from_slice(b"id: ");
        text.extend_from_slice(id.as_bytes());
        text.push(b'\n');
    }
    // A raw line end in JSON can only be white space between its parts: the client puts the lines together again.
    for line in data.split(|byte| matches!(byte, b'\n' | b'\r')) {
        text.extend_from_slice(b"data: ");
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    text.push(b'\n');
    text.into()
}

/// When a browser should come back.
fn retry(wait: Duration) -> Bytes {
    format!("retry: {}\n\n", wait.as_millis()).into()
}

/// Answers with `events` until they or the listener end. The last words send each client back after a time of its own,
/// as the drain notice of a WebSocket does: they would all come at once otherwise.
pub(super) fn answer(events: impl Stream<Item = Bytes> + Send + 'static, edge: &Edge) -> Response {
    let spread = edge.gateway.sessions.config().reconnect_spread;
    let events = stream::unfold(Box::pin(events), async |mut events| {
        match tokio::time::timeout(QUIET_MAX, events.next()).await {
            Ok(event) => event.map(|event| (event, events)),
            Err(_) => Some((Bytes::from_static(b":\n\n"), events)),
        }
    });
    let head = stream::once(std::future::ready(retry(RETRY)));
    let farewell = stream::once(async move { retry(rand::random_range(Duration::ZERO..=spread)) });
    let body = head.chain(events).take_until(edge.stop.clone().cancelled_owned()).chain(farewell);
    let mut response = Response::new(Body::from_stream(body.map(Ok::<_, Infallible>)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx would collect events otherwise.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_within_data_do_not_end_the_event() {
        let event = event(None, Some("1.2"), b"{\r\n\"a\":1}");
        assert_eq!(&event[..], b"id: 1.2\ndata: {\ndata: \ndata: \"a\":1}\n\n");
    }
}
