//! Where the shards of a database stand, for people to read.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::store::{
    Error,
    postgres::{failure, placement::Standing, session::Session},
};

/// One logical shard of one collection, as one database has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Shard {
    /// The collection's name.
    #[serde(skip)]
    pub collection: String,
    /// Its number.
    #[sqlx(rename = "shard")]
    #[serde(rename = "shard")]
    pub number: i32,
    /// `active`, `frozen`, `moved`, `incoming` or `aborted`; `None` when the database never had the shard.
    pub state: Option<String>,
    /// Rises whenever the shard changes hands.
    pub epoch: Option<i64>,
    /// Rises whenever history was lost.
    #[sqlx(rename = "gen")]
    #[serde(rename = "gen")]
    pub generation: Option<i64>,
    /// The table that holds its records here.
    pub partition: Option<String>,
    /// Its records, roughly.
    pub rows: Option<i64>,
    /// Its size with indexes, in bytes.
    pub bytes: Option<i64>,
}

impl Shard {
    /// Whether the database answers for it: it has the partition, and the shard did not leave.
    pub fn is_owned(&self) -> bool {
        self.partition.is_some() && matches!(self.state.as_deref(), Some("active" | "frozen"))
    }
}

/// A collection and its shards, every one of the database's modulus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Collection {
    /// Its name.
    pub name: String,
    /// The key column.
    pub key_column: String,
    /// The key column's type.
    pub key_kind: String,
    /// In order of their numbers; empty while nothing was placed in the database.
    pub shards: Vec<Shard>,
}

impl Collection {
    /// Whether it has a partition here.
    pub fn is_used(&self) -> bool {
        self.shards.iter().any(|shard| shard.partition.is_some())
    }
}

/// The shards that a database knows, by what it says of its collections. A partition that is not registered counts as its own.
pub fn known(collections: &[Collection]) -> BTreeMap<u32, Standing> {
    let mut known = BTreeMap::new();
    for shard in collections.iter().flat_map(|collection| &collection.shards) {
        let standing = match shard.state.as_deref() {
            Some("active" | "frozen") => Standing::Owned,
            Some(_) => Standing::NotOwned,
            None if shard.partition.is_some() => Standing::Owned,
            None => continue,
        };
        known.insert(shard.number.unsigned_abs(), standing);
    }
    known
}

/// Reads every tracked collection with its shards.
///
/// # Errors
/// [`Error::Broken`] when the database was not migrated, saying what to run.
pub async fn collections(session: &mut Session) -> Result<Vec<Collection>, Error> {
    let names: Vec<(String, String, String)> =
        sqlx::query_as("SELECT name, key_column::text, key_kind FROM feed.collection ORDER BY name")
            .fetch_all(&mut session.connection)
            .await
            .map_err(unmigrated)?;
    let mut shards = shards(session).await?.into_iter().peekable();
    let mut collections = Vec::with_capacity(names.len());
    for (name, key_column, key_kind) in names {
        let own = std::iter::from_fn(|| shards.next_if(|shard| shard.collection == name)).collect();
        collections.push(Collection { name, key_column, key_kind, shards: own });
    }
    Ok(collections)
}

/// Live rows are counted by the server as they come and go; after a crash it starts at 0, and what the last ANALYZE
/// found is the better figure.
async fn shards(session: &mut Session) -> Result<Vec<Shard>, Error> {
    sqlx::query_as(
        "WITH here AS MATERIALIZED (SELECT collection, shard, relation FROM feed.shard_table)
         SELECT c.name AS collection, n.shard, s.state, s.epoch, s.gen, h.relation::text AS partition,
                coalesce(nullif(pg_stat_get_live_tuples(h.relation), 0), greatest(t.reltuples, 0)::bigint) AS rows,
                pg_total_relation_size(h.relation) AS bytes
           FROM feed.meta m
          CROSS JOIN feed.collection c
          CROSS JOIN generate_series(0, m.modulus - 1) n (shard)
           LEFT JOIN here h ON h.collection = c.name AND h.shard = n.shard
           LEFT JOIN pg_class t ON t.oid = h.relation
           LEFT JOIN feed.shard_state s ON s.shard = n.shard
          ORDER BY c.name, n.shard",
    )
    .fetch_all(&mut session.connection)
    .await
    .map_err(unmigrated)
}

/// Counts the rows of `partition`, named as [`Shard::partition`] is.
///
/// # Errors
/// [`Error::Broken`] with what PostgreSQL said.
pub async fn count(session: &mut Session, partition: &str) -> Result<i64, Error> {
    let query = format!("SELECT count(*) FROM {partition}");
    let counted = sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_one(&mut session.connection).await;
    counted.map_err(failure::error)
}

fn unmigrated(error: sqlx::Error) -> Error {
    match failure::is_stale_schema(&error) {
        true => Error::broken("find the feed's tables in the database; run `freshet migrate` on it first"),
        false => failure::error(error),
    }
}
