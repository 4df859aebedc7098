//! Which history a server has: versions mean something only within one.
//!
//! A restored or promoted server may lack commits that were published, and uses their versions a second time. The
//! server's identity, its system identifier and timeline, is recorded beside the generation; when it has changed, the
//! leader raises the generation of every shard before it marks anything, and until then nobody uses the server.
//!
//! # Source
//! docs/coherence.md, section 3 (promotion, restore) and R7.

use sqlx::{Connection as _, PgConnection};

use crate::store::Error;

use super::{failure, replication::History};

/// How far versions, marks and terms jump: beyond whatever the lost history can have used. A mark whose number was given twice
/// would let a replica of the lost history pass for one of this.
const VERSION_JUMP: i64 = 1 << 32;
const MARK_JUMP: i64 = 1 << 32;
const TERM_JUMP: i64 = 1_000;
/// Two histories that begin at the same mark must not give the same numbers, either: marks go on from the clock, which has room
/// for a million of them a second.
const MARKS_A_SECOND_LOG2: i32 = 20;

/// Seconds of the clock where those are more than the next number: of two restores of one backup each starts a generation of its own.
const NEXT_GENERATION: &str =
    "UPDATE feed.shard_state SET gen = greatest(gen + 1, extract(epoch FROM clock_timestamp())::bigint)";

/// The timeline is read from the name of the WAL file being written: the control file shows a promotion only at the
/// next checkpoint. A standby writes none; of the timeline that it follows, its checkpoint may be older than the log that it
/// receives, and a stranger may see nothing of the latter.
pub(super) const ACTUAL: &str = "(SELECT system_identifier FROM pg_control_system()) AS system_identifier, \
                      CASE WHEN NOT pg_is_in_recovery() \
                      THEN ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END AS timeline, \
                      pg_is_in_recovery() AS standby, \
                      CASE WHEN pg_is_in_recovery() \
                      THEN greatest((SELECT timeline_id FROM pg_control_checkpoint()), \
                                    (SELECT received_tli FROM pg_stat_wal_receiver)) END AS follows";

/// Checks that a server may be used as the primary: it is one, and its identity is the recorded one, or none is recorded yet.
/// Returns the history that it writes; `None` where nothing was migrated yet.
///
/// # Errors
/// [`Error::Unavailable`] says which of the two it is not.
pub(super) async fn check(connection: &mut PgConnection) -> Result<Option<History>, Error> {
    let query = format!(
        "SELECT i.system_identifier, i.timeline, \
                coalesce((m.system_identifier, m.timeline) = (i.system_identifier, i.timeline), true) \
         FROM feed.meta m, (SELECT {ACTUAL}) i"
    );
    let checked = sqlx::query_as::<_, (i64, Option<i32>, bool)>(sqlx::AssertSqlSafe(query)).fetch_one(connection).await;
    let reason = match checked {
        // Not migrated yet: whoever describes the tables says so better.
        Err(error) if failure::is_stale_schema(&error) => return Ok(None),
        Err(error) if failure::is_forbidden(&error) => return Err(failure::error(error)),
        Err(error) => return Err(failure::connecting(error)),
        Ok((_, None, _)) => "the server is a standby, not the primary",
        Ok((_, _, false)) => "the server was promoted or restored, and its new generation is not recorded yet",
        Ok((system_identifier, Some(timeline), true)) => return Ok(Some(History { system_identifier, timeline })),
    };
    Err(Error::Unavailable { reason: reason.into() })
}

/// Checks that a server is a replica.
///
/// # Errors
/// [`Error::Unavailable`] when it is none.
pub(super) async fn check_replica(connection: &mut PgConnection) -> Result<(), Error> {
    let checked = sqlx::query_scalar("SELECT pg_is_in_recovery()").fetch_one(connection).await;
    match checked.map_err(failure::connecting)? {
        true => Ok(()),
        false => Err(Error::Unavailable { reason: "the server is no replica".into() }),
    }
}

/// Records the server's identity; where another was recorded, starts a new generation of every shard. Returns
/// whether it did. Only the leader calls this.
///
/// The tables are locked against writers first, so that nobody who read the old generation commits after.
pub(super) async fn record(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let known = format!(
        "SELECT m.system_identifier IS NULL, coalesce((m.system_identifier, m.timeline) = (i.system_identifier, i.timeline), false) \
         FROM feed.meta m, (SELECT {ACTUAL}) i"
    );
    let (first, same): (bool, bool) = sqlx::query_as(sqlx::AssertSqlSafe(known)).fetch_one(&mut *transaction).await?;
    if same {
        return Ok(false);
    }
    if !first {
        let tables: Vec<String> =
            sqlx::query_scalar("SELECT format('%I.%I', schema_name, table_name) FROM feed.shard_table ORDER BY 1")
                .fetch_all(&mut *transaction)
                .await?;
        if !tables.is_empty() {
            let lock = format!("LOCK TABLE {} IN EXCLUSIVE MODE", tables.join(", "));
            sqlx::raw_sql(sqlx::AssertSqlSafe(lock)).execute(&mut *transaction).await?;
        }
        sqlx::raw_sql(NEXT_GENERATION).execute(&mut *transaction).await?;
        sqlx::query("SELECT setval('feed.vseq', nextval('feed.vseq') + $1)")
            .bind(VERSION_JUMP)
            .execute(&mut *transaction)
            .await?;
        // Of another history: its transaction ids would make fresh changes look old. Positions go on rising.
        let forget = "WITH newest AS (SELECT coalesce(max(n), 0) AS n, coalesce(max(term), 0) AS term FROM feed.mark), \
                      gone AS (DELETE FROM feed.mark), spent AS (DELETE FROM feed.outbox), buried AS (DELETE FROM feed.tomb) \
                      INSERT INTO feed.mark (n, term, snap) SELECT greatest(n + $1, extract(epoch FROM clock_timestamp())::bigint << $2), term, \
                      pg_current_snapshot() FROM newest";
        sqlx::query(forget).bind(MARK_JUMP).bind(MARKS_A_SECOND_LOG2).execute(&mut *transaction).await?;
        sqlx::query("UPDATE feed.leader SET term = term + $1").bind(TERM_JUMP).execute(&mut *transaction).await?;
    }
    let record = format!(
        "UPDATE feed.meta SET system_identifier = i.system_identifier, timeline = i.timeline FROM (SELECT {ACTUAL}) i"
    );
    sqlx::query(sqlx::AssertSqlSafe(record)).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(!first)
}
