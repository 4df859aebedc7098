//! The rows that were not written, with the reasons, as JSON lines.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use super::row::Rejection;
use crate::cli::Error;

/// A file that is made with the first row it holds.
#[derive(Debug)]
pub(super) struct Rejects {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
}

impl Rejects {
    /// Those of a load that had come as far as `bytes`; what was written behind them is cut off, as it will come again.
    /// A load that begins takes away what an earlier one left.
    ///
    /// # Errors
    /// [`Error::Keep`].
    pub(super) fn open(path: PathBuf, bytes: u64) -> Result<Self, Error> {
        let mut rejects = Rejects { path, file: None, bytes };
        let prepare = |path: &Path| -> io::Result<Option<File>> {
            if bytes == 0 {
                return match std::fs::remove_file(path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                    _ => Ok(None),
                };
            }
            let file = OpenOptions::new().append(true).open(path)?;
            file.set_len(bytes)?;
            Ok(Some(file))
        };
        rejects.file = prepare(&rejects.path).map_err(|source| rejects.failed(source))?;
        Ok(rejects)
    }

    /// Adds a row.
    ///
    /// # Errors
    /// [`Error::Keep`].
    pub(super) fn add(&mut self, rejection: &Rejection) -> Result<(), Error> {
        let mut add = || -> io::Result<usize> {
            let mut line = serde_json::to_vec(rejection)?;
            line.push(b'\n');
            if self.file.is_none() {
                self.file = Some(OpenOptions::new().create(true).append(true).open(&self.path)?);
            }
            self.file.as_mut().map_or(Ok(()), |file| file.write_all(&line))?;
            Ok(line.len())
        };
        let added = add().map_err(|source| self.failed(source))?;
        self.bytes += added as u64;
        Ok(())
    }

    /// Its length.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::Keep { path: self.path.display().to_string(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_that_goes_on_keeps_what_was_settled_and_drops_what_comes_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("c.rejected");
        let row = |line| Rejection::new(line, Some("price"), "too low", r#"{"price":-1}"#);
        let mut rejects = Rejects::open(path.clone(), 0).expect("opened");
        rejects.add(&row(1)).expect("added");
        let settled = rejects.bytes();
        rejects.add(&row(2)).expect("added");
        let mut rejects = Rejects::open(path.clone(), settled).expect("opened");
        rejects.add(&row(3)).expect("added");
        let text = std::fs::read_to_string(&path).expect("read");
        let first = "{\"line\":1,\"column\":\"price\",\"reason\":\"too low\",\"row\":{\"price\":-1}}\n";
        assert_eq!(text, format!("{first}{}", first.replace("\"line\":1", "\"line\":3")));
        drop(Rejects::open(path.clone(), 0).expect("opened"));
        assert!(!path.exists(), "a new load begins without");
    }
}
