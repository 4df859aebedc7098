//! What a path names.

use axum::{
    extract::{FromRequestParts, Path},
    http::request::Parts,
};
use serde::de::DeserializeOwned;

use crate::gateway::refusal::Refusal;

/// The variable segments of a path, decoded: a collection, or a collection and a key.
///
/// Refused with 400 where a segment is no UTF-8: replacing the broken part would name another record.
///
/// # Source
/// RFC 3986, sections 2.1 (percent-encoding) and 3.3 (segments of a path).
pub(in crate::gateway) struct Segments<T>(pub(in crate::gateway) T);

/// A record's: collection and key.
pub(in crate::gateway) type RecordPath = (String, String);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segments<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(segments)) => Ok(Segments(segments)),
            Err(_) => Err(Refusal::bad_request("path", "the path is no UTF-8 once it is decoded")),
        }
    }
}
