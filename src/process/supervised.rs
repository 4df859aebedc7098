//! A program that cannot outlive us.
//!
//! A shell of a dozen lines starts the program and reads a pipe whose other end is ours. The pipe closes when we close it or
//! end in any way, SIGKILL included; then the shell sends the program's signal. Both are in a process group of their own, so
//! that Ctrl-C in a terminal reaches us alone and a server outlives our drain.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use nix::sys::signal::Signal;
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use super::Account;

/// How a program is ended and what is removed after it.
#[derive(Debug)]
pub struct Farewell {
    /// What ends it. It is repeated every second, so a program that ends slowly must not mind.
    pub signal: Signal,
    /// Folders that go with it.
    pub remove: [Option<PathBuf>; 2],
}

/// An interrupt, and nothing is removed.
impl Default for Farewell {
    fn default() -> Self {
        Farewell { signal: Signal::SIGINT, remove: [None, None] }
    }
}

/// A running program and its shell. Dropping it ends the program, without waiting for the end.
#[derive(Debug)]
pub struct Supervised {
    shell: Child,
}

impl Supervised {
    /// Starts `program` as `account`, its output going to `log`. `farewell` is for its end.
    ///
    /// # Errors
    /// When no shell can be started. A program that cannot be run ends at once, and `log` says why.
    pub fn spawn(
        program: &Path,
        arguments: &[String],
        account: &Account,
        log: File,
        farewell: Farewell,
    ) -> io::Result<Self> {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT, &format!("freshet-{name}")]);
        command.arg((farewell.signal as i32).to_string());
        command.args(farewell.remove.map(Option::unwrap_or_default));
        command.arg(program).args(arguments);
        command.current_dir("/").env("LC_ALL", "C").process_group(0);
        command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
        if let Some((uid, gid)) = account.switch() {
            command.uid(uid).gid(gid);
        }
        Ok(Self { shell: command.spawn()? })
    }

    /// How the program ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.shell.try_wait().ok().flatten()
    }

    /// Waits for a program that ends by itself.
    ///
    /// # Errors
    /// When the system does not tell how it ended.
    pub async fn wait(mut self) -> io::Result<ExitStatus> {
        let pipe = self.shell.stdin.take();
        let status = self.shell.wait().await;
        drop(pipe);
        status
    }

    /// Closes the pipe and waits until the program has ended and its folders are removed. `None` when that takes longer than
    /// `limit`; then [`Self::wait`] waits on.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the program ending by itself.
    pub async fn stop(&mut self, limit: Duration) -> Option<io::Result<ExitStatus>> {
        drop(self.shell.stdin.take());
        timeout(limit, self.shell.wait()).await.ok()
    }
}

/// $1 is the signal that ends the program, $2 and $3 are folders to remove in the end, or empty; the rest is the program
/// with its arguments.
///
/// `read` waits for the pipe to close: nothing is ever written to it. The signal is repeated because a program
/// that a shell puts in the background ignores it until it has set its own handler.
///
/// The hang-up is ignored for what the kernel does when we end while the program is stopped, by SIGSTOP for example: their
/// group is an orphaned one then, with a stopped member, and is sent SIGHUP and SIGCONT. The shell would end of that, and a
/// program that minds no hang-up would run on for ever.
///
/// # Source
/// POSIX, `_exit`, "Consequences of Process Termination".
const SCRIPT: &str = r#"
signal=$1; first=$2; second=$3; shift 3
exec 3<&0
"$@" 3<&- &
child=$!
trap '' HUP
( read -r _ <&3; while kill -"$signal" "$child"; do sleep 1; done ) 2>/dev/null &
watch=$!
exec 3<&-
wait "$child"; status=$?
kill "$watch" 2>/dev/null
[ -z "$first" ] || rm -rf -- "$first"
[ -z "$second" ] || rm -rf -- "$second"
exit "$status"
"#;
