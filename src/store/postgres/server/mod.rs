//! A private PostgreSQL server, so that one command needs nothing set up.
//!
//! Promise: the server runs from the machine's own binaries on a data directory of ours, listens on a
//! socket that only we and its account reach, and ends with us, also when we are killed. What was
//! committed stays in the data directory (unless the caller turned `fsync` off). A server may be a streaming
//! standby of another private one; then it answers reads only, until it is promoted.
//! Left to others: databases, migrations, pools, and which server is the primary.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{ConnectOptions, Connection, postgres::PgConnectOptions};
use tokio::time::{Instant, sleep, timeout};

use data_dir::DataDir;

use crate::process::{Account, Supervised};

pub use binaries::find_binaries;
pub use error::Error;
pub use primary::Primary;
pub use running::running_url;

mod binaries;
mod data_dir;
mod error;
mod making;
mod primary;
mod running;
mod shutdown;
mod socket;

/// The superuser of every server that this module initialises. It has no password: the socket is its guard.
const SUPERUSER: &str = "postgres";

/// Accounts to run as when we are root, the best first. PostgreSQL refuses root itself.
const ORDINARY: [&str; 2] = ["postgres", "nobody"];

/// PostgreSQL's own default; it names the socket file even when no TCP port is open.
const DEFAULT_PORT: u16 = 5432;
/// How often it is looked whether the server still runs.
const ENDED_INTERVAL: Duration = Duration::from_millis(200);

/// How a private server is started.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Where the data is kept; created when it does not exist, initialised when it is empty.
    pub data_dir: PathBuf,
    /// A port on 127.0.0.1, or none: then the server listens on its socket only.
    pub port: Option<u16>,
    /// Server settings as in `postgresql.conf`, for this run; they win over the file.
    pub settings: Vec<(String, String)>,
    /// Whether a new data directory is flushed to disk before use. Off is for tests: it saves half a second.
    pub sync: bool,
    /// Whether the data is thrown away when the server ends. It then ends at once, without a checkpoint.
    pub is_ephemeral: bool,
    /// How long to wait until the server accepts a connection; recovery after a crash is part of it.
    pub start_limit: Duration,
    /// The server to follow, as a standby: a new data directory is a copy of its. An existing one is used as it is, so a
    /// standby that was stopped follows again, and one that was promoted stays a primary.
    ///
    /// A standby's `max_connections`, `max_worker_processes`, `max_wal_senders` and `max_locks_per_transaction` must be
    /// at least the primary's: give both the same [`settings`](Self::settings).
    pub primary: Option<Primary>,
}

impl Options {
    /// A durable server on a socket only, for the data in `data_dir`.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            port: None,
            settings: Vec::new(),
            sync: true,
            is_ephemeral: false,
            start_limit: Duration::from_secs(120),
            primary: None,
        }
    }

    /// Lets standbys follow the server, after they were away as well: it keeps the newest 512 MB of its log for them, rather
    /// than a replication slot, which would keep the log of a standby that never returns until the disk is full.
    #[must_use]
    pub fn with_standbys(mut self) -> Self {
        let settings = [("wal_level", "replica"), ("max_wal_senders", "10"), ("wal_keep_size", "512MB")];
        self.settings.splice(0..0, settings.map(|(name, value)| (name.to_owned(), value.to_owned())));
        self
    }
}

/// A running private server. Dropping it stops the server too, without waiting for the end.
#[derive(Debug)]
pub struct PrivateServer {
    process: Supervised,
    data: DataDir,
    socket_dir: PathBuf,
    port: u16,
    is_ephemeral: bool,
}

