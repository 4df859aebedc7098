//! One private PostgreSQL for everything that is durable: Freshet's database, the naive build's and pgbench's.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command};

use freshet::{
    cli::demo::catalogue,
    store::postgres::{
        migrate::{self, Placement},
        server::{Options, PrivateServer, find_binaries},
    },
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{client, naive, pace::Pace};

/// Rows of the table that misses and writes go to.
pub const ROWS: u32 = 100_000;
/// Connections of pgbench where it is the yardstick.
const CLIENTS: u32 = 16;
/// Logical shards. One, as for a database that will not be split: both sides have one table of each kind.
pub const SHARDS: u32 = 1;

/// The orders, a plain table as Freshet tracks it; the naive build's is the same without version and triggers.
const ORDERS: &str = "
    CREATE TABLE orders (
        id       text PRIMARY KEY,
        customer text NOT NULL,
        sku      text NOT NULL,
        quantity integer NOT NULL,
        total    bigint NOT NULL,
        status   text NOT NULL DEFAULT 'new',
        payment  bigint
    );
    SELECT freshet.track('orders');
";

/// As many idempotency keys as [`naive::EARLIER_PAYMENTS`] makes.
const EARLIER_PAYMENTS: &str = "
    INSERT INTO feed.idempotency (collection, key, token, fingerprint, gen, version)
    SELECT 'orders', id, 'earlier', '', 1, freshet_version FROM orders;
";

/// The server, stopped with this value.
pub struct Database {
    runtime: Runtime,
    server: Option<PrivateServer>,
    pgbench: PathBuf,
    folder: TempDir,
}

impl Database {
    /// Starts the server with its own defaults, so with `fsync` and `synchronous_commit` on, and fills it.
    pub fn start() -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(text)?;
        let pgbench = find_pgbench()?;
        let folder = tempfile::Builder::new().prefix("freshet-results-").tempdir().map_err(text)?;
        // The account that the server runs as must be able to pass.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).map_err(text)?;
        let options = Options::new(folder.path().join("data"));
        let server = runtime.block_on(PrivateServer::start(options)).map_err(text)?;
        let database = Database { runtime, server: Some(server), pgbench, folder };
        database.fill()?;
        Ok(database)
    }

    fn fill(&self) -> Result<(), String> {
        let own = self.url("freshet");
        self.runtime.block_on(async {
            for name in ["freshet", "naive", "pgbench"] {
                migrate::create_database(&self.url("postgres"), name).await.map_err(text)?;
            }
            let placement = Placement { modulus: SHARDS, shards: 0..=SHARDS - 1 };
            migrate::migrate(&own, None, &placement).await.map_err(text).map(drop)
        })?;
        self.run("freshet", ORDERS)?;
        self.run("naive", naive::TABLES)?;
        for (name, earlier_payments) in [("freshet", EARLIER_PAYMENTS), ("naive", naive::EARLIER_PAYMENTS)] {
            self.run(name, &products())?;
            self.run(name, &orders())?;
            self.run(name, earlier_payments)?;
            self.catalogue(name)?;
            self.run(name, "VACUUM ANALYZE")?;
        }
        self.pgbench("pgbench", &["-i", "-q", "-s", "1"]).map(drop)
    }

    /// The demo's real catalogue, whose product query the headline is about.
    fn catalogue(&self, name: &str) -> Result<(), String> {
        let products = catalogue::embedded().map_err(text)?;
        let rows: Vec<String> = products.iter().map(|product| product.record(1_000).1).collect();
        self.runtime.block_on(async {
            let mut connection = PgConnection::connect(&self.url(name)).await.map_err(text)?;
            let insert = "INSERT INTO products (sku, name, currency, price, stock, attributes)
                          SELECT sku, name, currency, price, stock, attributes
                            FROM unnest($1) row (text), json_to_record(row.text::json)
                              AS p (sku text, name text, currency text, price bigint, stock integer, attributes json)";
            sqlx::query(insert).bind(rows).execute(&mut connection).await.map_err(text)?;
            connection.close().await.map_err(text)
        })
    }

    /// A file of the catalogue's keys, those ordered most often first.
    pub fn popular_keys(&self) -> Result<PathBuf, String> {
        let mut products = catalogue::embedded().map_err(text)?;
        products.sort_by_key(|product| std::cmp::Reverse(product.attributes.orders));
        let keys: Vec<&str> = products.iter().map(|product| product.sku.as_str()).collect();
        let path = self.folder.path().join("keys");
        fs::write(&path, keys.join("\n")).map_err(text)?;
        Ok(path)
    }

    /// The URL of one of the three databases.
    pub fn url(&self, name: &str) -> String {
        self.server.as_ref().expect("it runs until this value goes").url(name)
    }

    /// The postmaster's process.
    pub fn pid(&self) -> u32 {
        let lines = fs::read_to_string(self.folder.path().join("data/postmaster.pid")).unwrap_or_default();
        lines.lines().next().and_then(|line| line.parse().ok()).unwrap_or_default()
    }

    /// Runs statements without parameters.
    pub fn run(&self, name: &str, sql: &str) -> Result<(), String> {
        self.runtime.block_on(async {
            let mut connection = PgConnection::connect(&self.url(name)).await.map_err(text)?;
            sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.map_err(text)?;
            connection.close().await.map_err(text)
        })
    }

    /// The one number that `sql` returns.
    pub fn number(&self, name: &str, sql: &str) -> Result<i64, String> {
        self.runtime.block_on(async {
            let mut connection = PgConnection::connect(&self.url(name)).await.map_err(text)?;
            let number = sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut connection).await;
            connection.close().await.map_err(text)?;
            number.map_err(text)
        })
    }

    /// What `SHOW server_version` says.
    pub fn version(&self) -> String {
        self.runtime
            .block_on(async {
                let mut connection = PgConnection::connect(&self.url("postgres")).await.ok()?;
                sqlx::query_scalar("SHOW server_version").fetch_one(&mut connection).await.ok()
            })
            .unwrap_or_default()
    }

    /// Transactions a second of pgbench's own reads of one row by its key, prepared.
    pub fn pgbench_reads(&self, pace: &Pace) -> Result<f64, String> {
        tps(&self.pgbench("pgbench", &timed(pace, CLIENTS, &["-S"]))?)
    }

    /// Transactions a second of an UPDATE of one row each, prepared.
    pub fn pgbench_updates(&self, pace: &Pace) -> Result<f64, String> {
        let script = "\\set aid random(1, 100000)\n\
                      UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :aid;";
        self.pgbench_script("pgbench", "update", script, CLIENTS, pace)
    }

    /// Transactions a second of a script, prepared, on the database `name`.
    pub fn pgbench_script(
        &self,
        name: &str,
        title: &str,
        script: &str,
        clients: u32,
        pace: &Pace,
    ) -> Result<f64, String> {
        let path = self.folder.path().join(format!("{title}.sql"));
        fs::write(&path, format!("{script}\n")).map_err(text)?;
        tps(&self.pgbench(name, &timed(pace, clients, &["-f", &path.display().to_string()]))?)
    }

    fn pgbench<T: AsRef<str>>(&self, name: &str, arguments: &[T]) -> Result<String, String> {
        let server = self.server.as_ref().expect("it runs until this value goes");
        let mut command = Command::new("taskset");
        command.args(["-c", client::CORE]).arg(&self.pgbench);
        command.arg("-h").arg(server.socket_dir()).args(["-U", server.user()]);
        command.args(arguments.iter().map(AsRef::as_ref)).arg(name);
        let output = command.output().map_err(text)?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(format!("pgbench: {}", String::from_utf8_lossy(&output.stderr))),
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.runtime.block_on(server.stop());
        }
    }
}

