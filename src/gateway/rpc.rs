//! `POST /v1/rpc`: the methods of the WebSocket for clients that ask once.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};

use super::{
    Edge,
    body::{self, Declared},
    refusal::Refusal,
};
use crate::session;

/// Answers a request or a batch; 204 when it held notifications only.
pub(super) async fn call(State(edge): State<Edge>, headers: HeaderMap, body: Body) -> Result<Response, Refusal> {
    edge.gateway.origins.check(&headers)?;
    body::check_type(&headers, &["application/json"], Declared::Required, "accept-post")?;
    let text = body::text(&edge.gateway.config, body).await?;
    let answer = session::answer(&edge.gateway.sessions, &text).await;
    if answer.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let mut response = Response::new(Body::from(answer));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
