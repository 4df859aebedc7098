//! A process that can not outlive us.
//!
//! A shell of a dozen lines starts the program and reads a pipe whose other end is ours. The pipe closes
//! when we close it or end in any way, SIGKILL included; then the shell sends SIGINT, PostgreSQL's fast
//! shutdown (SIGQUIT, its immediate one, when the data is thrown away). Both are in a process group of their own, so that Ctrl-C in a terminal reaches us alone
//! and the database outlives our drain.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use super::{Error, Options};
use crate::process::Account;

/// $1 is the signal that ends the program, $2 and $3 are directories to remove in the end, or empty; the
/// rest is the program with its arguments.
/// `read` waits for the pipe to close: nothing is ever written to it. The signal is repeated because a program
/// that a shell puts in the background ignores it until it has set its own handler.
const SCRIPT: &str = r#"
signal=$1; socket=$2; data=$3; shift 3
exec 3<&0
"$@" 3<&- &
child=$!
( read -r _ <&3; while kill -"$signal" "$child"; do sleep 1; done ) 2>/dev/null &
watch=$!
exec 3<&-
wait "$child"; status=$?
kill "$watch" 2>/dev/null
[ -z "$socket" ] || rm -rf -- "$socket"
[ -z "$data" ] || rm -rf -- "$data"
exit "$status"
"#;

/// How long a fast shutdown may take before the server is ended at once.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// How a program is ended and what is removed after it.
#[derive(Debug, Default)]
pub(super) struct Farewell {
    socket_dir: Option<PathBuf>,
    data_dir: Option<PathBuf>,
}

impl Farewell {
    /// A socket's directory of its own goes with the server; the data only when it is ephemeral.
    pub(super) fn new(options: &Options, data_dir: &Path, socket_dir: &Path) -> Self {
        Self {
            socket_dir: (socket_dir != data_dir).then(|| socket_dir.to_owned()),
            data_dir: options.is_ephemeral.then(|| data_dir.to_owned()),
        }
    }

    fn signal(&self) -> &'static str {
        if self.data_dir.is_some() { "QUIT" } else { "INT" }
    }
}

/// A running program and its shell.
#[derive(Debug)]
pub(super) struct Supervised {
    shell: Child,
    is_abrupt: bool,
}

impl Supervised {
    /// Starts `program` as `account`, its output going to `log`. `farewell` is for its end.
    pub(super) fn spawn(
        program: &Path,
        arguments: &[String],
        account: &Account,
        log: File,
        farewell: Farewell,
    ) -> Result<Self, Error> {
        let run = |source| Error::Run { program: program.to_owned(), source };
        let is_abrupt = farewell.data_dir.is_some();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT, "freshet-postgres"]);
        command.arg(farewell.signal());
        command.args([farewell.socket_dir, farewell.data_dir].map(Option::unwrap_or_default));
        command.arg(program).args(arguments);
        command.current_dir("/").env("LC_ALL", "C").process_group(0);
        command.stdin(Stdio::piped()).stdout(log.try_clone().map_err(run)?).stderr(log);
        if let Some((uid, gid)) = account.switch() {
            command.uid(uid).gid(gid);
        }
        Ok(Self { shell: command.spawn().map_err(run)?, is_abrupt })
    }

    /// How the program ended, if it has.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.shell.try_wait().ok().flatten()
    }

    /// Waits for a program that ends by itself.
    pub(super) async fn wait(mut self) -> io::Result<ExitStatus> {
        let pipe = self.shell.stdin.take();
        let status = self.shell.wait().await;
        drop(pipe);
        status
    }

    /// Closes the pipe and waits for the end of the server whose data directory is `data_dir`.
    pub(super) async fn stop(mut self, data_dir: &Path) {
        drop(self.shell.stdin.take());
        match timeout(STOP_LIMIT, self.shell.wait()).await {
            Ok(Ok(status)) if status.success() || self.is_abrupt => {}
            Ok(ended) => {
                tracing::warn!(?ended, "the private PostgreSQL server did not end cleanly");
            }
            Err(_) => {
                tracing::warn!("the private PostgreSQL server did not stop in time and is ended at once");
                quit(data_dir);
                let _ = self.shell.wait().await;
            }
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
