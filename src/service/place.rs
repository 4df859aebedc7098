//! Where a record lies, in words that people know.

use crate::{
    record::ShardId,
    store::{Login, ServerState},
};

/// The shard of a record and the database that owns it.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    /// Its shard.
    pub shard: ShardId,
    /// The database's name in the configuration.
    pub database: &'a str,
    /// How its servers stand; none in memory.
    pub servers: Vec<ServerState>,
    /// How a person reaches its primary; nothing in memory.
    pub login: Option<Login>,
}
