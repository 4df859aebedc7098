//! `GET /v1/ws`: from HTTP to a WebSocket.
//!
//! The socket is taken out of hyper and served by `session` alone: no HTTP machinery stays behind it.

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header},
    response::{IntoResponse, Response},
};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tungstenite::handshake::derive_accept_key;

use super::{Edge, refusal::Refusal, socket::Socket};
use crate::{
    protocol::{Code, RpcError},
    session::Sessions,
};

/// The subprotocol, for clients that ask for one.
const SUBPROTOCOL: &str = "freshet.v1";
/// When a client that found the node full or leaving should come back.
const RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(2);

/// Answers 101 and hands the socket over, or says what is missing.
///
/// # Source
/// RFC 6455, sections 4.2.1 and 4.2.2.
pub(super) async fn upgrade(State(edge): State<Edge>, request: Request) -> Response {
    match accept(&edge, &request) {
        Ok(response) => {
            let sessions = edge.gateway.sessions.clone();
            // A task of its own: the connection's future, with hyper's buffers, ends here.
            edge.tasks.spawn(hand_over(request, sessions));
            response
        }
        Err(refusal) => refusal.into_response(),
    }
}

fn accept(edge: &Edge, request: &Request) -> Result<Response, Refusal> {
    let headers = request.headers();
    let key = check_handshake(request.version(), headers)?;
    edge.gateway.origins.check(headers)?;
    check_room(edge)?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answer = response.headers_mut();
    answer.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    answer.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accepted) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
        answer.insert(header::SEC_WEBSOCKET_ACCEPT, accepted);
    }
    if has_token(headers, header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL) {
        answer.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    Ok(response)
}

/// Checks what makes a request an opening handshake, and returns its key.
fn check_handshake(version: Version, headers: &HeaderMap) -> Result<&HeaderValue, Refusal> {
    let lacks = |what: &str| {
        let message = format!("this is a WebSocket endpoint: the request lacks {what}");
        Refusal::new(StatusCode::UPGRADE_REQUIRED, Code::InvalidRequest, "upgrade_required", message)
            .with(header::UPGRADE, HeaderValue::from_static("websocket"))
            .with(header::CONNECTION, HeaderValue::from_static("upgrade"))
    };
    if version < Version::HTTP_11 {
        return Err(lacks("HTTP/1.1"));
    }
    if !has_token(headers, header::CONNECTION, "upgrade") {
        return Err(lacks("\"Connection: Upgrade\" (a proxy may have removed it)"));
    }
    if !has_token(headers, header::UPGRADE, "websocket") {
        return Err(lacks("\"Upgrade: websocket\""));
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        let thirteen = HeaderValue::from_static("13");
        return Err(lacks("\"Sec-WebSocket-Version: 13\"").with(header::SEC_WEBSOCKET_VERSION, thirteen));
    }
    headers.get(header::SEC_WEBSOCKET_KEY).filter(|key| is_nonce(key.as_bytes())).ok_or_else(|| {
        Refusal::bad_request("websocket_key", "\"Sec-WebSocket-Key\" is missing or not 16 bytes in base64")
    })
}

fn check_room(edge: &Edge) -> Result<(), Refusal> {
    let full = |message: &str| Err(RpcError::new(Code::Overloaded, message).retry_after(RETRY_AFTER).into());
    if edge.gateway.readiness.is_draining() || edge.stop.is_cancelled() {
        return full("this node is leaving; come back for another");
    }
    if !edge.gateway.sessions.has_room() {
        return full("this node has as many connections as it takes");
    }
    Ok(())
}

/// Waits until the 101 has been sent, and gives the socket to the sessions with what was read beyond the request.
async fn hand_over(request: Request, sessions: Sessions) {
    let upgraded = match hyper::upgrade::on(request).await {
        Ok(upgraded) => upgraded,
        Err(error) => return tracing::debug!(%error, "a client left during its upgrade"),
    };
    match Upgraded::downcast::<TokioIo<Socket>>(upgraded) {
        Ok(parts) => sessions.serve(parts.io.into_inner().into_stream(), &parts.read_buf),
        Err(_) => tracing::error!("an upgraded connection was no TCP stream"),
    }
}

/// Whether one of a header's comma-separated tokens is `token`, without regard to case.
fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|given| given.trim().eq_ignore_ascii_case(token))
}

/// Whether `key` looks like 16 bytes in base64.
fn is_nonce(key: &[u8]) -> bool {
    let digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == 24 && key.ends_with(b"==") && key[..22].iter().all(digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_sixteen_bytes_in_base64() {
        assert!(is_nonce(b"dGhlIHNhbXBsZSBub25jZQ=="));
        for wrong in ["", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25j====", "dGhlIHNhbXBsZSBub2 jZQ=="] {
            assert!(!is_nonce(wrong.as_bytes()), "{wrong}");
        }
    }
}
