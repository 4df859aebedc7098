//! The private servers: the shared one, fast and forgetful, and durable ones for crash tests.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, sync::OnceLock, thread};

use freshet::store::postgres::server::{Options, PrivateServer};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, migrate::Migrator};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::MODULUS;

const MISSING: &str = "these tests need a PostgreSQL server: install it (Debian: apt-get install postgresql; \
                       Fedora: dnf install postgresql-server; macOS: brew install postgresql)";

/// Lives to the end of the process; the pipe that closes then stops the server.
struct Shared {
    server: PrivateServer,
    _runtime: Runtime,
}

/// The shared server's URL of a database. The first caller starts it and makes the templates.
pub(super) fn url(database: &str) -> String {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    // A thread of its own, because a runtime can not block inside the test's.
    let start = || thread::spawn(start_shared).join().expect(MISSING);
    SHARED.get_or_init(start).server.url(database)
}

fn start_shared() -> Shared {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime for the shared server");
    let server = runtime.block_on(async {
        let server = PrivateServer::start(forgetful()).await.expect(MISSING);
        make_template(&server, "freshet_blank", false).await;
        make_template(&server, "freshet_template", true).await;
        server
    });
    Shared { server, _runtime: runtime }
}

/// Crash safety off: no test of the shared server looks at it after a crash.
fn forgetful() -> Options {
    let folder = std::env::temp_dir().join(format!("freshet-it-{}", std::process::id()));
    let mut options = Options::new(folder);
    options.sync = false;
    options.is_ephemeral = true;
    let settings = [
        ("fsync", "off"),
        ("full_page_writes", "off"),
        ("max_connections", "400"),
        ("max_locks_per_transaction", "512"),
        ("max_wal_size", "4GB"),
        ("wal_level", "logical"),
    ];
    options.settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    options
}

async fn make_template(server: &PrivateServer, name: &str, has_shards: bool) {
    let mut admin = PgConnection::connect(&server.url("postgres")).await.expect("connect");
    let create = format!("CREATE DATABASE {name}");
    admin.execute(AssertSqlSafe(create)).await.expect("create the template");
    match has_shards {
        true => fill(&server.url(name)).await,
        false => migrate(&mut PgConnection::connect(&server.url(name)).await.expect("connect")).await,
    }
    let seal = format!("ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false");
    admin.execute(AssertSqlSafe(seal)).await.expect("seal the template");
}

/// Migrates the database at `url` and creates all shards of the test collections.
pub(super) async fn fill(url: &str) {
    let mut connection = PgConnection::connect(url).await.expect("connect");
    migrate(&mut connection).await;
    connection.execute(include_str!("../fixtures/readings.sql")).await.expect("readings");
    connection.execute(include_str!("../fixtures/parcels.sql")).await.expect("parcels");
    let every = "SELECT freshet.create_shards(name, $1, ARRAY(SELECT generate_series(0, $1 - 1))) FROM feed.collection";
    sqlx::query(every).bind(MODULUS.cast_signed()).execute(&mut connection).await.expect("shards");
    connection.close().await.expect("close");
}

/// Runs the project's migrations, and the demo's for products, as `sqlx migrate run` does.
pub async fn migrate(connection: &mut PgConnection) {
    for folder in ["migrations", "demo/migrations"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let mut migrator = Migrator::new(folder).await.expect("read the migrations");
        migrator.set_ignore_missing(true);
        migrator.run_direct(None, connection, false).await.expect("run the migrations");
    }
}

/// A server of the test's own that keeps what it acknowledged, for tests that crash or stop it.
/// The folder must outlive the server; the data is in its `data`.
pub async fn durable_server(settings: &[(&str, &str)]) -> (PrivateServer, TempDir) {
    let folder = folder();
    let mut options = Options::new(folder.path().join("data"));
    options.settings = settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    (PrivateServer::start(options).await.expect(MISSING), folder)
}

/// A temporary folder that the server's account may pass through, also when the tests run as root.
pub fn folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("freshet-it-").tempdir().expect("a folder");
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder.path(), open).expect("open the folder");
    folder
}
