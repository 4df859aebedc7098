//! Point reads of one partition, with their position.

mod batch_size;
mod list;
mod pool;
mod replica;
pub mod scan;
mod shares;

use std::time::Instant;

use bytes::Bytes;
use sqlx::{Row as _, postgres::PgRow};

pub use self::batch_size::BatchSizes;
pub use self::list::{CONNECTIONS as LIST_CONNECTIONS, Lists};
pub use self::pool::{ReadPool, WAITING_CONNECTIONS};

use self::pool::{Place, Purpose};
use crate::{
    record::{CollectionId, DatabaseId, Key, Position, ShardId},
    resilience::Deadline,
    store::{
        Error, Fetched, Origin, Row,
        postgres::{Shared, failure, statement::Statements},
    },
};

impl Shared {
    /// Reads `keys` in one statement; position, epoch and generation come from the same snapshot. Where somebody has locked
    /// what it reads, it waits beside the connections of others.
    ///
    /// # Source
    /// docs/coherence.md, R5.
    pub(in crate::store::postgres) async fn read(
        &self,
        shard: ShardId,
        collection: CollectionId,
        keys: &[Key],
        deadline: Deadline,
    ) -> Result<Fetched, Error> {
        let place = (collection, shard);
        if !self.reads.is_locked(place)
            && let Some(fetched) = self.read_for(Purpose::Read, place, keys, deadline).await?
        {
            return Ok(fetched);
        }
        self.reads.lock(place);
        loop {
            // The wait for the lock is the pause between two tries. Other reads of the collection get the connection in between.
            if let Some(fetched) = self.read_for(Purpose::Wait, place, keys, deadline).await? {
                self.reads.unlock(place);
                return Ok(fetched);
            }
        }
    }

    /// Reads `keys`; `None` when a lock was in the way. If the partition is gone, ownership is read anew, once.
    async fn read_for(
        &self,
        purpose: Purpose,
        (collection, shard): Place,
        keys: &[Key],
        deadline: Deadline,
    ) -> Result<Option<Fetched>, Error> {
        let mut statements = self.statements(collection, shard, deadline).await?;
        let mut rows = self.try_read(purpose, &statements, keys, deadline).await?;
        match &rows {
            Err(error) if failure::is_stale_schema(error) => {
                self.refresh_ownership(deadline).await?;
                statements = self.statements(collection, shard, deadline).await?;
                rows = self.try_read(purpose, &statements, keys, deadline).await?;
            }
            Err(error) if !failure::is_refusal(error) => {
                self.reads.forget_idle();
                rows = self.try_read(purpose, &statements, keys, deadline).await?;
            }
            _ => {}
        }
        match rows {
            Ok(rows) => {
                let fetched = fetched(&rows, self.id, shard, keys.len())?;
                self.servers.primary().0.count_reads(keys.len());
                self.batch_sizes.learn(collection, &fetched.rows);
                Ok(Some(fetched))
            }
            Err(error) if failure::is_held(&error) => Ok(None),
            Err(error) => Err(failure::error(error)),
        }
    }

    async fn try_read(
        &self,
        purpose: Purpose,
        statements: &Statements,
        keys: &[Key],
        deadline: Deadline,
    ) -> Result<Result<Vec<PgRow>, sqlx::Error>, Error> {
        let mut connection = self.reads.acquire(statements.table().collection.id, purpose, deadline).await?;
        let keys: Vec<&str> = keys.iter().map(Key::as_str).collect();
        let mut sent = Sent { reads: &self.reads, begun: Instant::now(), has_ended: false };
        let query = sqlx::query(statements.read()).bind(keys).fetch_all(connection.connection());
        let rows = deadline.limit(query).await.map_err(|_| Error::Deadline)?;
        sent.has_ended = true;
        self.servers.breaker.note(&rows);
        if !connection.is_current() {
            return Err(Error::primary_changed());
        }
        if rows.as_ref().err().is_none_or(failure::is_held) {
            connection.release();
        }
        Ok(rows)
    }
}

/// A statement under way. If it is given up, the link may have fallen silent: then the other connections are as dead, and each
/// would cost a caller a whole deadline.
struct Sent<'p> {
    reads: &'p ReadPool,
    begun: Instant,
    has_ended: bool,
}

impl Drop for Sent<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.reads.forget_silent(self.begun);
        }
    }
}

fn fetched(rows: &[PgRow], database: DatabaseId, shard: ShardId, keys: usize) -> Result<Fetched, Error> {
    let first = rows.first().ok_or(Error::NotOwned { shard })?;
    let head = |row: &PgRow| -> Result<_, sqlx::Error> {
        Ok((row.try_get::<Option<i64>, _>(0)?, row.try_get::<i64, _>(1)?, row.try_get::<i64, _>(2)?))
    };
    let (position, epoch, gen_) = head(first).map_err(failure::error)?;
    let rows = in_order(keys, rows, row).map_err(failure::error)?;
    Ok(Fetched {
        database,
        position: Position(position.unwrap_or(0).unsigned_abs()),
        origin: Origin::Primary,
        epoch: epoch.unsigned_abs(),
        generation: generation(gen_),
        rows: rows.into_iter().collect::<Option<_>>().ok_or_else(|| Error::broken("find a key in a read's answer"))?,
    })
}

fn row(row: &PgRow) -> Result<Row, sqlx::Error> {
    Ok(Row {
        version: row.try_get::<Option<i64>, _>(4)?.unwrap_or(0).unsigned_abs(),
        value: row.try_get::<Option<&str>, _>(5)?.map(|text| Bytes::copy_from_slice(text.as_bytes())),
    })
}

/// A generation as the database counts it; it starts at 1 and rises by hand-counted events.
pub(in crate::store::postgres) fn generation(counted: i64) -> u32 {
    u32::try_from(counted).unwrap_or(u32::MAX)
}

/// What `read` makes of the rows of a statement about `keys` keys, in the order of these: each row says in its fourth
/// column which it is about, from 1 on.
pub(in crate::store::postgres) fn in_order<T>(
    keys: usize,
    rows: &[PgRow],
    read: impl Fn(&PgRow) -> Result<T, sqlx::Error>,
) -> Result<Vec<Option<T>>, sqlx::Error> {
    let mut found: Vec<Option<T>> = std::iter::repeat_with(|| None).take(keys).collect();
    for row in rows {
        let place = usize::try_from(row.try_get::<i64, _>(3)?).ok().and_then(|number| number.checked_sub(1));
        if let Some(place) = place.and_then(|place| found.get_mut(place)) {
            *place = Some(read(row)?);
        }
    }
    Ok(found)
}
