//! One private Redis, and what `redis-benchmark` reaches with it alone.

use std::{net::TcpListener, process::Command};

use freshet::shared::server::{Error, Options, PrivateRedis};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use redis::{Commands as _, Connection, FromRedisValue};

use super::client::Cores;

/// Keys of `redis-benchmark`.
const KEYS: u32 = 20_000;
/// What `redis-benchmark` puts digits into, 12 of them.
const DIGITS: &str = "__rand_int__";

/// The programs that measure it alone, whichever is installed.
const BENCHMARKS: [&str; 2] = ["redis-benchmark", "valkey-benchmark"];

/// The server. It ends with this value.
pub struct Redis {
    server: PrivateRedis,
    benchmark: &'static str,
    port: u16,
    pid: i32,
}

impl Redis {
    /// Starts it on a port of 127.0.0.1, saving nothing.
    pub async fn start() -> Result<Self, String> {
        let answers = |program: &&str| Command::new(program).arg("--version").output().is_ok();
        let benchmark = BENCHMARKS.into_iter().find(answers);
        let benchmark = benchmark.ok_or("Redis alone is measured by redis-benchmark: install redis-tools")?;
        let mut options = Options::default();
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).map_err(text)?.port();
        options.port = Some(port);
        let server = PrivateRedis::start(options).await.map_err(|error| match error {
            Error::NoBinary => "nodes are measured with Redis: install redis-server (or valkey-server)".to_owned(),
            error => format!("start Redis: {error}"),
        })?;
        let mut redis = Redis { server, benchmark, port, pid: 0 };
        redis.pid = redis.info("process_id")?.parse().map_err(text)?;
        Ok(redis)
    }

    /// Where nodes find it.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    /// Its version.
    pub fn version(&self) -> Result<String, String> {
        self.info("redis_version")
    }

    /// Forgets everything.
    pub fn flush(&self) -> Result<(), String> {
        self.command(&["FLUSHALL"])
    }

    /// How many entries it has.
    pub fn len(&self) -> Result<u64, String> {
        self.command(&["DBSIZE"])
    }

    /// MGETs so far.
    pub fn mgets(&self) -> Result<u64, String> {
        let counted = self.info("cmdstat_mget")?;
        let calls = counted.strip_prefix("calls=").and_then(|rest| rest.split(',').next());
        calls.unwrap_or("0").parse().map_err(text)
    }

    /// A slot of a record whose key is like `pattern`: its name, and how many bytes it has.
    pub fn slot(&self, pattern: &str) -> Result<(String, usize), String> {
        let mut connection = self.connect()?;
        let mut slots = connection.scan_match(format!("*:products:{pattern}")).map_err(text)?;
        let name: String = slots.next().ok_or("Redis has no slot of a record")?.map_err(text)?;
        drop(slots);
        let len = connection.strlen(&name).map_err(text)?;
        Ok((name, len))
    }

    /// Stops it where it stands: connections stay, and nothing is answered. Goes on when what is returned is dropped.
    pub fn freeze(&self) -> Result<Frozen, String> {
        kill(Pid::from_raw(self.pid), Signal::SIGSTOP).map_err(text)?;
        Ok(Frozen(self.pid))
    }

    /// Ends it.
    pub async fn stop(self) {
        self.server.stop().await;
    }

    /// Values that [`Self::benchmark`] reads: of so many bytes, under names as long as `name`.
    pub fn fill(&self, name: &str, bytes: usize) -> Result<(), String> {
        let (mut connection, value) = (self.connect()?, "x".repeat(bytes));
        for first in (0..KEYS).step_by(1_000) {
            let mut puts = redis::pipe();
            (first..first + 1_000).for_each(|n| {
                puts.set(named(name).replace(DIGITS, &format!("{n:012}")), &value).ignore();
            });
            puts.query::<()>(&mut connection).map_err(text)?;
        }
        Ok(())
    }

    /// Values a second that `redis-benchmark` gets by so many MGETs of `batch` keys, one at a time.
    pub fn benchmark(&self, cores: Cores, name: &str, batch: usize, mgets: u64) -> Result<f64, String> {
        let mut command = Command::new("taskset");
        command.args(["-c", cores.list(), self.benchmark, "-h", "127.0.0.1", "-p", &self.port.to_string(), "--csv"]);
        command.args(["-c", "1", "-P", "1", "-n", &mgets.to_string(), "-r", &KEYS.to_string()]);
        command.arg("MGET").args(std::iter::repeat_n(named(name), batch));
        let output = command.output().map_err(|error| format!("taskset (of util-linux) does not start: {error}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{} fails: {}", self.benchmark, said.trim()));
        }
        // A line of titles, and one of figures: the command, commands a second, and times.
        let said = String::from_utf8_lossy(&output.stdout);
        let line = said.lines().last().and_then(|line| line.split("\",\"").nth(1)?.parse::<f64>().ok());
        Ok(line.ok_or_else(|| format!("{} gives no figure: {said}", self.benchmark))? * batch as f64)
    }

    fn info(&self, field: &str) -> Result<String, String> {
        let all: String = self.command(&["INFO", "everything"])?;
        let value = all.lines().filter_map(|line| line.split_once(':')).find(|(name, _)| *name == field);
        Ok(value.map(|(_, value)| value.to_owned()).unwrap_or_default())
    }

    fn command<T: FromRedisValue>(&self, words: &[&str]) -> Result<T, String> {
        let mut command = redis::Cmd::new();
        command.arg(words);
        command.query(&mut self.connect()?).map_err(text)
    }

    fn connect(&self) -> Result<Connection, String> {
        redis::Client::open(self.url()).and_then(|client| client.get_connection()).map_err(text)
    }
}

/// A server that answers nothing.
pub struct Frozen(i32);

impl Drop for Frozen {
    fn drop(&mut self) {
        // One that has ended needs no signal.
        let _ = kill(Pid::from_raw(self.0), Signal::SIGCONT);
    }
}

/// A name for `redis-benchmark`, as long as `name` once it has its digits.
fn named(name: &str) -> String {
    format!("{}{DIGITS}", "k".repeat(name.len().saturating_sub(DIGITS.len())))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
