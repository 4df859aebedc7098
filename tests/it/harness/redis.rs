//! A Redis server of a test's own, on a port of 127.0.0.1.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    sync::atomic::{AtomicU16, Ordering},
};

use freshet::shared::server::{Error, Options, PrivateRedis};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use redis::{AsyncConnectionConfig, Client, FromRedisValue, RedisResult, aio::MultiplexedConnection};
use tempfile::TempDir;

use super::{folder, node::LIMIT, until};

const MISSING: &str = "these tests need a Redis server: install it (Debian: apt-get install redis-server; Fedora: dnf \
                       install valkey; macOS: brew install redis)";

/// Another program to run, for trying Valkey or another version.
const PROGRAM: &str = "FRESHET_TEST_REDIS";

/// The server, running or not. It ends with this value, or with the process, frozen or not.
pub struct Redis {
    options: Options,
    port: u16,
    pid: i32,
    running: Option<PrivateRedis>,
    /// What it saves, for the next start. Dropped after the server.
    _folder: TempDir,
}

impl Redis {
    /// Starts an empty server that saves nothing by itself.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with settings as in `redis.conf`, such as `maxmemory`, `maxmemory-policy` or `appendonly`.
    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        let folder = folder();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("open the folder");
        let data_dir = folder.path().display().to_string();
        // A replica is sent its copy at once, and keeps no file of it.
        let own =
            [("dir", data_dir.as_str()), ("repl-diskless-sync-delay", "0"), ("rdb-del-sync-files", "yes")].into_iter();
        let mut options = Options::default();
        options.settings = own.chain(settings.iter().copied()).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        options.program = std::env::var_os(PROGRAM).map(Into::into);
        let (running, port) = start_on_a_free_port(&mut options).await;
        let mut server = Redis { options, port, pid: 0, running: Some(running), _folder: folder };
        server.pid = server.process_id().await;
        server
    }

    /// The same at each start.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The same with TLS, where its settings are an [`Authority`](super::Authority)'s.
    pub fn tls_url(&self) -> String {
        format!("rediss://127.0.0.1:{}", self.tls_port().expect("it listens with TLS"))
    }

    /// The port that other members of a cluster know it by.
    pub fn cluster_port(&self) -> String {
        self.tls_port().map_or_else(|| self.port.to_string(), str::to_owned)
    }

    fn tls_port(&self) -> Option<&str> {
        let mut settings = self.options.settings.iter();
        settings.find(|(name, _)| name == TLS_PORT).map(|(_, port)| port.as_str())
    }

    /// The process that serves, or served last.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// A connection that waits for a slow server, as long as a test may take.
    pub async fn connect(&self) -> MultiplexedConnection {
        self.try_connect().await.expect("connect to Redis")
    }

    async fn try_connect(&self) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(LIMIT)).set_response_timeout(Some(LIMIT));
        Client::open(self.url())?.get_multiplexed_async_connection_with_config(&config).await
    }

    /// Runs a command on a connection of its own.
    pub async fn command<T: FromRedisValue>(&self, words: &[&str]) -> T {
        self.try_command(words).await.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// Like [`Self::command`], for what may be refused.
    pub async fn try_command<T: FromRedisValue>(&self, words: &[&str]) -> RedisResult<T> {
        let mut command = redis::Cmd::new();
        command.arg(words);
        command.query_async(&mut self.try_connect().await?).await
    }

    /// A field of `INFO`, without its section's other lines.
    pub async fn info(&self, field: &str) -> String {
        let text: String = self.command(&["INFO", "everything"]).await;
        let mut fields = text.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(name, _)| *name == field).map(|(_, value)| value.to_owned()).unwrap_or_default()
    }

    /// Writes what it holds to its RDB file, from which the next start reads it.
    pub async fn save(&self) {
        self.command::<()>(&["SAVE"]).await;
    }

    /// Ends it by SIGKILL, and returns when it has ended; does nothing where it is down.
    pub async fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }

    /// Starts it again on its port, with what it saved, else empty; a running one is killed before.
    pub async fn restart(&mut self) {
        self.kill().await;
        self.running = Some(PrivateRedis::start(self.options.clone()).await.expect("start Redis again"));
        self.pid = self.process_id().await;
    }

    /// Stops it where it stands: connections stay, new ones are taken by the system, and nothing is answered.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// A new server that follows this one, and has its data already.
    pub async fn replica(&self) -> Redis {
        let mut replica = Redis::start().await;
        replica.follow(self).await;
        replica
    }

    /// Makes it a replica, and returns when it has the primary's data. What it held is gone.
    pub async fn follow(&mut self, primary: &Redis) {
        let port = primary.port.to_string();
        self.forget_primary();
        self.options.settings.push((REPLICAOF.to_owned(), format!("127.0.0.1 {port}")));
        self.command::<()>(&[REPLICAOF, "127.0.0.1", &port]).await;
        until("the replica is linked", async || self.info("master_link_status").await == "up").await;
    }

    /// Makes a replica a primary. Others still follow the former one.
    pub async fn promote(&mut self) {
        self.forget_primary();
        self.command::<()>(&[REPLICAOF, "NO", "ONE"]).await;
    }

    /// Ends it.
    pub async fn stop(mut self) {
        self.kill().await;
    }

    fn forget_primary(&mut self) {
        self.options.settings.retain(|(name, _)| name != REPLICAOF);
    }

    fn signal(&self, signal: Signal) {
        assert!(self.running.is_some(), "it is down");
        kill(Pid::from_raw(self.pid), signal).expect("signal Redis");
    }

    async fn process_id(&self) -> i32 {
        self.info("process_id").await.parse().expect("a number")
    }
}

const REPLICAOF: &str = "replicaof";
/// The setting whose value is chosen at the start.
pub const TLS_PORT: &str = "tls-port";

/// Redis cannot have the system choose a port, so ports are tried until one is free.
async fn start_on_a_free_port(options: &mut Options) -> (PrivateRedis, u16) {
    for _ in 0..100 {
        let port = next_port();
        options.port = Some(port);
        let tls = options.settings.iter_mut().filter(|(name, _)| name == TLS_PORT);
        tls.for_each(|(_, port)| *port = next_port().to_string());
        match PrivateRedis::start(options.clone()).await {
            Ok(running) => return (running, port),
            Err(Error::Ended { output, .. }) if output.contains("in use") => {}
            Err(error) => panic!("{MISSING}: {error}"),
        }
    }
    panic!("no port is free");
}

/// Below the range from which systems take the ports of outgoing connections, one of which could have a port while its server
/// is down; and so is a cluster's bus, 10,000 above.
///
/// # Source
/// Linux, `ip_local_port_range`: from 32,768.
pub(super) fn next_port() -> u16 {
    const FIRST: u16 = 12_000;
    const PORTS: u16 = 10_000;
    static STEPS: AtomicU16 = AtomicU16::new(0);
    // Processes begin in different places.
    let first = std::process::id().wrapping_mul(97) % u32::from(PORTS);
    FIRST + (first as u16 + STEPS.fetch_add(1, Ordering::Relaxed)) % PORTS
}
