//! How the server ends: PostgreSQL's fast shutdown, which writes a checkpoint, or its immediate one, when the data is thrown
//! away.

use std::{fs, path::Path, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::Options;
use crate::process::{Farewell, Supervised};

/// How long a fast shutdown may take before the server is ended at once.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// The end of a server with such options. A socket's directory of its own goes with it; the data only when it is ephemeral.
pub(super) fn farewell(options: &Options, data_dir: &Path, socket_dir: &Path) -> Farewell {
    let socket = (socket_dir != data_dir).then(|| socket_dir.to_owned());
    let data = options.is_ephemeral.then(|| data_dir.to_owned());
    let signal = if options.is_ephemeral { Signal::SIGQUIT } else { Signal::SIGINT };
    Farewell { signal, remove: [socket, data] }
}

/// Ends the server on `data_dir` and returns when it has ended.
pub(super) async fn stop(mut process: Supervised, data_dir: &Path, is_ephemeral: bool) {
    match process.stop(STOP_LIMIT).await {
        Some(Ok(status)) if status.success() || is_ephemeral => {}
        Some(ended) => tracing::warn!(?ended, "the private PostgreSQL server did not end cleanly"),
        None => {
            tracing::warn!("the private PostgreSQL server did not stop in time and is ended at once");
            quit(data_dir);
            let _ = process.wait().await;
        }
    }
}

/// PostgreSQL's immediate shutdown.
fn quit(data_dir: &Path) {
    let lock = fs::read_to_string(data_dir.join("postmaster.pid")).unwrap_or_default();
    if let Some(pid) = lock.lines().next().and_then(|line| line.trim().parse().ok()) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGQUIT);
    }
}
