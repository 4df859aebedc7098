//! Why a private server could not be started, and what to do about it.

use std::{path::PathBuf, process::ExitStatus, time::Duration};

/// Why a private server could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No PostgreSQL is installed where [`find_binaries`](super::find_binaries) looks.
    #[error("find the PostgreSQL server programs (put initdb and postgres on PATH, or install PostgreSQL)")]
    NoBinaries,
    /// We run as root, and there is no ordinary account to run the server as.
    #[error("find an ordinary account to run PostgreSQL as: root may not, and neither postgres nor nobody exists")]
    NoAccount,
    /// Another server, still running, has the data directory.
    #[error("use {path}: the server with process id {pid} has it (stop that server, or choose another data directory)")]
    Locked {
        /// The data directory.
        path: PathBuf,
        /// The server that holds it.
        pid: i32,
    },
    /// The data was written by another major version of PostgreSQL.
    #[error("use {path}: its data is of PostgreSQL {found}, installed is {installed} (install {found}, or pg_upgrade)")]
    OtherMajor {
        /// The data directory.
        path: PathBuf,
        /// The major version that wrote the data.
        found: String,
        /// The major version of the binaries.
        installed: String,
    },
    /// The directory holds something, but no PostgreSQL data.
    #[error("use {path}: it is not empty and holds no PostgreSQL data (choose an empty data directory)")]
    NotPostgres {
        /// The directory.
        path: PathBuf,
    },
    /// The directory belongs to another account than the one that would run the server.
    #[error("use {path}: it does not belong to {account} (run as its owner, or choose another data directory)")]
    NotOurs {
        /// The directory.
        path: PathBuf,
        /// The account that the server would run as.
        account: String,
    },
    /// The server's account can not reach the directory, because of a directory above it.
    #[error(
        "reach {path} as {account}: {barrier} is closed to others (choose a data directory outside it, such as /var/lib/freshet)"
    )]
    Unreachable {
        /// The data directory.
        path: PathBuf,
        /// The account that the server would run as.
        account: String,
        /// The directory above that is closed.
        barrier: PathBuf,
    },
    /// The directory can not be created or written, a read-only file system included.
    #[error("write {path} (is the file system read-only, or the directory someone else's?)")]
    Write {
        /// The path that could not be written.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A program could not be run.
    #[error("run {program}")]
    Run {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// `initdb` ran and failed.
    #[error("initialise {path}: initdb said: {output}")]
    Initdb {
        /// The data directory.
        path: PathBuf,
        /// The end of what it printed.
        output: String,
    },
    /// `pg_basebackup`, which copies a primary, is not installed with the server programs.
    #[error(
        "find pg_basebackup beside postgres in {binaries} (install PostgreSQL's client programs of the same version)"
    )]
    NoBackupProgram {
        /// Where the server programs are.
        binaries: PathBuf,
    },
    /// `pg_basebackup` ran and failed.
    #[error(
        "copy the primary on {socket_dir} to {path}: pg_basebackup said: {output} (is the primary running, with wal_level replica or logical, and with two of its max_wal_senders free?)"
    )]
    Copy {
        /// The standby's data directory.
        path: PathBuf,
        /// The directory of the primary's socket.
        socket_dir: PathBuf,
        /// The end of what it printed.
        output: String,
    },
    /// The server ended by itself, before it accepted a connection or later.
    #[error("run PostgreSQL on {path}: it ended with {status}, saying: {output}")]
    Ended {
        /// The data directory.
        path: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// The end of its log.
        output: String,
    },
    /// The server runs but did not accept a connection in time.
    #[error("connect to PostgreSQL on {path} within {} s", limit.as_secs())]
    NotReady {
        /// The data directory.
        path: PathBuf,
        /// [`Options::start_limit`](super::Options::start_limit).
        limit: Duration,
        /// The last refusal.
        source: sqlx::Error,
    },
}
