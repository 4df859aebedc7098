//! One Redis server on a port of this machine, running or not.

use std::time::Duration;

use freshet::shared::server::{Error, Options, PrivateRedis};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use redis::{Client, FromRedisValue};
use tokio::time::timeout;

use super::instance::Result;

/// How long to wait for an answer of a server that may be frozen.
const LIMIT: Duration = Duration::from_millis(500);
/// How many ports are tried for one that is free.
const PORTS: u16 = 20;

/// The server. It saves nothing. Dropping it ends it, frozen or not.
pub struct Redis {
    options: Options,
    port: u16,
    running: Option<PrivateRedis>,
    /// The process that serves, or served last.
    pid: Pid,
}

impl Redis {
    /// Starts an empty server on the first free port from `first`; `None` when Redis is not installed.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(first: u16) -> Result<Option<Self>> {
        let mut options = Options::default();
        for port in first..first + PORTS {
            options.port = Some(port);
            match PrivateRedis::start(options.clone()).await {
                Ok(running) => {
                    let mut redis = Redis { options, port, running: Some(running), pid: Pid::this() };
                    redis.find_process().await?;
                    return Ok(Some(redis));
                }
                Err(Error::NoBinary) => return Ok(None),
                Err(Error::Ended { output, .. }) if output.contains("in use") => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(format!("no port from {first} on is free for Redis").into())
    }

    /// Its URL, the same at each start.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts it again, empty; does nothing where it runs.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_again(&mut self) -> Result<()> {
        if self.running.is_none() {
            self.running = Some(PrivateRedis::start(self.options.clone()).await?);
            self.find_process().await?;
        }
        Ok(())
    }

    /// Shuts it down; one that does not answer is killed.
    pub async fn stop(&mut self) {
        if self.running.is_some() {
            drop(self.ask::<()>(&["SHUTDOWN", "NOSAVE"]).await);
        }
        self.kill().await;
    }

    /// Ends it as a crash does; does nothing where it is down.
    pub async fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }

    /// Stops it where it stands: connections stay, and nothing is answered.
    ///
    /// # Errors
    /// When it does not run.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets a frozen server go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// In words: what it does, how many keys it has, and how much memory they take.
    pub async fn describe(&self) -> (&'static str, String, String) {
        if self.running.is_none() {
            return ("down", String::new(), String::new());
        }
        match (self.ask::<u64>(&["DBSIZE"]).await, self.info("used_memory_human").await) {
            (Ok(keys), Ok(memory)) => ("answers", format!("{keys} keys"), format!("{memory} of memory")),
            _ => ("does not answer", String::new(), String::new()),
        }
    }

    async fn find_process(&mut self) -> Result<()> {
        self.pid = Pid::from_raw(self.info("process_id").await?.parse()?);
        Ok(())
    }

    /// A field of `INFO`.
    async fn info(&self, field: &str) -> Result<String> {
        let text: String = self.ask(&["INFO", "everything"]).await?;
        let mut fields = text.lines().filter_map(|line| line.split_once(':'));
        let found = fields.find(|(name, _)| *name == field).ok_or("INFO lacks a field")?;
        Ok(found.1.to_owned())
    }

    async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> Result<T> {
        let asked = async {
            let mut connection = Client::open(self.url())?.get_multiplexed_async_connection().await?;
            redis::Cmd::new().arg(words).query_async(&mut connection).await
        };
        Ok(timeout(LIMIT, asked).await.map_err(|_| "it does not answer")??)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        if self.running.is_none() {
            return Err("it is down".into());
        }
        Ok(kill(self.pid, signal)?)
    }
}
