//! The data directory: made when new, refused with a reason when it can not be used.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::ExitStatus,
};

use nix::{errno::Errno, sys::signal::kill, unistd::Pid};
use tokio::process::Command;

use super::{Error, Options, making::Making};
use crate::process::{Account, end_of};

/// The server's log inside the data directory.
pub(super) const LOG: &str = "freshet-postgres.log";

/// A log longer than this is started anew with the server.
const LOG_BYTES_MAX: u64 = 8 << 20;

/// An initialised data directory that no running server has.
#[derive(Debug)]
pub(super) struct DataDir {
    path: PathBuf,
}

impl DataDir {
    pub(super) async fn prepare(options: &Options, binaries: &Path, account: &Account) -> Result<Self, Error> {
        let path = create(&options.data_dir)?;
        if let Some(barrier) = account.barrier(&path) {
            return Err(Error::Unreachable { path, account: account.name().to_owned(), barrier });
        }
        if !path.join("PG_VERSION").is_file() {
            make(&path, options, binaries, account).await?;
        }
        check_owner(&path, account)?;
        check_version(&path, binaries).await?;
        check_unlocked(&path)?;
        Ok(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn open_log(&self) -> Result<File, Error> {
        let path = self.path.join(LOG);
        let is_long = fs::metadata(&path).is_ok_and(|log| log.len() > LOG_BYTES_MAX);
        let opened = File::options().create(true).append(true).open(&path);
        opened
            .and_then(|log| if is_long { log.set_len(0).map(|()| log) } else { Ok(log) })
            .map_err(|source| Error::Write { path, source })
    }

    pub(super) fn ended(&self, status: ExitStatus) -> Error {
        let log = fs::read(self.path.join(LOG)).unwrap_or_default();
        Error::Ended { path: self.path.clone(), status, output: end_of(&log) }
    }
}

fn create(path: &Path) -> Result<PathBuf, Error> {
    let write = |source| Error::Write { path: path.to_owned(), source };
    fs::create_dir_all(path).map_err(write)?;
    fs::canonicalize(path).map_err(write)
}

/// Makes the data beside `path` and renames, so that a directory is either empty or whole: `initdb` and `pg_basebackup`
/// write PG_VERSION early, and one that was killed would leave what looks like data.
async fn make(path: &Path, options: &Options, binaries: &Path, account: &Account) -> Result<(), Error> {
    let write = |source| Error::Write { path: path.to_owned(), source };
    if fs::read_dir(path).map_err(write)?.next().is_some() {
        return Err(Error::NotPostgres { path: path.to_owned() });
    }
    let fresh = beside(path, ".new");
    remove_if_there(&fresh).and_then(|()| fs::create_dir(&fresh)).map_err(write)?;
    account.take(&fresh).map_err(write)?;
    let making = Making { binaries, account, sync: options.sync };
    match &options.primary {
        None => making.initialise(&fresh).await?,
        Some(primary) => making.copy(primary, &fresh, path).await?,
    }
    fs::rename(&fresh, path).map_err(write)
}

pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn check_owner(path: &Path, account: &Account) -> Result<(), Error> {
    match account.owns(path) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::NotOurs { path: path.to_owned(), account: account.name().to_owned() }),
        Err(source) => Err(Error::Write { path: path.to_owned(), source }),
    }
}

async fn check_version(path: &Path, binaries: &Path) -> Result<(), Error> {
    let program = binaries.join("postgres");
    let printed = Command::new(&program).arg("--version").kill_on_drop(true).output().await;
    let printed = printed.map_err(|source| Error::Run { program, source })?.stdout;
    let installed = major(&String::from_utf8_lossy(&printed));
    let found =
        fs::read_to_string(path.join("PG_VERSION")).map_err(|source| Error::Write { path: path.to_owned(), source })?;
    let found = found.trim().to_owned();
    if found == installed { Ok(()) } else { Err(Error::OtherMajor { path: path.to_owned(), found, installed }) }
}

/// `15` of "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", and of "16beta1".
fn major(printed: &str) -> String {
    let version = printed.split_whitespace().nth(2).unwrap_or_default();
    version.chars().take_while(char::is_ascii_digit).collect()
}

/// Refuses a directory whose postmaster lives. A stale file of a crashed one is PostgreSQL's to clear away,
/// also when its process id is another program's by now.
fn check_unlocked(path: &Path) -> Result<(), Error> {
    let lock = fs::read_to_string(path.join("postmaster.pid")).unwrap_or_default();
    match lock.lines().next().and_then(|line| line.trim().parse().ok()) {
        Some(pid) if pid > 0 && is_postgres(pid) => Err(Error::Locked { path: path.to_owned(), pid }),
        _ => Ok(()),
    }
}

fn is_postgres(pid: i32) -> bool {
    let is_alive = !matches!(kill(Pid::from_raw(pid), None), Err(Errno::ESRCH));
    let name = fs::read_to_string(format!("/proc/{pid}/comm"));
    is_alive && name.is_ok_and(|name| matches!(name.trim(), "postgres" | "postmaster"))
}

#[cfg(test)]
mod tests {
    use super::major;

    #[test]
    fn major_version_is_read_from_releases_and_betas() {
        assert_eq!(major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), "15");
        assert_eq!(major("postgres (PostgreSQL) 19beta1"), "19");
    }
}
