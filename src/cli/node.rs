//! What `serve` and `demo` have in common: the options of a node and how it is told to stop.

use std::{net::SocketAddr, path::PathBuf};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use super::{
    Error,
    output::{Format, has_colours},
};
use crate::config::Config;

/// Options of a node on the command line; they win over the configuration.
#[derive(Clone, Debug, clap::Args)]
pub struct NodeArgs {
    /// The configuration; see config/freshet.toml for every key.
    #[arg(long, short, value_name = "FILE", env = "FRESHET_CONFIG")]
    pub config: Option<PathBuf>,
    /// The address clients connect to.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// The address of health, metrics and statistics.
    #[arg(long, value_name = "ADDRESS")]
    pub operations: Option<SocketAddr>,
    /// Start a private PostgreSQL that keeps its data here; it ends with the node.
    #[arg(long, value_name = "FOLDER", conflicts_with = "memory")]
    pub data_dir: Option<PathBuf>,
    /// Keep records in memory only: they are gone when the node ends.
    #[arg(long)]
    pub memory: bool,
}

impl NodeArgs {
    /// The configuration with these options laid over it. A node without collections of its own to keep in memory
    /// gets those of the shipped configuration.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn configuration(&self) -> Result<Config, Error> {
        let mut config = Config::load(self.config.as_deref())?;
        config.gateway.listen = self.listen.unwrap_or(config.gateway.listen);
        config.gateway.operations = self.operations.unwrap_or(config.gateway.operations);
        if config.collections.is_empty() {
            config.collections = Config::shipped_collections();
        }
        Ok(config)
    }
}

/// The folder for data when none is named: one that the account PostgreSQL runs under can reach.
pub fn default_folder() -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
    match std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).or_else(home) {
        Some(folder) if !nix::unistd::geteuid().is_root() => folder.join("freshet"),
        _ => PathBuf::from("/var/lib/freshet"),
    }
}

/// Sends the log to stderr, for people or as a JSON object a line. `RUST_LOG` sets what is logged, `level` is the default.
pub fn start_log(level: &str, format: Format) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // A second start in one process, as in tests, keeps the first.
    drop(match format {
        Format::Human => log.with_ansi(has_colours(&std::io::stderr())).try_init(),
        Format::Json => log.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
    });
}

/// A token that fires at SIGTERM or SIGINT. A second signal ends the process at once.
///
/// # Errors
/// [`Error::Runtime`] when the signals cannot be watched.
pub fn stop_on_signal() -> Result<CancellationToken, Error> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Runtime)?;
    let stop = CancellationToken::new();
    let fired = stop.clone();
    // It has no end to wait for: it listens as long as the process lives.
    tokio::spawn(async move {
        for urgent in [false, true] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if urgent {
                #[expect(clippy::exit, reason = "a second signal asks for just that")]
                std::process::exit(130);
            }
            fired.cancel();
        }
    });
    Ok(stop)
}
