//! Where the server's socket lies, and how a URL spells that.

use std::{
    env,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};

use super::Error;
use crate::process::Account;

/// `sun_path` holds 108 bytes with its final NUL on Linux, 104 on macOS; PostgreSQL adds this name.
const DIRECTORY_BYTES_MAX: usize = 103 - "/.s.PGSQL.65535".len();

/// The data directory itself, closed to others; when its path is too long, a fresh one in the temporary folder.
pub(super) fn directory(data_dir: &Path, account: &Account) -> Result<PathBuf, Error> {
    if data_dir.as_os_str().len() <= DIRECTORY_BYTES_MAX {
        return Ok(data_dir.to_owned());
    }
    account.fresh_folder().map_err(|source| Error::Write { path: env::temp_dir(), source })
}

/// A URL that sqlx and libpq understand.
pub(super) fn url(socket_dir: &Path, port: u16, user: &str, database: &str) -> String {
    format!("postgres://{user}@localhost:{port}/{database}?host={}", percent_encoded(socket_dir))
}

/// Everything but letters and digits is encoded, `/` included.
fn percent_encoded(path: &Path) -> String {
    percent_encode(path.as_os_str().as_bytes(), NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::percent_encoded;

    #[test]
    fn a_path_is_encoded_byte_by_byte() {
        assert_eq!(percent_encoded(Path::new("/tmp/a b/ü-1_~.x")), "%2Ftmp%2Fa%20b%2F%C3%BC%2D1%5F%7E%2Ex");
    }
}
