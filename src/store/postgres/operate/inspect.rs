//! What can be asked of a database about its fitness to serve. Facts only: judging them is the caller's.

use sqlx::{FromRow, PgConnection, postgres::PgRow};

use crate::{
    record::{Lineage, Position},
    store::{
        Error,
        postgres::{
            Config, database, describe, failure,
            feed::lead,
            read::{LIST_CONNECTIONS, WAITING_CONNECTIONS},
            session::Session,
        },
    },
};

/// The server and its settings, as this session finds them.
#[derive(Clone, Debug, FromRow)]
pub struct Server {
    /// `15.18 (Debian 15.18-0+deb12u1)`.
    pub version: String,
    /// `150018`.
    pub version_number: i32,
    /// Who asked.
    pub role: String,
    /// Whether it replays another server's log.
    pub is_standby: bool,
    /// Whether transactions are read-only unless they say otherwise.
    pub is_read_only: bool,
    /// `UTF8`.
    pub encoding: String,
    /// `on` or `off`.
    pub fsync: String,
    /// `on` or `off`.
    pub full_page_writes: String,
    /// `on`, `off`, `local`, `remote_write` or `remote_apply`.
    pub synchronous_commit: String,
    /// Roles and databases that set `synchronous_commit` to `off`.
    pub unsafe_commits: Vec<String>,
    /// `on` or `off`.
    pub autovacuum: String,
    /// `origin`, `replica` or `local`.
    pub replication_role: String,
    /// The most sessions of the server.
    pub connections_max: i32,
    /// Sessions of it that only superusers get.
    pub connections_reserved: i32,
    /// Sessions now.
    pub connections_used: i64,
    /// Those among them that nodes and commands of Freshet have.
    pub connections_own: i64,
    /// The most sessions of this database or this role, where one is set.
    pub connections_limit: Option<i32>,
    /// Which server it is, whatever name leads to it.
    pub system_identifier: i64,
    /// When it was started, which tells servers of one cluster apart.
    pub started: String,
    /// Whether the feed's tables are here, readable or not.
    pub has_feed: bool,
    /// Whether other roles' sessions can be seen into.
    pub sees_all: bool,
    /// Servers that stream from this one.
    pub standbys: i64,
    /// Those among them that commits wait for.
    pub standbys_synchronous: i64,
}

/// A transaction that is open.
#[derive(Clone, Debug, FromRow)]
pub struct Transaction {
    /// Who has it: process, role and program, or a prepared transaction's name.
    pub owner: String,
    /// What it does: a session's state.
    pub state: String,
    /// How long it has been open, in seconds.
    pub age_seconds: f64,
}

/// The change feed's tables.
#[derive(Clone, Debug, FromRow)]
pub struct Feed {
    /// Seconds since the newest mark; `None` when there is none.
    pub newest_mark_seconds: Option<f64>,
    /// Seconds since the oldest mark.
    pub oldest_mark_seconds: Option<f64>,
    /// Whether a node holds the lock of the one that writes marks.
    pub is_led: bool,
    /// Nodes that follow the feed here.
    pub followers: i64,
    /// Events in the outbox, roughly.
    pub outbox_rows: i64,
    /// The outbox with its index, in bytes.
    pub outbox_bytes: i64,
    /// Tables that are tracked.
    pub collections: i64,
    /// The shards' modulus; `None` while no shard was placed here.
    pub modulus: Option<i32>,
}

/// One row of `feed.health`.
#[derive(Clone, Debug, FromRow)]
pub struct Health {
    /// What was checked.
    pub check: String,
    /// Whether it holds.
    pub ok: bool,
    /// What was found.
    pub detail: String,
    /// What to do.
    pub hint: Option<String>,
}

/// What a standby does with statements that are in the way of the primary's changes.
#[derive(Clone, Copy, Debug, FromRow)]
pub struct Conflicts {
    /// Whether it tells the primary which rows it still reads.
    pub has_feedback: bool,
    /// How long it waits for such a statement, in milliseconds; -1 for as long as it takes.
    pub delay_ms: i64,
    /// Statements of this database that it has cancelled.
    pub cancelled: i64,
}

/// Reads how a standby treats conflicts.
///
/// # Errors
/// [`Error::Unavailable`] when the connection is lost.
pub async fn conflicts(session: &mut Session) -> Result<Conflicts, Error> {
    one(
        session,
        "SELECT current_setting('hot_standby_feedback')::boolean AS has_feedback,
                (SELECT setting::bigint FROM pg_settings WHERE name = 'max_standby_streaming_delay') AS delay_ms,
                (SELECT confl_tablespace + confl_lock + confl_snapshot + confl_bufferpin + confl_deadlock
                   FROM pg_stat_database_conflicts WHERE datname = current_database()) AS cancelled",
    )
    .await
}

