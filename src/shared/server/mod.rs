//! A private Redis, so that the second tier of one node needs nothing set up.
//!
//! Promise: the server runs from the machine's own `redis-server` or `valkey-server`, listens on a socket that only we and
//! its account reach, keeps within the memory that it is given by evicting what was used least recently, and ends with us,
//! also when we are killed. Nothing but its log is written to disk, and what was in it is gone with it.
//! Left to others: connections, what is kept in it, and whether to go on without it, when it does not start or ends by itself.

use std::{
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use bytesize::ByteSize;
use nix::sys::signal::Signal;
use tokio::time::{Instant, sleep};

use self::folder::Folder;
use crate::process::{Account, Farewell, Supervised};

pub use binary::find_binary;
pub use error::Error;

mod binary;
mod error;
mod folder;

/// Accounts to run as when we are root, the best first: those of the packages of Redis and Valkey.
const ORDINARY: [&str; 3] = ["redis", "valkey", "nobody"];

/// How often it is looked whether the server still runs.
const ENDED_INTERVAL: Duration = Duration::from_millis(200);

/// How long a server may take to end that is killed.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// How a private Redis is started.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// What its entries may take, with what they cost the server beside their bytes.
    pub memory_max: ByteSize,
    /// A port on 127.0.0.1, or none: then the server listens on its socket only.
    pub port: Option<u16>,
    /// Settings as in `redis.conf`, for this run; they win over ours. A value's words are separated by spaces.
    pub settings: Vec<(String, String)>,
    /// The program to run, or none: then the one that [`find_binary`] finds.
    pub program: Option<PathBuf>,
    /// How long to wait for the server's first answer.
    pub start_limit: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            memory_max: ByteSize::mib(256),
            port: None,
            settings: Vec::new(),
            program: None,
            start_limit: Duration::from_secs(30),
        }
    }
}

/// A running private Redis. Dropping it ends the server too, without waiting for the end.
#[derive(Debug)]
pub struct PrivateRedis {
    process: Supervised,
    program: PathBuf,
    account: Account,
    folder: Folder,
    options: Options,
}

impl PrivateRedis {
    /// Starts the server and returns when it answers. Run as root, it starts as the account `redis`, `valkey` or `nobody`.
    ///
    /// # Errors
    /// See [`Error`]; each says what to do. Nothing is left running.
    ///
    /// # Cancel safety
    /// Dropping the future ends what was started.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let program = options.program.clone().filter(|program| program.is_file());
        let program = if options.program.is_some() { program } else { find_binary() }.ok_or(Error::NoBinary)?;
        let account = Account::ordinary(&ORDINARY).ok_or(Error::NoAccount)?;
        let folder = Folder::make(&account)?;
        let process = spawn(&program, &account, &folder, &options)?;
        let mut server = Self { process, program, account, folder, options };
        server.wait_until_ready().await?;
        Ok(server)
    }

    /// Waits until the server has ended by itself, and says how, with its last words.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn ended(&mut self) -> Error {
        loop {
            if let Some(status) = self.process.ended() {
                return self.end(status);
            }
            sleep(ENDED_INTERVAL).await;
        }
    }

    /// Starts a server that has ended again, empty, at the same URL, and returns when it answers.
    ///
    /// # Errors
    /// As for [`Self::start`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves a server that ends with this value.
    pub async fn start_again(&mut self) -> Result<(), Error> {
        self.folder.make_again(&self.account)?;
        self.process = spawn(&self.program, &self.account, &self.folder, &self.options)?;
        self.wait_until_ready().await
    }

    /// The server's URL, `redis+unix://` and the path of its socket, for the `redis` crate.
    pub fn url(&self) -> String {
        self.folder.url()
    }

    /// Ends the server and returns when it has ended. All of its connections end.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the server ending by itself.
    pub async fn stop(mut self) {
        if self.process.stop(STOP_LIMIT).await.is_none() {
            tracing::warn!("the private Redis did not end in time, and is left to its supervisor");
        }
    }

    async fn wait_until_ready(&mut self) -> Result<(), Error> {
        let limit = self.options.start_limit;
        let until = Instant::now() + limit;
        loop {
            let Err(refusal) = ping(&self.url()).await else {
                return Ok(());
            };
            if let Some(status) = self.process.ended() {
                return Err(self.end(status));
            }
            if Instant::now() >= until {
                return Err(Error::NotReady { program: self.program.clone(), limit, source: refusal });
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    fn end(&self, status: ExitStatus) -> Error {
        Error::Ended { program: self.program.clone(), status, output: self.folder.last_words() }
    }
}

fn spawn(program: &Path, account: &Account, folder: &Folder, options: &Options) -> Result<Supervised, Error> {
    // Killed: it has nothing to save, and a stopped process would not hear of anything else.
    let farewell = Farewell { signal: Signal::SIGKILL, remove: [Some(folder.path().to_owned()), None] };
    let arguments = arguments(options, folder);
    let started = folder.log().and_then(|log| Supervised::spawn(program, &arguments, account, log, farewell));
    started.map_err(|source| Error::Run { program: program.to_owned(), source })
}

/// Asks on a connection of its own; the client bounds both steps.
async fn ping(url: &str) -> Result<(), redis::RedisError> {
    let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    redis::cmd("PING").query_async(&mut connection).await
}

fn arguments(options: &Options, folder: &Folder) -> Vec<String> {
    let own = [
        ("port", options.port.unwrap_or_default().to_string()),
        ("bind", "127.0.0.1".to_owned()),
        ("unixsocket", folder.socket().display().to_string()),
        ("unixsocketperm", "700".to_owned()),
        ("dir", folder.path().display().to_string()),
        ("save", String::new()),
        ("appendonly", "no".to_owned()),
        ("maxmemory", options.memory_max.as_u64().to_string()),
        ("maxmemory-policy", "allkeys-lru".to_owned()),
    ];
    let mut arguments = Vec::new();
    for (name, value) in own {
        arguments.extend([format!("--{name}"), value]);
    }
    for (name, value) in &options.settings {
        arguments.push(format!("--{name}"));
        // One empty word for an empty value: so it is written to mean nothing at all.
        arguments.extend(value.split(' ').map(str::to_owned));
    }
    arguments
}
