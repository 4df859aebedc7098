//! Why a private Redis could not be started, and what to do about it.

use std::{path::PathBuf, process::ExitStatus, time::Duration};

/// Why a private Redis could not be started. A node can do without it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No server program is installed where [`find_binary`](super::find_binary) looks, or at [`Options::program`](super::Options::program).
    #[error("find redis-server or valkey-server (put one on PATH, or install Redis)")]
    NoBinary,
    /// We run as root, and there is no ordinary account to run the server as.
    #[error("find an ordinary account to run Redis as: none of redis, valkey and nobody exists")]
    NoAccount,
    /// The server's account cannot reach its folder, because of a directory above it.
    #[error("reach {folder} as {account}: {barrier} is closed to others (set TMPDIR to a folder outside it)")]
    Unreachable {
        /// The server's folder.
        folder: PathBuf,
        /// The account that the server would run as.
        account: String,
        /// The directory above that is closed.
        barrier: PathBuf,
    },
    /// The temporary folder's path leaves no room for a socket's.
    #[error("make a socket in {folder}: its path is too long (set TMPDIR to a shorter one)")]
    TooLong {
        /// The server's folder.
        folder: PathBuf,
    },
    /// The temporary folder cannot be written.
    #[error("write {path} (is the file system read-only or full?)")]
    Write {
        /// The path that could not be written.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The program could not be run.
    #[error("start {program}")]
    Run {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The server ended by itself, before it answered or later.
    #[error("run {program}: it ended with {status}, saying: {output}")]
    Ended {
        /// The program.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// The end of its log.
        output: String,
    },
    /// The server runs but did not answer in time.
    #[error("get an answer of {program} within {} s", limit.as_secs())]
    NotReady {
        /// The program.
        program: PathBuf,
        /// [`Options::start_limit`](super::Options::start_limit).
        limit: Duration,
        /// What the last connection came to.
        source: redis::RedisError,
    },
}
