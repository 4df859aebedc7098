//! Records as HTTP resources: `/v1/{collection}/{key}`, batches of them, and lists.
//!
//! The body is the value, and the ETag its stamp; a conditional request is a conditional write of the store. What an
//! HTTP cache may do with a record is said in its own words, so that one in front of a node needs no configuration.

mod batch;
mod caching;
mod condition;
mod events;
mod list;
mod read;
mod segments;
mod write;

use std::time::Duration;

use axum::{Router, routing::get};

pub(super) use self::segments::{RecordPath, Segments};

use super::{Edge, refusal::Refusal};
use crate::{protocol::RpcError, record::Stamp, tiers::ReadOptions};

/// The routes of records.
pub(super) fn routes() -> Router<Edge> {
    Router::new()
        .route("/v1/{collection}", get(batch::get))
        .route("/v1/{collection}/{key}", get(read::get).put(write::put).patch(write::patch).delete(write::delete))
        .route("/v1/{collection}/{key}/events", get(events::get))
}

/// What of a read's options is given as query parameters. False when `name` is none of them.
fn read_option(options: &mut ReadOptions, name: &str, value: &str) -> Result<bool, Refusal> {
    match name {
        "min_stamp" => {
            let stamp = value.parse::<Stamp>().map_err(|error| RpcError::invalid_params(error.to_string()))?;
            options.min_stamp = Some(stamp);
        }
        "max_stale_ms" => {
            let refused = |_| RpcError::invalid_params("\"max_stale_ms\" must be a whole number of milliseconds");
            options.stale_max = Some(Duration::from_millis(value.parse().map_err(refused)?));
        }
        _ => return Ok(false),
    }
    Ok(true)
}
