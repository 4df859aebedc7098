//! A part of a collection in the order of its keys, from one database.
//!
//! Promises: every row of the shards asked for that the snapshot shows and the range contains is there, once, with its stamp. A
//! list uses none of the connections of point reads: [`CONNECTIONS`] of its own to each server, so that it can make them wait
//! in the database alone, and there a statement ends with its caller's deadline. A replica is asked where there is one, and the
//! primary where that fails. What it brings is kept nowhere.
//! Leaves to others how parts become one list, and how many lists run at once (`service/list.rs`).

mod statement;

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Row as _, postgres::PgRow};

use self::statement::Statement;
use super::generation;
use crate::{
    record::{CollectionId, Key, Position, RecordRef, ShardId, Stamp, State},
    resilience::Deadline,
    store::{
        Error,
        list::{Range, Stretch},
        postgres::{
            Config, Shared,
            describe::{KeyOrder, Table},
            failure,
            pool::Pool,
            replication::{Connector, Servers, To},
        },
    },
};

/// Connections to each server on which lists are read.
pub const CONNECTIONS: u32 = 2;

/// The connections of lists.
pub struct Lists {
    primary: Pool,
    /// For each server, in case that it is a replica.
    replicas: Box<[Pool]>,
}

impl Lists {
    /// Pools to the servers of a database.
    pub(in crate::store::postgres) fn new(config: &Config, servers: &Arc<Servers>) -> Self {
        // A plan made while a table was empty is kept, and must not sort the whole of it when it has grown.
        let connector =
            |to| Connector::new(servers, to, "lists").with("enable_sort", "off").with("enable_bitmapscan", "off");
        let pool = |to| Pool::new(connector(to), config.connect_limit, CONNECTIONS);
        Lists { primary: pool(To::Primary), replicas: (0..servers.len()).map(|at| pool(To::Replica(at))).collect() }
    }

    /// Closes the idle connections: after one was found dead, the others are likely to be.
    pub fn forget_idle(&self) {
        self.all().for_each(Pool::forget_idle);
    }

    /// Waits for the connections that are lent, up to `deadline`, and closes all.
    pub async fn close(&self, deadline: Deadline) {
        for pool in self.all() {
            pool.close(deadline).await;
        }
    }

    fn all(&self) -> impl Iterator<Item = &Pool> {
        std::iter::once(&self.primary).chain(&self.replicas)
    }
}

/// What a statement brought.
struct Answer {
    is_replica: bool,
    generations: BTreeMap<u32, i64>,
    /// In the order of their keys.
    rows: Vec<(Key, u64, Bytes)>,
    /// Whether there may be further rows.
    is_cut: bool,
}

impl Shared {
    /// Reads the part of `shards`, all of which must be here.
    ///
    /// # Errors
    /// [`Error::NotOwned`] for one that is not; [`Error::Deadline`], [`Error::Unavailable`].
    pub(in crate::store::postgres) async fn list(
        &self,
        collection: CollectionId,
        shards: &[ShardId],
        range: &Range,
        deadline: Deadline,
    ) -> Result<Stretch, Error> {
        let table = self.tables.iter().find(|table| table.collection.id == collection);
        let table = table.ok_or_else(|| Error::broken("find a collection's table"))?;
        let statement = Statement::new(table, range);
        let answer = match self.list_replica(&statement, range, deadline).await {
            Some(answer) => answer,
            None => self
                .list_primary(&statement, range, deadline)
                .await
                .inspect_err(|error| self.suggest_index(table, error))?,
        };
        self.stretch(table, shards, answer)
    }

