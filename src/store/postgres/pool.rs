//! Connections to one primary: how they are set up, lent and given up.

use std::{
    collections::HashSet,
    fmt,
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    resilience::Deadline,
    store::{
        Error,
        postgres::{breaker::Breaker, failure, identity, session, shard_range::ShardRange},
    },
};

/// How to reach a database and how much to ask of it. Debugging shows no password; serializing does.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What it is called in logs, metrics and probes: each database has a name of its own.
    #[serde(default = "Config::name_default")]
    pub name: String,
    /// `postgres://user:password@host:port/database` of the primary.
    pub url: String,
    /// The shards that `freshet migrate` places here when the database is first set up; all of them where it is the only one.
    /// From then on its own tables say which are here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shards: Option<ShardRange>,
    /// Connections that reads share. One collection alone uses two thirds of them at most.
    #[serde(default = "Config::read_connections_default")]
    pub read_connections: u32,
    /// Groups of writes that commit side by side, each on a connection of its own.
    #[serde(default = "Config::write_lanes_default")]
    pub write_lanes: u32,
    /// Connections for writes that wait for a row that another transaction holds.
    #[serde(default = "Config::write_connections_default")]
    pub write_connections: u32,
    /// The longest a connection attempt or the wait for a free connection may take.
    #[serde(default = "Config::connect_limit_default", with = "humantime_serde")]
    pub connect_limit: Duration,
    /// The longest one statement may run in the server.
    #[serde(default = "Config::statement_limit_default", with = "humantime_serde")]
    pub statement_limit: Duration,
    /// How long marks, outbox rows and tombstones are kept.
    #[serde(default = "Config::retention_default", with = "humantime_serde")]
    pub retention: Duration,
    /// How long an idempotency key is remembered.
    #[serde(default = "Config::idempotency_retention_default", with = "humantime_serde")]
    pub idempotency_retention: Duration,
}

impl Config {
    /// The defaults, at `url`.
    pub fn at(url: impl Into<String>) -> Self {
        Config {
            name: Self::name_default(),
            url: url.into(),
            shards: None,
            read_connections: Self::read_connections_default(),
            write_lanes: Self::write_lanes_default(),
            write_connections: Self::write_connections_default(),
            connect_limit: Self::connect_limit_default(),
            statement_limit: Self::statement_limit_default(),
            retention: Self::retention_default(),
            idempotency_retention: Self::idempotency_retention_default(),
        }
    }

    fn name_default() -> String {
        "main".to_owned()
    }

    const fn read_connections_default() -> u32 {
        9
    }

    const fn write_lanes_default() -> u32 {
        4
    }

    const fn write_connections_default() -> u32 {
        4
    }

    const fn connect_limit_default() -> Duration {
        Duration::from_secs(3)
    }

    const fn statement_limit_default() -> Duration {
        Duration::from_secs(10)
    }

    const fn retention_default() -> Duration {
        Duration::from_secs(15 * 60)
    }

    const fn idempotency_retention_default() -> Duration {
        Duration::from_secs(24 * 60 * 60)
    }

    /// Connection options with every setting pinned on which a value's text depends.
    ///
    /// # Errors
    /// [`Error::Broken`] when the URL is none.
    pub fn options(&self, purpose: &str) -> Result<PgConnectOptions, Error> {
        let options = PgConnectOptions::from_str(&self.url)
            .map_err(|error| Error::broken(format!("read the database url: {error}")))?;
        Ok(options
            .application_name(&format!("freshet {purpose}"))
            .statement_cache_capacity(1_000)
            .extra_float_digits(1)
            .options([
                ("TimeZone", "UTC".to_owned()),
                ("DateStyle", "ISO".to_owned()),
                ("IntervalStyle", "postgres".to_owned()),
                ("bytea_output", "hex".to_owned()),
                ("default_transaction_isolation", "read committed".to_owned()),
                ("plan_cache_mode", "force_generic_plan".to_owned()),
                // A plan made while a table was empty is kept, and would go on reading the whole of it for each key.
                ("enable_seqscan", "off".to_owned()),
                // Starting worker processes takes longer than any of these statements: 12 ms for a poll of the feed.
                ("max_parallel_workers_per_gather", "0".to_owned()),
                // Compiling a point read takes a hundred times as long as running it.
                ("jit", "off".to_owned()),
                ("statement_timeout", self.statement_limit.as_millis().to_string()),
                ("idle_in_transaction_session_timeout", "30000".to_owned()),
                ("tcp_keepalives_idle", "2".to_owned()),
                ("tcp_keepalives_interval", "1".to_owned()),
                ("tcp_keepalives_count", "3".to_owned()),
            ]))
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("name", &self.name)
            .field("url", &session::without_password(&self.url))
            .field("shards", &self.shards)
            .field("read_connections", &self.read_connections)
            .field("write_lanes", &self.write_lanes)
            .field("write_connections", &self.write_connections)
            .field("connect_limit", &self.connect_limit)
            .field("statement_limit", &self.statement_limit)
            .field("retention", &self.retention)
            .field("idempotency_retention", &self.idempotency_retention)
            .finish()
    }
}

/// A connection with the names of the statements that were prepared on it by name.
pub struct Pooled {
    /// The connection.
    pub connection: PgConnection,
    /// The names.
    pub prepared: HashSet<String>,
}

