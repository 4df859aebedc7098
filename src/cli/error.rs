//! What a command can end with, as a text and as an exit code.

use std::{io, process::ExitCode};

#[cfg(feature = "bench")]
use super::bench;
use crate::{
    app,
    client::{self, error::explained},
    config,
    protocol::Code,
    store::{
        self,
        postgres::{migrate, placement, server, servers, session},
    },
};

/// The table of exit codes in `--help`.
pub(super) const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no such record, \
    4 conflict with another write, 69 server unavailable, 70 the node could not go on";

/// What to do where a private server cannot be had.
const INSTALL: &str = "Debian, Ubuntu: apt-get install postgresql\n  Fedora, RHEL: dnf install postgresql-server\n  \
    macOS: brew install postgresql\n  or name a database with --database-url, or keep records in memory with --memory";

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The arguments make no sense together or are malformed.
    #[error("{0}")]
    Usage(String),
    /// Records that were asked for do not exist.
    #[error("no such record: {0}")]
    Absent(String),
    /// The request failed.
    #[error("{}", lead(.0))]
    Client(
        #[source]
        #[from]
        client::Error,
    ),
    /// Some of many writes failed; each was reported.
    #[error("{failed} of {total} rows were rejected")]
    Lines {
        /// Rows that are not in the store.
        failed: u64,
        /// Rows read.
        total: u64,
    },
    /// A file or stdin could not be read.
    #[error("failed to read {path}")]
    Input {
        /// Which one.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file that keeps what was done could not be written.
    #[error("failed to write {path}")]
    Keep {
        /// Which one.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// stdout could not be written.
    #[error("failed to write the result")]
    Output(#[source] io::Error),
    /// The server ended a subscription or the connection for good.
    #[error("{0}")]
    Ended(String),
    /// Nodes that were to be looked at cannot be reached; each was reported.
    #[error("cannot reach {0}")]
    Away(String),
    /// Nodes did not answer what they were asked, with the reason of each.
    #[error("no answer from {0}")]
    Unanswered(String),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The node cannot start, or go on.
    #[error(transparent)]
    App(#[from] app::Error),
    /// The demo's data cannot be used.
    #[error("failed to prepare the demo: {0}")]
    Demo(String),
    /// The database cannot be worked with.
    #[error("failed to {0}")]
    Database(#[from] session::Error),
    /// None of a database's servers is the primary.
    #[error("failed to {0}")]
    Primary(servers::Error),
    /// Databases could not be set up.
    #[error("{}", failures(.failed))]
    Migrate {
        /// Which ones, and what failed there.
        failed: Vec<(String, migrate::Error)>,
        /// Whether it was found out before anything was changed in the others.
        others_are_unchanged: bool,
    },
    /// Shards could not be placed; nothing was changed.
    #[error("failed to {0}")]
    Placement(placement::Error),
    /// The database could not be read.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Nothing could be measured, or answers were wrong.
    #[cfg(feature = "bench")]
    #[error("failed to {0}")]
    Bench(#[from] bench::Error),
    /// What was looked for was found, and it is nothing good.
    #[error("{0}")]
    Found(String),
    /// No runtime.
    #[error("failed to start the runtime")]
    Runtime(#[source] io::Error),
}

/// The client's errors are fragments; a refusal is a sentence of the server's.
fn lead(error: &client::Error) -> String {
    match error {
        client::Error::Rpc(refusal) => format!("the server refused: {refusal}"),
        error => format!("failed to {error}"),
    }
}

/// Each with what may help, but the last: its hint follows.
fn failures(failed: &[(String, migrate::Error)]) -> String {
    let mut text = String::new();
    for (at, (place, error)) in failed.iter().enumerate() {
        text.push_str(&format!("{place}: failed to {error}"));
        if at + 1 < failed.len() {
            text.push_str(&format!("\n  {}\n", error.hint()));
        }
    }
    text
}

impl From<servers::Error> for Error {
    fn from(error: servers::Error) -> Self {
        match error {
            servers::Error::Connect(error) => Error::Database(error),
            error => Error::Primary(error),
        }
    }
}

impl Error {
    /// 0 done, 1 failed, 2 usage, 3 absent, 4 conflict, 69 unavailable (`EX_UNAVAILABLE` of sysexits.h).
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_) | Error::Config(_) => 2,
            Error::Absent(_) => 3,
            Error::Away(_) | Error::Unanswered(_) => 69,
            Error::App(app::Error::TaskEnded { .. } | app::Error::ServerEnded(_)) => 70,
            Error::App(app::Error::Store(store::Error::Unavailable { .. } | store::Error::Deadline)) => 69,
            Error::Client(error) => client_code(error),
            Error::Database(error) => database_code(error),
            Error::Migrate { failed, .. } => match failed.first() {
                Some((_, migrate::Error::Connect(error))) => database_code(error),
                Some((_, migrate::Error::Primary(error))) => primary_code(error),
                _ => 1,
            },
            Error::Primary(error) => primary_code(error),
            Error::Store(store::Error::Unavailable { .. }) => 69,
            #[cfg(feature = "bench")]
            Error::Bench(bench::Error::Connect { .. }) => 69,
            #[cfg(feature = "bench")]
            Error::Bench(bench::Error::Url { .. }) => 2,
            _ => 1,
        }
    }

    /// Tells stderr and gives the exit code. A reader that has gone, as in `freshet watch .. | head`, is no error.
    pub(super) fn report(&self) -> ExitCode {
        if matches!(self, Error::Output(error) if error.kind() == io::ErrorKind::BrokenPipe) {
            return ExitCode::SUCCESS;
        }
        eprintln!("freshet: {}", self.explain());
        ExitCode::from(self.exit_code())
    }

    /// Tells the log, for a node whose log programs read, and gives the exit code.
    pub(super) fn log(&self) -> ExitCode {
        tracing::error!("{}", self.explain());
        ExitCode::from(self.exit_code())
    }

    /// The error, its causes, what the server added, and what may help, in lines.
    fn explain(&self) -> String {
        let mut text = explained(self);
        for (name, value) in self.refusal_data() {
            if name != "reason" {
                text.push_str(&format!("\n  {name}: {value}"));
            }
        }
        if let Some(hint) = self.hint() {
            text.push_str(&format!("\n  {hint}"));
        }
        text
    }

    fn refusal_data(&self) -> impl Iterator<Item = (&String, &serde_json::Value)> {
        let refusal = match self {
            Error::Client(error) => error.refusal(),
            _ => None,
        };
        refusal.into_iter().flat_map(|refusal| &refusal.data)
    }

    fn hint(&self) -> Option<String> {
        match self {
            Error::Client(error) => hint(error).map(str::to_owned),
            Error::Database(error) => Some(error.hint().to_owned()),
            Error::Primary(error) => Some(error.hint().to_owned()),
            Error::Migrate { failed, others_are_unchanged } => {
                let hint = failed.last().map(|(_, error)| error.hint())?;
                let unchanged = if *others_are_unchanged { "\n  nothing was changed in any database" } else { "" };
                Some(hint + unchanged)
            }
            Error::Placement(error) => Some(error.hint()),
            Error::App(app::Error::Server(server::Error::NoBinaries)) => Some(INSTALL.to_owned()),
            Error::App(app::Error::Store(store::Error::Unavailable { .. } | store::Error::Deadline)) => {
                Some("is the database running, and is its url right? `freshet doctor` looks closer".to_owned())
            }
            Error::App(app::Error::Listen { key, .. }) => {
                Some(format!("choose another address with --{key}, or `{key}` of [gateway] in the configuration"))
            }
            _ => None,
        }
    }
}

fn database_code(error: &session::Error) -> u8 {
    match error {
        session::Error::Url { .. } => 2,
        session::Error::Unreachable { .. } => 69,
        _ => 1,
    }
}

fn primary_code(error: &servers::Error) -> u8 {
    if error.is_retryable() { 69 } else { 1 }
}

fn client_code(error: &client::Error) -> u8 {
    match error {
        client::Error::Rpc(refusal) => match refusal.kind() {
            Some(Code::VersionConflict) => 4,
            Some(Code::Unavailable | Code::Overloaded | Code::RateLimited | Code::Deadline) => 69,
            _ => 1,
        },
        client::Error::Handshake { status, .. } if *status < 500 => 1,
        client::Error::Connect { .. } | client::Error::Handshake { .. } => 69,
        client::Error::Timeout | client::Error::Disconnected => 69,
        client::Error::Value(_) | client::Error::Address { .. } => 2,
        _ => 1,
    }
}

fn hint(error: &client::Error) -> Option<&'static str> {
    match error {
        client::Error::Connect { .. } => Some("is it running? start it with `freshet demo`, or name it with --url"),
        client::Error::Handshake { status: 421, .. } => {
            Some("the node does not serve that name: list it in its gateway.hosts, or connect by IP address")
        }
        client::Error::Handshake { status: 401 | 403, .. } => Some("give a token with --token or FRESHET_TOKEN"),
        client::Error::OutcomeUnknown => Some("read the record, or repeat writes safely with --idempotency-key"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::client::{Client, Options, testing::Server};

    #[test]
    fn every_end_has_its_exit_code() {
        let absent = Error::Absent("products/a".into());
        assert_eq!((Error::Usage(String::new()).exit_code(), absent.exit_code()), (2, 3));
        assert_eq!(Error::Lines { failed: 1, total: 2 }.exit_code(), 1);
        assert_eq!(Error::Client(client::Error::OutcomeUnknown).exit_code(), 1);
        assert_eq!(Error::Client(client::Error::Timeout).exit_code(), 69);
        assert_eq!(Error::App(app::Error::TaskEnded { task: "hub" }).exit_code(), 70);
        let away = store::Error::Unavailable { reason: "nobody".into() };
        assert_eq!(Error::App(app::Error::Store(away)).exit_code(), 69);
    }

    #[test]
    fn a_missing_postgresql_says_how_to_install_it() {
        let text = Error::App(server::Error::NoBinaries.into()).explain();
        for part in ["find the PostgreSQL server programs", "apt-get install postgresql", "--database-url", "--memory"]
        {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn a_name_that_is_not_served_says_how_to_list_it() {
        let refused = client::Error::Handshake { url: "ws://web1:8080/v1/ws".into(), status: 421 };
        assert!(Error::from(refused).explain().contains("gateway.hosts"));
    }

    #[tokio::test]
    async fn nobody_there_says_how_to_start_it() {
        let (server, url) = Server::start().await;
        drop(server);
        let options = Options::new().connect_timeout(Duration::from_secs(2));
        let error = Error::from(Client::connect(&url, options).await.expect_err("nobody"));
        assert_eq!(error.exit_code(), 69);
        let text = error.explain();
        assert!(text.starts_with("failed to connect to ws://") && text.contains("`freshet demo`"), "{text}");
    }
}
