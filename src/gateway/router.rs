//! Which path is whose.

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
    middleware::map_response_with_state,
    response::Response,
    routing::{get, post},
};

use super::{
    Edge, client, document::Document, operations, refusal::Refusal, rest, rpc, stats, switches, upgrade, whereabouts,
};
use crate::protocol::Code;

const PUBLIC: &str = "GET /v1/ws (WebSocket), POST /v1/rpc, GET, PUT, PATCH and DELETE /v1/{collection}/{key}, \
    GET /v1/{collection}?key=..&key=.. or ?prefix=..&limit=..&cursor=.., GET /v1/{collection}/{key}/events (SSE), GET /openapi.json, \
    GET /freshet.js (the client for pages)";
const OPERATIONS: &str = "GET /livez, GET /readyz?verbose, GET /metrics, GET /v1/stats/events, \
    GET /where/{collection}/{key}, GET and PATCH /switches";

/// What clients can ask for.
pub(super) fn public(edge: Edge) -> Router {
    let openapi = Document::new("application/json", &include_bytes!("../../docs/openapi.json")[..]);
    let client = client::document();
    let routes = Router::new()
        .route("/v1/ws", get(upgrade::upgrade))
        .route("/v1/rpc", post(rpc::call))
        .route("/openapi.json", get(async move |headers: HeaderMap| openapi.answer(&headers)))
        .route("/freshet.js", get(async move |headers: HeaderMap| client.answer(&headers)))
        .merge(rest::routes());
    let routes = match &edge.gateway.page {
        Some(page) => routes.merge(page.routes()),
        None => routes.route("/", get(async || format!("Freshet serves {PUBLIC}.\n"))),
    };
    let counting = map_response_with_state(edge.clone(), count);
    finish(routes, PUBLIC).layer((counting, edge.gateway.hosts.clone())).with_state(edge)
}

/// What probes can ask for.
pub(super) fn operations(edge: Edge) -> Router {
    let routes = Router::new()
        .route("/livez", get(operations::livez))
        .route("/readyz", get(operations::readyz))
        .route("/metrics", get(operations::metrics))
        .route("/v1/stats/events", get(stats::events))
        .route("/where/{collection}/{key}", get(whereabouts::get))
        .route("/switches", get(switches::get).patch(switches::patch));
    finish(routes, OPERATIONS).layer(edge.gateway.hosts.clone()).with_state(edge)
}

/// Counts an answer to a client by its status.
async fn count(State(edge): State<Edge>, response: Response) -> Response {
    edge.gateway.answers.with_label_values(&[response.status().as_str()]).inc();
    response
}

/// Says of every other path and method what there is.
fn finish(routes: Router<Edge>, served: &'static str) -> Router<Edge> {
    let nothing_here = async move |uri: Uri| {
        let path: String = uri.path().chars().take(200).collect();
        let message = format!("there is nothing at {path}; served are {served}");
        Refusal::new(StatusCode::NOT_FOUND, Code::InvalidRequest, "not_found", message)
    };
    let wrong_method = async |method: Method| {
        let message = format!("this path does not take {method}; \"Allow\" lists what it takes");
        Refusal::new(StatusCode::METHOD_NOT_ALLOWED, Code::InvalidRequest, "method_not_allowed", message)
    };
    routes.fallback(nothing_here).method_not_allowed_fallback(wrong_method)
}
