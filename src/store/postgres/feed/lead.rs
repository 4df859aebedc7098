//! Leadership of one database: the one session that writes marks and deletes what is past its retention.

use std::{sync::Arc, time::Duration};

use sqlx::{Connection as _, PgConnection};

use crate::{
    resilience::Deadline,
    store::{
        Error,
        postgres::{
            Shared, failure, identity, pool,
            replication::{Connected, Connector, Servers, To},
        },
    },
};

/// The advisory lock's key: "freshet" in ASCII, so that it is told from other programs' locks.
pub(in crate::store::postgres) const LOCK: i64 = 0x0066_7265_7368_6574;
/// The longest any of the leader's statements may take.
const LIMIT: Duration = Duration::from_secs(10);
/// After so many seconds without a mark the holder of the lock is taken for stopped.
const SILENCE_S: f64 = 3.0;
/// Ends the session that holds the lock, if no mark came for a while.
const END_SILENT_HOLDER: &str = "
    SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
      JOIN pg_stat_activity a ON a.pid = l.pid AND a.backend_start < clock_timestamp() - make_interval(secs => $3)
     WHERE d.datname = current_database() AND l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
       AND l.classid = $1::bigint::oid AND l.objid = $2::bigint::oid
       AND NOT EXISTS (SELECT FROM feed.mark WHERE at > clock_timestamp() - make_interval(secs => $3))";
/// Rows deleted in one statement.
const PRUNE_ROWS_MAX: i64 = 10_000;

/// A session that holds the lock, and its term.
pub struct Lead {
    shared: Arc<Shared>,
    connection: PgConnection,
    /// The primary's when it was opened.
    primary_term: u64,
    term: i64,
    /// The server process that holds the lock. Behind a pooler that lends sessions by the transaction it would change.
    backend: i32,
}

impl Shared {
    /// Takes the lock if it is free, and a term above every earlier one.
    ///
    /// # Source
    /// docs/coherence.md, section 3.
    pub(in crate::store::postgres) async fn lead(self: &Arc<Self>) -> Result<Option<Lead>, Error> {
        let deadline = Deadline::after(LIMIT);
        let limit = deadline.at_most(self.config.connect_limit);
        let Connected { mut connection, term: primary_term } = connect(&self.servers, limit).await?;
        if !try_lock(&mut connection, deadline).await? {
            // A holder that no longer marks is stopped or cut off: its session is ended, and the lock asked for again.
            let ended = sqlx::query(END_SILENT_HOLDER).bind(LOCK >> 32).bind(LOCK & 0xffff_ffff).bind(SILENCE_S);
            let ended = pool::step(deadline, ended.execute(&mut connection)).await?;
            if ended.rows_affected() == 0 || !try_lock(&mut connection, deadline).await? {
                return Ok(None);
            }
        }
        if pool::step(deadline, identity::record(&mut connection)).await? {
            tracing::warn!("the server was promoted or restored: every shard starts a new generation");
        }
        // A crash must not take a mark whose changes a cache has applied: its number would be given again, with another snapshot.
        let local = sqlx::query(
            "SELECT set_config('synchronous_commit', 'local', false) WHERE current_setting('synchronous_commit') = 'off'",
        );
        pool::step(deadline, local.execute(&mut connection)).await?;
        let term = sqlx::query_scalar(
            "UPDATE feed.leader SET term = greatest(term, (SELECT coalesce(max(term), 0) FROM feed.mark)) + 1 RETURNING term",
        );
        let term = pool::step(deadline, term.fetch_one(&mut connection)).await?;
        let backend = sqlx::query_scalar("SELECT pg_backend_pid()");
        let backend = pool::step(deadline, backend.fetch_one(&mut connection)).await?;
        Ok(Some(Lead { shared: self.clone(), connection, primary_term, term, backend }))
    }
}

/// Records the server's identity before the first node of a set-up serves from it. Where another node leads, it has
/// done so, or will.
pub(in crate::store::postgres) async fn settle_identity(
    servers: &Arc<Servers>,
    connect_limit: Deadline,
    deadline: Deadline,
) -> Result<(), Error> {
    let Connected { mut connection, .. } = connect(servers, connect_limit).await?;
    if try_lock(&mut connection, deadline).await? {
        match deadline.limit(identity::record(&mut connection)).await.map_err(|_| Error::Deadline)? {
            // Not migrated yet: whoever describes the tables says so better.
            Err(error) if failure::is_stale_schema(&error) => {}
            recorded => drop(recorded.map_err(failure::error)?),
        }
    }
    // Ends the session, and with it the lock.
    drop(connection.close().await);
    Ok(())
}

