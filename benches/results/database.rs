//! One private PostgreSQL for everything that is durable: Freshet's database, the naive build's and pgbench's.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command};

use freshet::{
    cli::demo::catalogue,
    store::postgres::{
        migrate,
        server::{Options, PrivateServer, find_binaries},
    },
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{client::Cores, naive, pace::Pace};

/// Rows of the table that misses and writes go to.
pub const ROWS: u32 = 100_000;
/// Connections of pgbench where it is the yardstick.
const CLIENTS: u32 = 16;
/// Logical shards: the default.
pub const SHARDS: u32 = 64;

/// The orders; the naive build's are a plain table of the same columns.
const ORDERS: &str = "
    CREATE TABLE orders (
        id       text PRIMARY KEY,
        customer text NOT NULL,
        sku      text NOT NULL,
        quantity integer NOT NULL,
        total    bigint NOT NULL,
        status   text NOT NULL DEFAULT 'new',
        payment  bigint
    ) PARTITION BY HASH (id);
    SELECT freshet.track('orders');
    SELECT freshet.create_shards('orders', 64, ARRAY(SELECT generate_series(0, 63)));
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
    /// Of pgbench.
    cores: Cores,
}

/// What pgbench is to do.
pub struct Script<'a> {
    pub database: &'a str,
    pub title: &'a str,
    pub sql: &'a str,
    pub clients: u32,
    /// Its sessions' settings, as `PGOPTIONS` has them.
    pub settings: &'a str,
}

impl<'a> Script<'a> {
    /// An empty one, with the server's settings.
    pub fn on(database: &'a str, title: &'a str, clients: u32) -> Self {
        Script { database, title, sql: "", clients, settings: "" }
    }
}

/// What pgbench says of a run.
pub struct Transactions {
    pub per_second: f64,
    pub latency_ms: f64,
}

impl Database {
    /// Starts the server with its own defaults, so with `fsync` and `synchronous_commit` on, and fills it.
    pub fn start() -> Result<Self, String> {
        let database = Self::empty()?;
        database.fill()?;
        Ok(database)
    }