/// Reads the server's settings.
///
/// # Errors
/// [`Error::Unavailable`] when the connection is lost.
pub async fn server(session: &mut Session) -> Result<Server, Error> {
    one(
        session,
        "SELECT current_setting('server_version') AS version, current_user::text AS role,
                current_setting('server_version_num')::integer AS version_number,
                pg_is_in_recovery() AS is_standby,
                current_setting('default_transaction_read_only')::boolean AS is_read_only,
                getdatabaseencoding()::text AS encoding, current_setting('fsync') AS fsync,
                current_setting('full_page_writes') AS full_page_writes,
                current_setting('synchronous_commit') AS synchronous_commit,
                current_setting('autovacuum') AS autovacuum,
                current_setting('session_replication_role') AS replication_role,
                current_setting('max_connections')::integer AS connections_max,
                current_setting('superuser_reserved_connections')::integer AS connections_reserved,
                (SELECT sum(numbackends) FROM pg_stat_database)::bigint AS connections_used,
                (SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'freshet %') AS connections_own,
                (SELECT system_identifier FROM pg_control_system()) AS system_identifier,
                extract(epoch FROM pg_postmaster_start_time())::text AS started,
                (SELECT min(l) FROM (SELECT datconnlimit FROM pg_database WHERE datname = current_database()
                              UNION SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user) x (l)
                  WHERE l >= 0) AS connections_limit,
                EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                         WHERE n.nspname = 'feed' AND c.relname = 'collection') AS has_feed,
                pg_has_role('pg_read_all_stats', 'USAGE') AS sees_all,
                (SELECT count(*) FROM pg_stat_replication) AS standbys,
                (SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')) AS standbys_synchronous,
                ARRAY(SELECT coalesce('role ' || nullif(s.setrole, 0)::regrole, 'database ' || d.datname, 'every database')
                        FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase
                       WHERE 'synchronous_commit=off' = ANY (s.setconfig)
                         AND (s.setdatabase = 0 OR d.datname = current_database()) ORDER BY 1) AS unsafe_commits",
    )
    .await
}

/// The transaction of this database that has been open longest, this one left out.
///
/// # Errors
/// [`Error::Unavailable`] when the connection is lost.
pub async fn longest_transaction(session: &mut Session) -> Result<Option<Transaction>, Error> {
    let query = sqlx::query_as(
        "SELECT format('process %s of %s%s', pid, usename, ', ' || nullif(application_name, '')) AS owner,
                coalesce(state, 'unknown') AS state,
                extract(epoch FROM clock_timestamp() - xact_start)::float8 AS age_seconds
           FROM pg_stat_activity
          WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
            AND backend_type = 'client backend'
         UNION ALL
         SELECT format('%L of %s', gid, owner), 'prepared', extract(epoch FROM clock_timestamp() - prepared)::float8
           FROM pg_prepared_xacts WHERE database = current_database()
          ORDER BY 3 DESC LIMIT 1",
    );
    query.fetch_optional(&mut session.connection).await.map_err(failure::error)
}

/// Reads how far the feed is and how large. The database must be migrated.
///
/// # Errors
/// [`Error::Unavailable`] when the connection is lost; [`Error::Broken`] when the feed's tables may not be read.
pub async fn feed(session: &mut Session) -> Result<Feed, Error> {
    let query = sqlx::query_as(
        "SELECT (SELECT extract(epoch FROM clock_timestamp() - at)::float8 FROM feed.mark ORDER BY n DESC LIMIT 1) AS newest_mark_seconds,
                (SELECT extract(epoch FROM clock_timestamp() - at)::float8 FROM feed.mark ORDER BY n LIMIT 1) AS oldest_mark_seconds,
                EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
                         WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND d.datname = current_database()
                           AND (l.classid::bigint << 32 | l.objid::bigint) = $1) AS is_led,
                (SELECT count(*) FROM pg_stat_activity
                  WHERE application_name = 'freshet tail' AND datname = current_database()) AS followers,
                greatest(pg_stat_get_live_tuples('feed.outbox'::regclass), 0) AS outbox_rows,
                pg_total_relation_size('feed.outbox') AS outbox_bytes,
                (SELECT count(*) FROM feed.collection) AS collections,
                (SELECT modulus FROM feed.meta) AS modulus",
    );
    query.bind(lead::LOCK).fetch_one(&mut session.connection).await.map_err(failure::error)
}

/// What a database is told apart by, and its newest mark, which is the first where it has none yet.
///
/// # Errors
/// As [`feed`].
pub async fn position(session: &mut Session) -> Result<(Lineage, Position), Error> {
    let identity = sqlx::query_as(database::IDENTITY).fetch_one(&mut session.connection).await;
    let (system_identifier, oid, feed) = identity.map_err(failure::error)?;
    let newest = sqlx::query_scalar("SELECT coalesce((SELECT n FROM feed.mark ORDER BY n DESC LIMIT 1), 0)");
    let newest: i64 = newest.fetch_one(&mut session.connection).await.map_err(failure::error)?;
    let tables = describe::tables(&mut session.connection).await?;
    Ok((database::lineage((system_identifier, oid), feed, &tables), Position(newest.unsigned_abs())))
}

/// Asks `feed.health`; `deep` reads every tracked row.
///
/// # Errors
/// As [`feed`].
pub async fn health(session: &mut Session, deep: bool) -> Result<Vec<Health>, Error> {
    let query = sqlx::query_as("SELECT * FROM feed.health($1)").bind(deep);
    query.fetch_all(&mut session.connection).await.map_err(failure::error)
}

/// Sessions that one node opens at most on the primary: its pools, lists, the relay, the tail, a backlog, readiness probes, a scan,
/// and a closer look at refused writes.
pub fn primary_connections(config: &Config) -> u32 {
    config.read_connections + WAITING_CONNECTIONS + LIST_CONNECTIONS + config.write_lanes + config.write_connections + 6
}

/// Sessions that one node opens at most on each replica: those of reads and lists, and the look at how far it is behind.
pub fn replica_connections(config: &Config) -> u32 {
    config.read_connections + WAITING_CONNECTIONS + LIST_CONNECTIONS + 1
}

async fn one<T>(session: &mut Session, sql: &'static str) -> Result<T, Error>
where
    T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    let connection: &mut PgConnection = &mut session.connection;
    sqlx::query_as(sql).fetch_one(connection).await.map_err(failure::error)
}