/// Connections of one purpose, opened when they are needed and kept.
///
/// sqlx's own pool (0.9) tests each connection with a round trip when it comes back, whatever `test_before_acquire` says;
/// here a connection comes back only after a step that ended well, and is closed otherwise, so none is spent. Misses over
/// the one pool and the other, in turns of half a second in one process on two busy cores, 100,000 products in 64 shards:
/// sqlx's made 0.28 of the rate with one read in flight (quartiles 0.24 to 0.33), 0.76 with 16 (0.63 to 0.88), 0.82 with 256
/// (0.77 to 0.86), and with 4,096 no difference beyond the noise (0.75 to 1.15). With a busy shard keeping its connection for
/// 16 statements it was 0.34, 0.76, 1.10 and 1.00. What waiting writes would lose was not measured.
pub struct Pool {
    options: PgConnectOptions,
    connect_limit: Duration,
    breaker: Arc<Breaker>,
    permits_total: u32,
    permits: Semaphore,
    /// With the moment each last answered.
    idle: Mutex<Vec<(Instant, Pooled)>>,
}

impl Pool {
    /// A pool of at most `connections`; a caller beyond them waits. Each connection that comes back shows that the database
    /// answers, and `breaker` is told.
    pub(super) fn new(config: &Config, options: PgConnectOptions, connections: u32, breaker: &Arc<Breaker>) -> Self {
        Pool {
            options,
            connect_limit: config.connect_limit,
            breaker: breaker.clone(),
            permits_total: connections.max(1),
            permits: Semaphore::new(connections.max(1) as usize),
            idle: Mutex::new(Vec::new()),
        }
    }

    /// Borrows a connection, opening one if none is idle.
    ///
    /// # Errors
    /// [`Error::Deadline`] when time ran out while all were lent or one was being opened, [`Error::Unavailable`] when
    /// the server cannot be reached.
    pub async fn acquire(&self, deadline: Deadline) -> Result<PooledConnection<'_>, Error> {
        let permit = deadline.limit(self.permits.acquire()).await.map_err(|_| Error::Deadline)?;
        let permit = permit.map_err(|_| Error::shutting_down())?;
        let idle = self.idle.lock().pop();
        let pooled = match idle {
            Some((_, pooled)) => pooled,
            // A server that was given less than its limit to answer has not shown that it is away.
            None => {
                self.connect(deadline).await.map_err(|error| if deadline.passed() { Error::Deadline } else { error })?
            }
        };
        Ok(PooledConnection { pooled, pool: self, _permit: permit })
    }

    async fn connect(&self, deadline: Deadline) -> Result<Pooled, Error> {
        let connection = connect(&self.options, deadline.at_most(self.connect_limit)).await?;
        Ok(Pooled { connection, prepared: HashSet::new() })
    }

    /// Closes the connections nobody uses: after one was found dead, the others are likely to be.
    pub fn forget_idle(&self) {
        self.idle.lock().clear();
    }

    /// Closes those of them that have not answered since `begun`: after one fell silent, they are likely to have.
    pub fn forget_silent(&self, begun: Instant) {
        self.idle.lock().retain(|(answered, _)| *answered > begun);
    }

    /// Waits for the connections that are lent, up to `deadline`, and closes all; nothing is lent any more.
    pub async fn close(&self, deadline: Deadline) {
        let all = self.permits_total;
        // Held until the pool is closed: a permit given back in between would be lent again.
        let all = deadline.limit(self.permits.acquire_many(all)).await;
        self.permits.close();
        drop(all);
        let idle = std::mem::take(&mut *self.idle.lock());
        for (_, pooled) in idle {
            drop(deadline.limit(pooled.connection.close()).await);
        }
    }
}

/// A borrowed connection. Unless it is given back, it is closed: nobody knows what a statement that was dropped
/// halfway, or one that timed out on a dead link, has left behind.
pub struct PooledConnection<'p> {
    pooled: Pooled,
    pool: &'p Pool,
    _permit: SemaphorePermit<'p>,
}

impl PooledConnection<'_> {
    /// The connection.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.pooled.connection
    }

    /// The connection, with what is prepared on it.
    pub fn pooled(&mut self) -> &mut Pooled {
        &mut self.pooled
    }

    /// Returns the connection for others to use.
    pub fn release(self) {
        self.pool.breaker.answered();
        if !self.pool.permits.is_closed() {
            self.pool.idle.lock().push((Instant::now(), self.pooled));
        }
    }
}

/// Opens a connection to a primary whose history is the recorded one.
///
/// # Errors
/// [`Error::Unavailable`], also when it is not that primary.
pub async fn connect(options: &PgConnectOptions, deadline: Deadline) -> Result<PgConnection, Error> {
    let opened = async {
        let mut connection = PgConnection::connect_with(options).await.map_err(failure::connecting)?;
        identity::check(&mut connection).await?;
        Ok(connection)
    };
    let silent = || Error::Unavailable { reason: "the database did not answer a connection attempt".into() };
    deadline.limit(opened).await.map_err(|_| silent())?
}

/// Runs one step on a connection within `deadline`.
///
/// # Errors
/// [`Error::Deadline`], or what the database answered.
pub async fn step<T>(deadline: Deadline, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, Error> {
    deadline.limit(work).await.map_err(|_| Error::Deadline)?.map_err(failure::error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debugging_a_config_shows_no_password() {
        let shown = format!("{:?}", Config::at("postgres://u:secret@h/d?password=secret"));
        assert!(shown.contains("u:***@h") && !shown.contains("secret"), "{shown}");
    }
}
