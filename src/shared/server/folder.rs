//! The server's own folder: its socket and its log.

use std::{
    env,
    fs::{self, File},
    io,
    os::unix::{ffi::OsStrExt as _, fs::FileExt as _},
    path::{Path, PathBuf},
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::Error;
use crate::process::{Account, end_of};

/// What a path may hold of a URL as it is.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `sun_path` holds 108 bytes with its final NUL on Linux, 104 on macOS. Redis cuts a longer path off without a word.
const SOCKET_BYTES_MAX: usize = 103;

/// A folder in the temporary one that only the server's account enters. The server's end removes it.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Read after the folder is gone: the server's own failure removes it.
    log: File,
}

impl Folder {
    pub(super) fn make(account: &Account) -> Result<Self, Error> {
        let path = account.fresh_folder().map_err(|source| Error::Write { path: env::temp_dir(), source })?;
        Self::open(path.clone(), account).inspect_err(|_| drop(fs::remove_dir_all(path)))
    }

    /// Makes it anew where it was, once the server has ended. Its account may have been able to empty it only.
    pub(super) fn make_again(&mut self, account: &Account) -> Result<(), Error> {
        let path = self.path.clone();
        let removed = match fs::remove_dir_all(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        };
        let made = removed.and_then(|()| account.make_folder(&path));
        made.map_err(|source| Error::Write { path: path.clone(), source })?;
        *self = Self::open(path.clone(), account).inspect_err(|_| drop(fs::remove_dir_all(path)))?;
        Ok(())
    }

    fn open(path: PathBuf, account: &Account) -> Result<Self, Error> {
        if let Some(barrier) = account.barrier(&path) {
            return Err(Error::Unreachable { folder: path, account: account.name().to_owned(), barrier });
        }
        if socket(&path).as_os_str().len() > SOCKET_BYTES_MAX {
            return Err(Error::TooLong { folder: path });
        }
        let log_path = path.join("redis.log");
        let log = File::options().create_new(true).read(true).append(true).open(&log_path);
        Ok(Self { path, log: log.map_err(|source| Error::Write { path: log_path, source })? })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn socket(&self) -> PathBuf {
        socket(&self.path)
    }

    /// A URL that the `redis` crate understands.
    pub(super) fn url(&self) -> String {
        format!("redis+unix://{}", percent_encode(self.socket().as_os_str().as_bytes(), ENCODED))
    }

    /// The log, for the server to write.
    pub(super) fn log(&self) -> io::Result<File> {
        self.log.try_clone()
    }

    /// What the server said last.
    pub(super) fn last_words(&self) -> String {
        let len = self.log.metadata().map_or(0, |log| log.len());
        let mut end = vec![0; len.min(4096) as usize];
        let start = len - end.len() as u64;
        self.log.read_exact_at(&mut end, start).map_or_else(|_| String::new(), |()| end_of(&end))
    }
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("redis.sock")
}

#[cfg(test)]
mod tests {
    use redis::{ConnectionAddr, IntoConnectionInfo as _};

    use super::*;

    #[test]
    fn the_client_reads_the_sockets_path_back_from_the_url() {
        let account = Account::ordinary(&["nobody"]).expect("an account");
        let temporary = tempfile::Builder::new().prefix("it's % ü?#").tempdir().expect("a folder");
        let folder = Folder { path: temporary.path().to_owned(), log: tempfile::tempfile().expect("a file") };
        let info = folder.url().into_connection_info().expect("a URL");
        assert_eq!(info.addr(), &ConnectionAddr::Unix(folder.socket()));
        let too_long = temporary.path().join("x".repeat(90));
        let error = Folder::open(too_long, &account).expect_err("no room for a socket");
        assert!(matches!(error, Error::TooLong { .. } | Error::Unreachable { .. }), "{error}");
    }
}
