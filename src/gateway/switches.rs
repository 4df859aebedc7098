//! `/switches` of the operations listener: what of Redis this node uses.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};

use super::{
    Edge,
    body::{self, Declared},
    operations::{self, refuse_pages},
    refusal::Refusal,
};
use crate::{protocol::Code, shared::SwitchChange, tiers::Tiers};

/// How the switches stand.
pub(super) async fn get(State(edge): State<Edge>) -> Result<Response, Refusal> {
    tiers(&edge).switches().map(|switches| operations::json(&switches)).ok_or_else(without_redis)
}

/// Changes those that the body names, and answers how all stand then. No page may do that.
pub(super) async fn patch(State(edge): State<Edge>, headers: HeaderMap, body: Body) -> Result<Response, Refusal> {
    refuse_pages(&headers)?;
    body::check_type(&headers, &["application/json"], Declared::Required, "accept-patch")?;
    let text = body::text(&edge.gateway.config, body).await?;
    let refused = |message: String| Refusal::bad_request("switches", message);
    let change: SwitchChange = serde_json::from_str(&text).map_err(|error| {
        refused(format!("the body is no change of switches, such as {{\"reads\": false, \"shadow\": 0.05}}: {error}"))
    })?;
    let switches = tiers(&edge).switch(change).ok_or_else(without_redis)?.map_err(refused)?;
    Ok(operations::json(&switches))
}

fn tiers(edge: &Edge) -> &Tiers {
    edge.gateway.service().tiers()
}

fn without_redis() -> Refusal {
    let message = "this node has no [redis] in its configuration, and so nothing to switch";
    Refusal::new(StatusCode::NOT_FOUND, Code::InvalidRequest, "no_redis", message)
}
