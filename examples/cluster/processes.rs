//! The processes of a PostgreSQL server on this machine, found by its lock file: stopped where they stand, or killed.

use std::{
    fs,
    io::{self, Error},
    path::Path,
};

use nix::{
    sys::signal::{Signal, kill as send},
    unistd::Pid,
};

/// Stops every process of the server on `data_dir` where it stands: connections stay, and nothing is answered.
///
/// # Errors
/// When it does not run.
pub fn freeze(data_dir: &Path) -> io::Result<()> {
    let parent = parent(data_dir)?;
    // The parent first: stopped, it forks no more.
    send(parent, Signal::SIGSTOP)?;
    send_to_children(parent, Signal::SIGSTOP)
}

/// Lets a frozen server go on.
///
/// # Errors
/// When it does not run.
pub fn thaw(data_dir: &Path) -> io::Result<()> {
    let parent = parent(data_dir)?;
    send_to_children(parent, Signal::SIGCONT)?;
    Ok(send(parent, Signal::SIGCONT)?)
}

/// Kills every process that serves, so that none writes or says anything more; the next start recovers from the log. Only
/// the parent ends by itself, at once, and gives its shared memory back.
///
/// # Errors
/// When it does not run.
pub fn kill(data_dir: &Path) -> io::Result<()> {
    let parent = parent(data_dir)?;
    send(parent, Signal::SIGSTOP)?;
    send_to_children(parent, Signal::SIGKILL)?;
    // Known to the parent before the deaths of its children are, so that it starts none again.
    send(parent, Signal::SIGQUIT)?;
    Ok(send(parent, Signal::SIGCONT)?)
}

fn parent(data_dir: &Path) -> io::Result<Pid> {
    let lock = fs::read_to_string(data_dir.join("postmaster.pid"))?;
    let pid = lock.lines().next().unwrap_or_default().trim().parse();
    pid.map(Pid::from_raw).map_err(Error::other)
}

fn send_to_children(parent: Pid, signal: Signal) -> io::Result<()> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
    for child in children.split_whitespace() {
        // One that has ended meanwhile needs no signal.
        let _ = send(Pid::from_raw(child.parse().map_err(Error::other)?), signal);
    }
    Ok(())
}
