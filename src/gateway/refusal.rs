//! What a request is answered with when it is not served: a status, and the JSON-RPC error object that says why.

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::{
    protocol::{Code, RpcError},
    service,
};

/// An error answer: `{"error": {"code", "message", "data"}}`.
#[derive(Debug)]
pub(super) struct Refusal(Box<Parts>);

#[derive(Debug)]
struct Parts {
    status: StatusCode,
    error: RpcError,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Refusal {
    /// A refusal with a status of its own, where HTTP is more exact than JSON-RPC. `reason` is the stable word.
    pub(super) fn new(status: StatusCode, code: Code, reason: &'static str, message: impl Into<String>) -> Self {
        let error = RpcError::new(code, message).because(reason);
        Refusal(Box::new(Parts { status, error, headers: Vec::new() }))
    }

    /// 400, for something that is wrong with the request itself.
    pub(super) fn bad_request(reason: &'static str, message: impl Into<String>) -> Self {
        Refusal::new(StatusCode::BAD_REQUEST, Code::InvalidRequest, reason, message)
    }

    /// Adds a header to the answer.
    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }
}

impl From<RpcError> for Refusal {
    fn from(error: RpcError) -> Self {
        let status = StatusCode::from_u16(error.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Refusal(Box::new(Parts { status, error, headers: Vec::new() }))
    }
}

impl From<service::Error> for Refusal {
    fn from(error: service::Error) -> Self {
        RpcError::from(error).into()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Parts { status, error, headers } = *self.0;
        let mut body = Vec::from(&b"{\"error\":"[..]);
        error.write(&mut body);
        body.push(b'}');
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let answer = response.headers_mut();
        answer.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // Whether the next attempt is refused is not known now.
        answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(millis) = error.retry_after_ms {
            answer.insert(header::RETRY_AFTER, HeaderValue::from(millis.div_ceil(1_000).max(1)));
        }
        answer.extend(headers);
        response
    }
}
