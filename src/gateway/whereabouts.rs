//! `/where/{collection}/{key}` of the operations listener: where a record stands, as seen from this node.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use serde::Serialize;

use super::{
    Edge,
    operations::{self, refuse_pages},
    refusal::Refusal,
    rest::{RecordPath, Segments},
};
use crate::{protocol::Code, service, tiers::whereabouts::Whereabouts};

/// Records that are looked for at once: each look takes connections that clients' reads need as well.
pub(super) const AT_ONCE_MAX: usize = 2;

/// What the tiers know, and the hub.
#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    whereabouts: Whereabouts,
    /// Subscriptions to the record on this node.
    watchers: usize,
    /// The newest state that was offered to them.
    #[serde(skip_serializing_if = "Option::is_none")]
    published: Option<String>,
}

/// Reads the record on every server, so it is for people and not for clients. No value is shown.
pub(super) async fn get(
    State(edge): State<Edge>,
    Segments((collection, key)): Segments<RecordPath>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    refuse_pages(&headers)?;
    let Ok(_permit) = edge.gateway.whereabouts.try_acquire() else {
        let message = format!("{AT_ONCE_MAX} records are being looked for already; ask again");
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, Code::Overloaded, "overloaded", message));
    };
    let service = edge.gateway.service();
    let id = service.record(&collection, &key)?;
    let whereabouts = service.tiers().whereabouts(&id).await.map_err(service::Error::from)?;
    let topic = service.hub().topic(id.as_ref());
    Ok(operations::json(&Answer {
        whereabouts,
        watchers: topic.as_ref().map_or(0, |topic| topic.watchers()),
        published: topic.and_then(|topic| topic.latest()).map(|stamp| stamp.to_string()),
    }))
}
