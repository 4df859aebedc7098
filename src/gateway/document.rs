//! A fixed text with its ETag.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use bytes::Bytes;

use super::{refusal::Refusal, tag};

/// What is served as it is. Cheap to clone.
#[derive(Clone)]
pub(super) struct Document {
    body: Bytes,
    media: HeaderValue,
    etag: HeaderValue,
    headers: &'static [(&'static str, &'static str)],
}

impl Document {
    /// A document of type `media`.
    pub(super) fn new(media: &'static str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let etag = tag::of_bytes(&body);
        Document { body, media: HeaderValue::from_static(media), etag, headers: &[] }
    }

    /// Adds headers to every answer.
    pub(super) fn with(self, headers: &'static [(&'static str, &'static str)]) -> Self {
        Document { headers, ..self }
    }

    /// The document, or 304 for a client that has it. Kept by browsers, and asked for each time.
    pub(super) fn answer(&self, request: &HeaderMap) -> Result<Response, Refusal> {
        let mut response = if tag::is_current(request, &self.etag)? {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            let mut response = Response::new(Body::from(self.body.clone()));
            response.headers_mut().insert(header::CONTENT_TYPE, self.media.clone());
            response
        };
        let headers = response.headers_mut();
        headers.insert(header::ETAG, self.etag.clone());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        for (name, value) in self.headers {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        Ok(response)
    }
}
