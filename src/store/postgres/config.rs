//! One `[[database]]` of the configuration: where it is, what it has in the beginning, how much is asked of it.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnectOptions;

use crate::store::{
    Error,
    postgres::{session, shard_range::ShardRange},
};

/// How to reach a database and how much to ask of it. Debugging shows no password; serializing does.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What it is called in logs, metrics and probes: each database has a name of its own.
    #[serde(default = "Config::name_default")]
    pub name: String,
    /// `postgres://user:password@host:port/database` of the primary. With replicas it may be any of the servers: a node finds
    /// out which one is the primary.
    pub url: String,
    /// URLs of the database's streaming replicas, in any order; they answer reads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<String>,
    /// A replica that is further behind answers no reads.
    #[serde(default = "Config::replica_lag_max_default", with = "humantime_serde")]
    pub replica_lag_max: Duration,
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
            replicas: Vec::new(),
            replica_lag_max: Self::replica_lag_max_default(),
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

    const fn replica_lag_max_default() -> Duration {
        Duration::from_secs(5)
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

    /// The URLs of all servers, as configured.
    pub fn urls(&self) -> impl Iterator<Item = &str> {
        [&self.url].into_iter().chain(&self.replicas).map(String::as_str)
    }

    /// Whether `url` is that of one of its servers.
    pub fn has(&self, url: &str) -> bool {
        self.urls().any(|own| own == url)
    }

    /// Connection options for one of the servers, with every setting pinned on which a value's text depends.
    ///
    /// # Errors
    /// [`Error::Broken`] when `url` is none.
    pub(super) fn options(&self, url: &str) -> Result<PgConnectOptions, Error> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|error| Error::broken(format!("read the database url: {error}")))?;
        Ok(options.statement_cache_capacity(1_000).extra_float_digits(1).options([
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
            .field("replicas", &self.replicas.iter().map(|url| session::without_password(url)).collect::<Vec<_>>())
            .field("replica_lag_max", &self.replica_lag_max)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debugging_a_config_shows_no_password() {
        let mut config = Config::at("postgres://u:secret@h/d?password=secret");
        config.replicas = vec!["postgres://u:secret@r/d?password=secret".to_owned()];
        let shown = format!("{config:?}");
        assert!(shown.contains("u:***@h") && shown.contains("u:***@r") && !shown.contains("secret"), "{shown}");
    }
}