/// It lies beside the server, where the server's own folder may be behind a link; or on PATH.
fn find_pgbench() -> Result<PathBuf, String> {
    let server = find_binaries().ok_or("PostgreSQL's server programs are not installed")?.join("postgres");
    let folders = [fs::canonicalize(&server).ok(), Some(server)].into_iter().flatten();
    let beside = folders.filter_map(|server| Some(server.parent()?.join("pgbench"))).find(|path| path.is_file());
    Ok(beside.unwrap_or_else(|| PathBuf::from("pgbench")))
}

fn timed(pace: &Pace, clients: u32, more: &[&str]) -> Vec<String> {
    let (clients, seconds) = (clients.to_string(), (pace.seconds.ceil() as u64).to_string());
    let words = ["-n", "-M", "prepared", "-c", &clients, "-j", "1", "-T", &seconds];
    words.iter().chain(more).map(|&word| word.to_owned()).collect()
}

fn tps(said: &str) -> Result<f64, String> {
    let figure = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    figure.ok_or_else(|| format!("pgbench gives no figure: {said}"))
}

fn products() -> String {
    format!(
        "INSERT INTO products (sku, name, price, stock)
         SELECT 'K' || lpad(n::text, 5, '0'), repeat('x', 420), 100, 0 FROM generate_series(0, {}) n",
        ROWS - 1
    )
}

fn orders() -> String {
    format!(
        "INSERT INTO orders (id, customer, sku, quantity, total)
         SELECT 'K' || lpad(n::text, 5, '0'), 'C' || n, '85123A', 1, 295 FROM generate_series(0, {}) n",
        ROWS - 1
    )
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