impl PrivateServer {
    /// Starts the server and returns when it accepts connections: 0.2 s, and 1 to 2.5 s more when the data
    /// directory is new. Run as root, it starts as the account `postgres`, else `nobody`. A standby then answers reads; it
    /// need not have caught up with its primary, nor must that be running, unless the data directory is new.
    ///
    /// # Errors
    /// See [`Error`]; each names the path and what to do. Nothing is left running.
    ///
    /// # Cancel safety
    /// Dropping the future stops what was started. A half-made data directory is made anew next time.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let binaries = find_binaries().ok_or(Error::NoBinaries)?;
        let account = Account::ordinary(&ORDINARY).ok_or(Error::NoAccount)?;
        let data = DataDir::prepare(&options, &binaries, &account).await?;
        let socket_dir = socket::directory(data.path(), &account)?;
        let port = options.port.unwrap_or(DEFAULT_PORT);
        let program = binaries.join("postgres");
        let arguments = arguments(&options, data.path(), &socket_dir, port);
        let farewell = shutdown::farewell(&options, data.path(), &socket_dir);
        let process = Supervised::spawn(&program, &arguments, &account, data.open_log()?, farewell)
            .map_err(|source| Error::Run { program, source })?;
        let mut server = Self { process, data, socket_dir, port, is_ephemeral: options.is_ephemeral };
        server.wait_until_ready(options.start_limit).await?;
        Ok(server)
    }

    /// The directory of the server's socket.
    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// This server, for [`Options::primary`] of its standbys. One whose data directory's path is too long for a socket has
    /// another socket at each start; its standbys must be started again then, with the new value.
    pub fn as_primary(&self) -> Primary {
        Primary { socket_dir: self.socket_dir.clone(), port: self.port }
    }

    /// The superuser to connect as.
    pub fn user(&self) -> &str {
        SUPERUSER
    }

    /// A URL that sqlx and libpq understand, for one database of this server.
    pub fn url(&self, database: &str) -> String {
        socket::url(&self.socket_dir, self.port, SUPERUSER, database)
    }

    /// Ends all sessions, writes a checkpoint and returns when the server has ended: PostgreSQL's fast
    /// shutdown. After a minute it is ended at once; then the next start recovers from the log.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the server stopping by itself.
    pub async fn stop(self) {
        shutdown::stop(self.process, self.data.path(), self.is_ephemeral).await;
    }

    /// Waits until the server has ended by itself, and says how, with its last words.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn ended(&mut self) -> Error {
        loop {
            if let Some(status) = self.process.ended() {
                return self.data.ended(status);
            }
            sleep(ENDED_INTERVAL).await;
        }
    }

    async fn wait_until_ready(&mut self, limit: Duration) -> Result<(), Error> {
        let options: PgConnectOptions = self.connect_options();
        let until = Instant::now() + limit;
        loop {
            let refusal = match timeout(Duration::from_secs(5), options.connect()).await {
                Ok(Ok(connection)) => {
                    let _ = connection.close().await;
                    return Ok(());
                }
                Ok(Err(refusal)) => refusal,
                Err(_) => sqlx::Error::PoolTimedOut,
            };
            if let Some(status) = self.process.ended() {
                return Err(self.data.ended(status));
            }
            if Instant::now() >= until {
                return Err(Error::NotReady { path: self.data.path().to_owned(), limit, source: refusal });
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn connect_options(&self) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.socket_dir)
            .port(self.port)
            .username(SUPERUSER)
            .database("postgres")
            .disable_statement_logging()
    }
}

fn arguments(options: &Options, data_dir: &Path, socket_dir: &Path, port: u16) -> Vec<String> {
    let listen = options.port.map_or("", |_| "127.0.0.1");
    let own = [
        ("port", port.to_string()),
        ("listen_addresses", listen.to_owned()),
        ("unix_socket_directories", socket_dir.display().to_string()),
        ("logging_collector", "off".to_owned()),
        ("log_checkpoints", "off".to_owned()),
    ];
    let followed = options.primary.as_ref().map(|primary| ("primary_conninfo", primary.conninfo(data_dir)));
    let mut arguments = vec!["-D".to_owned(), data_dir.display().to_string()];
    let given = options.settings.iter().map(|(name, value)| (name.as_str(), value.clone()));
    for (name, value) in own.into_iter().chain(followed).chain(given) {
        arguments.extend(["-c".to_owned(), format!("{name}={value}")]);
    }
    arguments
}
