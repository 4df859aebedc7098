//! Point reads of one partition, with their position.

use std::sync::Arc;

use bytes::Bytes;
use sqlx::{Row as _, postgres::PgRow};

use crate::{
    record::{CollectionId, Key, Position},
    resilience::Deadline,
    store::{
        Error, Fetched, Row, ShardId,
        postgres::{Shared, failure, group::generation, statement::Statements},
    },
};

impl Shared {
    /// Reads `keys` in one statement; position, epoch and generation come from the same snapshot.
    ///
    /// # Source
    /// coherence protocol, R5.
    pub(super) async fn read(
        &self,
        shard: ShardId,
        collection: CollectionId,
        keys: &[Key],
        deadline: Deadline,
    ) -> Result<Fetched, Error> {
        let statements = self.statements(collection, shard, deadline).await?;
        match self.try_read(&statements, keys, deadline).await? {
            Ok(rows) => fetched(&rows, shard),
            Err(error) if failure::is_stale_schema(&error) => {
                self.refresh_ownership(deadline).await?;
                let statements = self.statements(collection, shard, deadline).await?;
                let rows = self.try_read(&statements, keys, deadline).await?.map_err(failure::error)?;
                fetched(&rows, shard)
            }
            Err(error) if !failure::is_refusal(&error) => {
                self.reads.forget_idle();
                let rows = self.try_read(&statements, keys, deadline).await?.map_err(failure::error)?;
                fetched(&rows, shard)
            }
            Err(error) => Err(failure::error(error)),
        }
    }

    async fn try_read(
        &self,
        statements: &Arc<Statements>,
        keys: &[Key],
        deadline: Deadline,
    ) -> Result<Result<Vec<PgRow>, sqlx::Error>, Error> {
        let mut lease = self.reads.lend(deadline).await?;
        let keys: Vec<&str> = keys.iter().map(Key::as_str).collect();
        let query = sqlx::query(statements.read()).bind(keys).fetch_all(lease.connection());
        let Ok(rows) = deadline.limit(query).await else {
            // On a link that fell silent the others are as dead, and each would cost somebody a whole deadline.
            self.reads.forget_idle();
            return Err(Error::Deadline);
        };
        if rows.is_ok() {
            lease.give_back();
        }
        Ok(rows)
    }
}

fn fetched(rows: &[PgRow], shard: ShardId) -> Result<Fetched, Error> {
    let first = rows.first().ok_or(Error::NotOwned { shard })?;
    let head = |row: &PgRow| -> Result<_, sqlx::Error> {
        Ok((row.try_get::<Option<i64>, _>(0)?, row.try_get::<i64, _>(1)?, row.try_get::<i64, _>(2)?))
    };
    let (position, epoch, gen_) = head(first).map_err(failure::error)?;
    let rows: Result<Vec<Row>, sqlx::Error> = rows.iter().map(row).collect();
    Ok(Fetched {
        position: Position(position.unwrap_or(0).unsigned_abs()),
        epoch: epoch.unsigned_abs(),
        generation: generation(gen_),
        rows: rows.map_err(failure::error)?,
    })
}

fn row(row: &PgRow) -> Result<Row, sqlx::Error> {
    Ok(Row {
        key: Key::from_database(row.try_get::<&str, _>(3)?),
        version: row.try_get::<Option<i64>, _>(4)?.unwrap_or(0).unsigned_abs(),
        value: row.try_get::<Option<&str>, _>(5)?.map(|text| Bytes::copy_from_slice(text.as_bytes())),
    })
}