    fn empty() -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(text)?;
        let pgbench = find_pgbench()?;
        let folder = tempfile::Builder::new().prefix("freshet-results-").tempdir().map_err(text)?;
        // The account that the server runs as must be able to pass.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).map_err(text)?;
        let options = Options::new(folder.path().join("data"));
        let server = runtime.block_on(PrivateServer::start(options)).map_err(text)?;
        Ok(Database { runtime, server: Some(server), pgbench, folder, cores: Cores::Own })
    }

    /// A server with all cores, and in it 10,000 products: tracked in so many shards in `freshet`, and plain in `plain`.
    pub fn for_writes(shards: u32) -> Result<Self, String> {
        let mut database = Self::empty()?;
        database.have(Cores::All)?;
        database.runtime.block_on(async {
            for name in ["freshet", "plain"] {
                migrate::create_database(&database.url("postgres"), name).await.map_err(text)?;
            }
            migrate::migrate_only(&database.url("freshet"), shards, migrate::Source::Demo).await.map_err(text)
        })?;
        database.run("plain", PLAIN_PRODUCTS)?;
        for name in ["freshet", "plain"] {
            database.run(name, &products(10_000))?;
            database.run(name, "VACUUM ANALYZE")?;
        }
        // The keys of one partition, for a writer that names it.
        database.run("freshet", FIRST_KEYS)?;
        database.run("plain", "CREATE TABLE first_keys (n bigint PRIMARY KEY, sku text NOT NULL)")?;
        database.run(
            "plain",
            "INSERT INTO first_keys SELECT n, 'K' || lpad(n::text, 5, '0') FROM generate_series(0, 99) n",
        )?;
        Ok(database)
    }

    /// Lets the sessions and the clients of pgbench that start from here on have these cores.
    pub fn have(&mut self, cores: Cores) -> Result<(), String> {
        // Sessions take their cores from the postmaster.
        let server = match cores {
            Cores::Own => "0",
            Cores::All => cores.list(),
        };
        let pid = self.pid().to_string();
        run_to_end(Command::new("taskset").args(["-p", "-c", server, &pid]))?;
        self.cores = cores;
        Ok(())
    }

    fn fill(&self) -> Result<(), String> {
        let own = self.url("freshet");
        self.runtime.block_on(async {
            for name in ["freshet", "naive", "pgbench"] {
                migrate::create_database(&self.url("postgres"), name).await.map_err(text)?;
            }
            migrate::migrate_only(&own, SHARDS, migrate::Source::Demo).await.map_err(text)
        })?;
        self.run("freshet", ORDERS)?;
        self.run("naive", naive::TABLES)?;
        for (name, earlier_payments) in [("freshet", EARLIER_PAYMENTS), ("naive", naive::EARLIER_PAYMENTS)] {
            self.run(name, &products(ROWS))?;
            self.run(name, &orders())?;
            self.run(name, earlier_payments)?;
            self.catalogue(name)?;
            self.run(name, "VACUUM ANALYZE")?;
        }
        self.pgbench("pgbench", "", &["-i", "-q", "-s", "1"]).map(drop)
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
        tps(&self.pgbench("pgbench", "", &timed(pace, CLIENTS, &["-S"]))?)
    }

    /// Transactions a second of an UPDATE of one row each, prepared.
    pub fn pgbench_updates(&self, pace: &Pace) -> Result<f64, String> {
        let script = "\\set aid random(1, 100000)\n\
                      UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :aid;";
        let script = Script { sql: script, ..Script::on("pgbench", "update", CLIENTS) };
        Ok(self.transactions(&script, pace)?.per_second)
    }

    /// A script's transactions, prepared.
    pub fn transactions(&self, script: &Script<'_>, pace: &Pace) -> Result<Transactions, String> {
        let path = self.folder.path().join(format!("{}.sql", script.title));
        fs::write(&path, format!("{}\n", script.sql)).map_err(text)?;
        let timed = timed(pace, script.clients, &["-f", &path.display().to_string()]);
        let said = self.pgbench(script.database, script.settings, &timed)?;
        let latency =
            said.lines().find_map(|line| line.strip_prefix("latency average = ")?.split(' ').next()?.parse().ok());
        Ok(Transactions { per_second: tps(&said)?, latency_ms: latency.ok_or("pgbench gives no latency")? })
    }

    /// The server's socket.
    pub fn socket(&self) -> Result<PathBuf, String> {
        let server = self.server.as_ref().expect("it runs until this value goes");
        let files = fs::read_dir(server.socket_dir()).map_err(text)?.flatten().map(|entry| entry.path());
        let is_socket = |path: &PathBuf| {
            path.extension().is_some_and(|port| port.to_str().is_some_and(|port| port.parse::<u16>().is_ok()))
        };
        files
            .filter(|path| path.to_string_lossy().contains(".s.PGSQL."))
            .find(is_socket)
            .ok_or_else(|| "no socket".into())
    }

    fn pgbench<T: AsRef<str>>(&self, name: &str, settings: &str, arguments: &[T]) -> Result<String, String> {
        let server = self.server.as_ref().expect("it runs until this value goes");
        let mut command = Command::new("taskset");
        command.args(["-c", self.cores.list()]).arg(&self.pgbench);
        command.env("PGOPTIONS", settings).arg("-h").arg(server.socket_dir()).args(["-U", server.user()]);
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

fn run_to_end(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(text)?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
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

/// As Freshet's migration makes them, neither partitioned nor tracked.
const PLAIN_PRODUCTS: &str = "
    CREATE TABLE products (
        sku        text PRIMARY KEY,
        name       text NOT NULL,
        currency   text NOT NULL DEFAULT 'GBP',
        price      bigint NOT NULL CHECK (price >= 0),
        stock      integer NOT NULL DEFAULT 0 CHECK (stock >= 0),
        attributes json NOT NULL DEFAULT '{}'
    )";

const FIRST_KEYS: &str = "
    CREATE TABLE first_keys (n bigint PRIMARY KEY, sku text NOT NULL);
    INSERT INTO first_keys SELECT row_number() OVER (ORDER BY sku) - 1, sku FROM products_000 LIMIT 100";

fn products(rows: u32) -> String {
    format!(
        "INSERT INTO products (sku, name, price, stock)
         SELECT 'K' || lpad(n::text, 5, '0'), repeat('x', 420), 100, 0 FROM generate_series(0, {}) n",
        rows - 1
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