/// Connects without asking for the recorded identity: this is who records it.
async fn connect(servers: &Arc<Servers>, deadline: Deadline) -> Result<Connected, Error> {
    Connector::new(servers, To::Primary, "relay").connect_anyway(deadline).await
}

async fn try_lock(connection: &mut PgConnection, deadline: Deadline) -> Result<bool, Error> {
    // A standby has no lead to give; its locks are its own.
    let lock = sqlx::query_scalar("SELECT NOT pg_is_in_recovery() AND pg_try_advisory_lock($1)").bind(LOCK);
    pool::step(deadline, lock.fetch_one(connection)).await
}

impl Lead {
    pub(in crate::store) async fn mark(&mut self) -> Result<(), Error> {
        if !self.shared.servers.is_current(self.primary_term) {
            return Err(Error::primary_changed());
        }
        // Only under the leader's own term: a node that lost the lock unnoticed inserts nothing.
        let insert = sqlx::query(
            "INSERT INTO feed.mark (n, term, snap)
             SELECT coalesce((SELECT m.n FROM feed.mark m ORDER BY m.n DESC LIMIT 1), 0) + 1, l.term, pg_current_snapshot()
               FROM (SELECT term FROM feed.leader WHERE term = $1 FOR SHARE) l
              WHERE pg_backend_pid() = $2",
        );
        let inserted =
            pool::step(Deadline::after(LIMIT), insert.bind(self.term).bind(self.backend).execute(&mut self.connection))
                .await?;
        if inserted.rows_affected() == 0 {
            return Err(Error::broken("mark the feed: another node leads, or a pooler lends this session to others"));
        }
        Ok(())
    }

    /// Deletes a batch of each table's old end; true when there is more to delete.
    ///
    /// A tombstone is judged by the transaction that wrote it, not by its version: a delete may commit long after it took its
    /// version, while an insert waits for it. It is deleted only when the newest mark past the retention could see it.
    pub(in crate::store) async fn prune(&mut self) -> Result<bool, Error> {
        let retention = self.shared.config.retention.as_secs_f64();
        // The newest mark past the retention is the horizon: whatever it saw is old enough.
        let horizon: Option<(i64, String)> = pool::step(
            Deadline::after(LIMIT),
            sqlx::query_as(
                "SELECT n, pg_snapshot_xmin(snap)::text FROM feed.mark
                  WHERE at < clock_timestamp() - make_interval(secs => $1) ORDER BY n DESC LIMIT 1",
            )
            .bind(retention)
            .fetch_optional(&mut self.connection),
        )
        .await?;
        let mut more = false;
        if let Some((mark, xmin)) = horizon {
            // The marks first: a node that still finds its mark believes that the outbox after it is whole.
            self.prune_marks(mark).await?;
            more |= self.prune_table("feed.outbox", "xid", &xmin).await?;
            more |= self.prune_table("feed.tomb", "xid", &xmin).await?;
        }
        more |= self.prune_tokens().await?;
        Ok(more)
    }

    async fn prune_table(&mut self, table: &'static str, column: &'static str, xmin: &str) -> Result<bool, Error> {
        let delete = format!(
            "DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE {column} < $1::xid8 \
             ORDER BY {column} LIMIT $2))"
        );
        let query = sqlx::query(sqlx::AssertSqlSafe(delete)).bind(xmin).bind(PRUNE_ROWS_MAX);
        let deleted = pool::step(Deadline::after(LIMIT), query.execute(&mut self.connection)).await?;
        Ok(deleted.rows_affected() >= PRUNE_ROWS_MAX.unsigned_abs())
    }

    async fn prune_marks(&mut self, mark: i64) -> Result<(), Error> {
        let query = sqlx::query("DELETE FROM feed.mark WHERE n < $1 AND n >= $1 - $2::bigint * 100");
        let query = query.bind(mark).bind(PRUNE_ROWS_MAX);
        pool::step(Deadline::after(LIMIT), query.execute(&mut self.connection)).await.map(drop)
    }

    async fn prune_tokens(&mut self) -> Result<bool, Error> {
        let query = sqlx::query(
            "DELETE FROM feed.idempotency WHERE ctid = ANY(ARRAY(SELECT ctid FROM feed.idempotency
              WHERE at < now() - make_interval(secs => $1) ORDER BY at LIMIT $2))",
        );
        let query = query.bind(self.shared.config.idempotency_retention.as_secs_f64()).bind(PRUNE_ROWS_MAX);
        let deleted = pool::step(Deadline::after(LIMIT), query.execute(&mut self.connection)).await?;
        Ok(deleted.rows_affected() >= PRUNE_ROWS_MAX.unsigned_abs())
    }
}
