//! A fixed text with its ETag, as it is and compressed.

use std::sync::{Arc, OnceLock};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use bytes::Bytes;

use super::{coding, refusal::Refusal, tag};

/// What is served as it is. Cheap to clone.
#[derive(Clone)]
pub(super) struct Document {
    media: HeaderValue,
    plain: Representation,
    /// In gzip, made when it is first asked for; nothing where that saves nothing.
    packed: Arc<OnceLock<Option<Representation>>>,
    headers: &'static [(&'static str, &'static str)],
}

/// Bytes and their strong tag. Codings do not share one.
///
/// # Source
/// RFC 9110, section 8.8.3.3.
#[derive(Clone)]
struct Representation {
    body: Bytes,
    etag: HeaderValue,
}

impl From<Bytes> for Representation {
    fn from(body: Bytes) -> Self {
        Representation { etag: tag::of_bytes(&body), body }
    }
}

impl Document {
    /// A document of type `media`.
    pub(super) fn new(media: &'static str, body: impl Into<Bytes>) -> Self {
        let plain = Representation::from(body.into());
        Document { media: HeaderValue::from_static(media), plain, packed: Arc::default(), headers: &[] }
    }

    /// Adds headers to every answer.
    pub(super) fn with(self, headers: &'static [(&'static str, &'static str)]) -> Self {
        Document { headers, ..self }
    }

    /// The document, or 304 for a client that has it. Kept by browsers, and asked for each time.
    pub(super) fn answer(&self, request: &HeaderMap) -> Result<Response, Refusal> {
        let packed = if coding::takes_gzip(request) { self.packed() } else { None };
        let Representation { body, etag } = packed.unwrap_or(&self.plain);
        let mut response = if tag::is_current(request, etag)? {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            let mut response = Response::new(Body::from(body.clone()));
            response.headers_mut().insert(header::CONTENT_TYPE, self.media.clone());
            if packed.is_some() {
                response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            }
            response
        };
        let headers = response.headers_mut();
        headers.insert(header::ETAG, etag.clone());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        for (name, value) in self.headers {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        Ok(response)
    }

    fn packed(&self) -> Option<&Representation> {
        self.packed.get_or_init(|| coding::gzip(&self.plain.body).map(Representation::from)).as_ref()
    }
}
