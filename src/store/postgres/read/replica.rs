//! Point reads of one partition on a replica.
//!
//! Whatever goes wrong here, the primary is asked in its place; nothing is tried twice. So a replica costs a read
//! [`LIMIT`] at the most, once: then it is asked nothing for a while.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sqlx::postgres::PgRow;

use super::{fetched, pool::Purpose};
use crate::{
    record::{CollectionId, Key, Position, ShardId},
    resilience::Deadline,
    store::{
        Error, Fetched, Origin,
        postgres::{Shared, failure},
    },
};

/// How long a replica is waited for while the primary could answer. A cached row takes below a millisecond, and a batch from a
/// slow disk some hundred.
const LIMIT: Duration = Duration::from_millis(500);

/// Why a statement on a replica came to nothing.
enum Failed {
    /// It did not answer in its time.
    Late,
    /// This node's connections to it are all in use.
    Busy,
    /// The replica, or the link to it, is not usable.
    Lost(String),
    /// The replica is one no more.
    Promoted,
    /// The statement was cancelled, as what it read was being removed.
    Conflict,
    /// Only this statement failed.
    Refused,
}

impl Failed {
    fn into_words(self) -> String {
        match self {
            Failed::Late => "it did not answer in time".into(),
            Failed::Busy => "this node's connections to it are all in use".into(),
            Failed::Lost(reason) => reason,
            Failed::Promoted => "it is no replica any more".into(),
            Failed::Conflict => "it cancelled the read, as what it read was being removed".into(),
            Failed::Refused => "it refused the read".into(),
        }
    }
}

impl Shared {
    /// Reads `keys` in one statement on a replica that is known to show `needed`, with the position that it shows now.
    ///
    /// # Errors
    /// [`Error::Unavailable`] and [`Error::Deadline`]: the primary may answer.
    ///
    /// # Source
    /// docs/coherence.md, R10.
    pub(in crate::store::postgres) async fn read_replica(
        &self,
        shard: ShardId,
        collection: CollectionId,
        keys: &[Key],
        needed: Position,
        deadline: Deadline,
    ) -> Result<Fetched, Error> {
        let unavailable = |reason: &str| Error::Unavailable { reason: reason.to_owned() };
        let (at, _in_flight) = self.servers.choose(needed).ok_or_else(|| unavailable("no replica is near enough"))?;
        let begun = Instant::now();
        // While the primary says nothing, there is nobody else to ask.
        let limit = if self.servers.breaker.check(begun).is_ok() { deadline.at_most(LIMIT) } else { deadline };
        let read = self.try_replica(at, shard, collection, keys, limit).await;
        let failed = match read {
            Ok(rows) => {
                let read = fetched(&rows, self.id, shard, keys.len())?;
                if rows.first().is_some_and(is_placed) {
                    self.servers.answered(at, read.position);
                    self.servers.get(at).count_reads(keys.len());
                    self.batch_sizes.learn(collection, &read.rows);
                    return Ok(Fetched { origin: Origin::Replica, ..read });
                }
                Failed::Promoted
            }
            Err(failed) => failed,
        };
        let (reason, ban) = match failed {
            Failed::Late => {
                // Other connections over the same link are likely to be as silent.
                self.replica_reads[at].forget_silent(begun);
                ("late", (begun.elapsed() >= LIMIT).then(|| format!("it did not answer for {LIMIT:?}")))
            }
            Failed::Busy => ("busy", None),
            Failed::Lost(reason) => ("lost", Some(reason)),
            Failed::Promoted => ("promoted", Some("it is no replica any more".into())),
            Failed::Conflict => ("conflict", None),
            Failed::Refused => ("refused", None),
        };
        self.servers.failed(at, reason, ban);
        Err(unavailable("a replica did not answer"))
    }

    /// Reads one record on each server, for people; a replica as well that is asked nothing by others. In the order of the
    /// configuration, with what is wrong where one did not answer.
    pub(in crate::store::postgres) async fn read_each(
        &self,
        shard: ShardId,
        collection: CollectionId,
        key: &Key,
        deadline: Deadline,
    ) -> Vec<Result<Fetched, String>> {
        let keys = std::slice::from_ref(key);
        let reads = (0..self.servers.len()).map(async |at| {
            if self.servers.is_primary(at) {
                return self.read(shard, collection, keys, deadline).await.map_err(|error| error.to_string());
            }
            let rows = self.try_replica(at, shard, collection, keys, deadline).await.map_err(Failed::into_words)?;
            if !rows.first().is_some_and(is_placed) {
                return Err(Failed::Promoted.into_words());
            }
            let read = fetched(&rows, self.id, shard, keys.len()).map_err(|error| error.to_string())?;
            Ok(Fetched { origin: Origin::Replica, ..read })
        });
        join_all(reads).await
    }

    async fn try_replica(
        &self,
        at: usize,
        shard: ShardId,
        collection: CollectionId,
        keys: &[Key],
        limit: Deadline,
    ) -> Result<Vec<PgRow>, Failed> {
        let statements = self.ownership.read().find(collection, shard).map_err(|_| Failed::Refused)?;
        let acquired = self.replica_reads[at].acquire(collection, Purpose::Read, limit).await;
        let mut connection = acquired.map_err(|error| match error {
            Error::Deadline => Failed::Busy,
            other => Failed::Lost(other.to_string()),
        })?;
        let keys: Vec<&str> = keys.iter().map(Key::as_str).collect();
        let query = sqlx::query(statements.read_replica()).bind(keys).fetch_all(connection.connection());
        let rows = limit.limit(query).await.map_err(|_| Failed::Late)?.map_err(|error| self.explain(at, error))?;
        if rows.first().is_none_or(is_placed) {
            connection.release();
        }
        Ok(rows)
    }

    fn explain(&self, at: usize, error: sqlx::Error) -> Failed {
        if failure::is_conflict(&error) {
            return Failed::Conflict;
        }
        if failure::is_refusal(&error) {
            return Failed::Refused;
        }
        self.replica_reads[at].forget_idle();
        Failed::Lost(error.to_string())
    }
}

/// Whether a row says its position, as those of a replica do.
fn is_placed(row: &PgRow) -> bool {
    sqlx::Row::try_get::<Option<i64>, _>(row, 0).is_ok_and(|position| position.is_some())
}
