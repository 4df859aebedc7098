//! One private PostgreSQL, and what it counts.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use freshet::store::postgres::{
    migrate,
    server::{Options, PrivateServer},
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tempfile::TempDir;
use tokio::time::sleep;

/// Rows that are read: K00000 and so on, as `freshet bench` names them.
pub const ROWS: u32 = 21_000;
/// Rows that only [`Database::probes`] and figures about cold keys use.
const OTHERS: u32 = 2_000;
/// Logical shards: the default.
pub const SHARDS: u32 = 64;
/// A session tells what it has counted once a second, and one that falls idle 10 s after its last statement at the latest.
///
/// # Source
/// PostgreSQL, `pgstat.c`: `PGSTAT_MIN_INTERVAL` and `PGSTAT_IDLE_INTERVAL`.
const TOLD: Duration = Duration::from_secs(11);
const NAME: &str = "freshet";

/// The server with one database of tracked products.
pub struct Database {
    server: PrivateServer,
    folder: TempDir,
}

impl Database {
    /// Starts the server with its own defaults, so with `fsync` on, and fills it.
    pub async fn start() -> Result<Self, String> {
        let folder = tempfile::Builder::new().prefix("freshet-nodes-").tempdir().map_err(text)?;
        // The account that the server runs as must be able to pass.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).map_err(text)?;
        let mut options = Options::new(folder.path().join("data"));
        options.settings = vec![("max_connections".to_owned(), "300".to_owned())];
        let server = PrivateServer::start(options).await.map_err(text)?;
        migrate::create_database(&server.url("postgres"), NAME).await.map_err(text)?;
        migrate::migrate_only(&server.url(NAME), SHARDS, migrate::Source::Demo).await.map_err(text)?;
        let database = Database { server, folder };
        for (letter, rows) in [("K", ROWS), ("P", OTHERS), ("C", OTHERS)] {
            database.run(&insert(letter, rows)).await?;
        }
        database.run("VACUUM ANALYZE").await?;
        Ok(database)
    }

    /// The configuration of a node over it.
    pub fn configuration(&self) -> String {
        format!("shards = {SHARDS}\n[[database]]\nurl = \"{}\"\n", self.url())
    }

    /// Its URL.
    pub fn url(&self) -> String {
        self.server.url(NAME)
    }

    /// The server's first process.
    pub fn pid(&self) -> u32 {
        let lines = fs::read_to_string(self.folder.path().join("data/postmaster.pid")).unwrap_or_default();
        lines.lines().next().and_then(|line| line.parse().ok()).unwrap_or_default()
    }

    /// A session.
    pub async fn session(&self) -> Result<PgConnection, String> {
        PgConnection::connect(&self.url()).await.map_err(text)
    }

    /// Runs statements without parameters.
    pub async fn run(&self, sql: &str) -> Result<(), String> {
        let mut session = self.session().await?;
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut session).await.map_err(text)?;
        session.close().await.map_err(text)
    }

    /// The one number that `sql` returns.
    pub async fn number(&self, sql: &str) -> Result<u64, String> {
        let mut session = self.session().await?;
        let number: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut session).await.map_err(text)?;
        session.close().await.map_err(text)?;
        Ok(number.unsigned_abs())
    }

    /// What `SHOW server_version` says.
    pub async fn version(&self) -> Result<String, String> {
        let mut session = self.session().await?;
        sqlx::query_scalar("SHOW server_version").fetch_one(&mut session).await.map_err(text)
    }

    /// Keys that no figure is about, in an order that no two calls share.
    pub fn probes(&self) -> impl Iterator<Item = String> {
        let mut numbers: Vec<u32> = (0..OTHERS).collect();
        let first = rand::random_range(0..numbers.len());
        numbers.rotate_left(first);
        numbers.into_iter().map(|n| format!("P{n:05}"))
    }

    /// The other keys with their partitions: each partition comes once, with its `nth` key.
    pub async fn cold_keys(&self, nth: usize) -> Result<Vec<(String, String)>, String> {
        let mut session = self.session().await?;
        let keys = "SELECT sku, partition FROM (
                        SELECT sku, tableoid::regclass::text AS partition,
                               row_number() OVER (PARTITION BY tableoid ORDER BY sku) AS nth
                          FROM products WHERE sku LIKE 'C_____') k WHERE nth = $1 ORDER BY sku";
        let keys = sqlx::query_as(keys).bind(nth as i64 + 1).fetch_all(&mut session).await.map_err(text)?;
        session.close().await.map_err(text)?;
        Ok(keys)
    }

    /// Looks into the products' primary keys so far, by PostgreSQL's counters: all of them, or those of a partition. Waits until
    /// all sessions have told theirs.
    pub async fn index_scans(&self, partition: Option<&str>) -> Result<u64, String> {
        let which = partition.map_or_else(|| "LIKE 'products%'".to_owned(), |name| format!("= '{name}'"));
        let sum = "SELECT coalesce(sum(idx_scan), 0)::bigint FROM pg_stat_user_indexes WHERE relname";
        self.number(&format!("{sum} {which}")).await
    }

    /// Waits until all sessions have told what they counted.
    pub async fn told(&self) {
        sleep(TOLD).await;
    }

    /// Ends it.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

/// Products of about 600 bytes in JSON.
fn insert(letter: &str, rows: u32) -> String {
    format!(
        "INSERT INTO products (sku, name, price, stock)
         SELECT '{letter}' || lpad(n::text, 5, '0'), repeat('x', 420), 100, 1000000 FROM generate_series(0, {}) n",
        rows - 1
    )
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
