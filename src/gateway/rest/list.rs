//! `GET /v1/{collection}?prefix=..&limit=..&cursor=..`: records of a collection in the order of their keys, page by page.

use axum::{http::HeaderMap, response::Response};

use super::{batch, caching};
use crate::{
    gateway::{Edge, query, refusal::Refusal},
    protocol::RpcError,
    service::ListRequest,
};

/// `{"records": [record, ...], "cursor": ".."}`, the cursor where there may be more.
pub(super) async fn get(
    edge: &Edge,
    collection: &str,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let pairs = query::pairs(query)?;
    let request = request(collection, &pairs)?;
    let service = edge.gateway.service();
    let charge = service.answers().charge(service.config().answer_bytes_max());
    let page = service.list(&request, &charge).await?;
    let mut body = Vec::with_capacity(charge.taken());
    page.write(&mut body);
    let mut response = batch::whole(body, charge, headers)?;
    let described = response.headers_mut();
    caching::describe_list(described);
    caching::name(described, collection, page.keys());
    Ok(response)
}

fn request<'a>(collection: &'a str, pairs: &'a [(String, String)]) -> Result<ListRequest<'a>, Refusal> {
    let mut request = ListRequest { collection, ..ListRequest::default() };
    for (name, value) in pairs {
        let is_new = match name.as_str() {
            "prefix" => request.prefix.replace(value).is_none(),
            "cursor" => request.cursor.replace(value).is_none(),
            "limit" => {
                let limit = value.parse().ok().filter(|limit| *limit > 0);
                let wrong = || RpcError::invalid_params("\"limit\" must be a whole number from 1 on");
                request.limit.replace(limit.ok_or_else(wrong)?).is_none()
            }
            "min_stamp" | "max_stale_ms" => {
                let message = format!("{name:?} goes with ?key=..; a list reads what replicas have");
                return Err(Refusal::bad_request("query", message));
            }
            _ => return Err(query::unknown(name, "prefix, limit and cursor; or key, min_stamp and max_stale_ms")),
        };
        if !is_new {
            return Err(Refusal::bad_request("query", format!("{name:?} comes twice")));
        }
    }
    Ok(request)
}