    /// What a replica answers; `None` where the primary has to.
    async fn list_replica(&self, statement: &Statement, range: &Range, deadline: Deadline) -> Option<Answer> {
        let (at, _in_flight) = self.servers.choose(Position::default())?;
        let pool = &self.lists.replicas[at];
        match ask(pool, statement, range, deadline.at_most(deadline.left() / 2)).await {
            Ok(Ok(answer)) if answer.is_replica => {
                self.servers.get(at).count_reads(answer.rows.len());
                return Some(answer);
            }
            Ok(Ok(_)) => pool.forget_idle(),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a replica did not answer a list");
                if !failure::is_refusal(&error) {
                    pool.forget_idle();
                }
            }
            Err(error) => tracing::debug!(%error, "a replica did not answer a list"),
        }
        None
    }

    /// What the primary answers. A connection that was found dead is replaced, once.
    async fn list_primary(&self, statement: &Statement, range: &Range, deadline: Deadline) -> Result<Answer, Error> {
        self.servers.breaker.admit(Instant::now())?;
        let pool = &self.lists.primary;
        let mut answer = ask(pool, statement, range, deadline).await?;
        if let Err(error) = &answer
            && (!failure::is_refusal(error) || failure::is_stale_schema(error))
        {
            pool.forget_idle();
            answer = ask(pool, statement, range, deadline).await?;
        }
        self.servers.breaker.note(&answer);
        let answer = answer.map_err(failure::error)?;
        if answer.is_replica {
            return Err(Error::primary_changed());
        }
        self.servers.primary().0.count_reads(answer.rows.len());
        Ok(answer)
    }

    fn stretch(&self, table: &Table, shards: &[ShardId], answer: Answer) -> Result<Stretch, Error> {
        let collection = &table.collection;
        let ownership = self.ownership.read().clone();
        let is_here = |shard: &ShardId| {
            answer.generations.contains_key(&shard.0) && ownership.find(collection.id, *shard).is_ok()
        };
        if let Some(shard) = shards.iter().find(|shard| !is_here(shard)) {
            return Err(Error::NotOwned { shard: *shard });
        }
        let is_ordered = |pair: &[(Key, u64, Bytes)]| collection.key_kind.order(&pair[0].0, &pair[1].0).is_lt();
        if !answer.rows.windows(2).all(is_ordered) {
            return Err(Error::broken(format!("get the keys of \"{}\" in the order of their bytes", collection.name)));
        }
        let end = answer.rows.last().filter(|_| answer.is_cut).map(|(key, ..)| key.clone());
        let mut records = Vec::with_capacity(answer.rows.len());
        for (key, version, value) in answer.rows {
            let record = RecordRef { collection: collection.id, key: key.as_str() };
            // Rows of other shards are on their way here, or have left.
            let Some(shard) = self.catalogue.shard_of(record).filter(|shard| shards.contains(shard)) else { continue };
            let stamp = Stamp::new(generation(answer.generations[&shard.0]), version);
            records.push((key, State { stamp, value: Some(value) }));
        }
        Ok(Stretch { records, end })
    }

    /// An operator can help where the whole table was sorted.
    fn suggest_index(&self, table: &Table, error: &Error) {
        if matches!(error, Error::Deadline) && table.key_order == KeyOrder::Sorted {
            let (database, collection) = (&self.config.name, &table.collection.name);
            let key = crate::store::postgres::statement::identifier(&table.collection.key_column);
            let remedy = format!("CREATE INDEX ON {} ({key} COLLATE \"C\")", table.relation);
            tracing::warn!(%database, %collection, remedy, "a list had to sort the whole table and was given up; an index spares that");
        }
    }
}

/// Runs the statement, which the server ends at the deadline as well.
async fn ask(
    pool: &Pool,
    statement: &Statement,
    range: &Range,
    deadline: Deadline,
) -> Result<Result<Answer, sqlx::Error>, Error> {
    let mut connection = pool.acquire(deadline).await?;
    let limit = format!("SET statement_timeout = {}", deadline.left().as_millis().max(1));
    let set = sqlx::raw_sql(AssertSqlSafe(limit)).execute(connection.connection());
    if let Err(error) = deadline.limit(set).await.map_err(|_| Error::Deadline)? {
        return Ok(Err(error));
    }
    // One more than asked for tells whether there are others.
    let rows_max = range.limit.saturating_add(1);
    let mut query = sqlx::query(AssertSqlSafe(statement.sql.clone()));
    for bound in &statement.bounds {
        query = query.bind(bound);
    }
    let query = query.bind(i64::try_from(rows_max).unwrap_or(i64::MAX));
    let read = deadline.limit(read(query.fetch(connection.connection()), range, rows_max)).await;
    let (answer, is_whole) = match read.map_err(|_| Error::Deadline)? {
        Ok(read) => read,
        Err(error) => return Ok(Err(error)),
    };
    if !connection.is_current() {
        return Err(Error::primary_changed());
    }
    // One that has more to say is closed.
    if is_whole {
        connection.release();
    }
    Ok(Ok(answer))
}

/// Takes rows as they come, up to what a page may hold; whether all were taken.
async fn read(
    rows: impl futures_util::Stream<Item = Result<PgRow, sqlx::Error>>,
    range: &Range,
    rows_max: usize,
) -> Result<(Answer, bool), sqlx::Error> {
    let mut rows = std::pin::pin!(rows);
    let mut answer = Answer { is_replica: false, generations: BTreeMap::new(), rows: Vec::new(), is_cut: false };
    let mut bytes = 0;
    while let Some(row) = rows.try_next().await? {
        let (key, number, text): (Option<&str>, i64, Option<&str>) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let Some(key) = key else {
            answer.is_replica = number != 0;
            let generations = serde_json::from_str(text.unwrap_or("{}"));
            answer.generations = generations.map_err(|error| sqlx::Error::Decode(error.into()))?;
            continue;
        };
        let value = Bytes::copy_from_slice(text.unwrap_or("null").as_bytes());
        bytes += key.len() + value.len();
        answer.rows.push((Key::from_database(key), number.unsigned_abs(), value));
        if bytes > range.bytes_max {
            answer.is_cut = true;
            return Ok((answer, false));
        }
    }
    answer.is_cut = answer.rows.len() >= rows_max;
    Ok((answer, true))
}
