//! A server that runs already, found by its lock file.

use std::{
    fs,
    path::{Path, PathBuf},
};

use nix::{errno::Errno, sys::signal::kill, unistd::Pid};

use super::{SUPERUSER, socket};

/// The URL of `database` on the server that runs on `data_dir`, found from its lock file; `None` when none runs there
/// or we may not look.
///
/// # Source
/// PostgreSQL's `miscadmin.h`: line 1 of `postmaster.pid` is the process id, 4 the port, 5 the socket's directory.
pub fn running_url(data_dir: &Path, database: &str) -> Option<String> {
    let lock = fs::read_to_string(data_dir.join("postmaster.pid")).ok()?;
    let lines: Vec<_> = lock.lines().map(str::trim).collect();
    let (pid, port): (i32, u16) = (lines.first()?.parse().ok()?, lines.get(3)?.parse().ok()?);
    let socket_dir = PathBuf::from(lines.get(4).filter(|line| !line.is_empty())?);
    let is_running = pid > 0 && is_postgres(pid) && socket_dir.join(format!(".s.PGSQL.{port}")).exists();
    is_running.then(|| socket::url(&socket_dir, port, SUPERUSER, database))
}

/// Whether the process lives and, where the system tells, is PostgreSQL: after a crash its number may be another's.
fn is_postgres(pid: i32) -> bool {
    let is_alive = !matches!(kill(Pid::from_raw(pid), None), Err(Errno::ESRCH));
    let name = fs::read_to_string(format!("/proc/{pid}/comm"));
    is_alive && name.map_or(true, |name| matches!(name.trim(), "postgres" | "postmaster"))
}
