//! `rpc.discover`: the OpenRPC document.

use super::{Call, Failure, Reply};

/// What is served here, for people and programs.
const DOCUMENT: &str = include_str!("../../../docs/openrpc.json");

pub(super) async fn run(_: Call<'_>) -> Result<Reply, Failure> {
    Ok(DOCUMENT.as_bytes().to_vec().into())
}
