//! How far a load has come, in a file beside its source, so that it can go on after any end.
//!
//! Promises: what the file says is settled is; it may lag behind by a second. Rows settled since are written again under
//! the idempotency key they were written under before, and that does nothing.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::cli::Error;

/// How much of the source's beginning it is known by, beside its size.
const HEAD_BYTES: u64 = 64 * 1024;

/// What is loaded, where to, and how it is read. A load goes on only if nothing of it has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin {
    pub(super) server: String,
    pub(super) collection: String,
    pub(super) bytes: u64,
    pub(super) head_sha256: String,
    /// The options that say how a row is read.
    pub(super) reading: String,
}

/// How far it has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Names the load's writes.
    pub(super) load: Uuid,
    /// Rows from the beginning that are settled: loaded or rejected.
    pub(super) rows: u64,
    /// The line of the last one.
    pub(super) line: u64,
    pub(super) loaded: u64,
    pub(super) rejected: u64,
    /// The length of the file of rejected rows.
    pub(super) rejected_bytes: u64,
}

impl Progress {
    /// A load that begins.
    pub(super) fn new() -> Self {
        Progress { load: Uuid::new_v4(), rows: 0, line: 0, loaded: 0, rejected: 0, rejected_bytes: 0 }
    }
}

/// The file.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    origin: Origin,
}

#[derive(Serialize, Deserialize)]
struct Written {
    origin: Origin,
    progress: Progress,
}

impl Origin {
    /// Fills in what the source at `path` is known by; `None` if it is not a file, such as a pipe.
    ///
    /// # Errors
    /// [`Error::Input`].
    pub(super) fn of(path: &str, server: &str, collection: &str, reading: String) -> Result<Option<Self>, Error> {
        let failed = |source| Error::Input { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Ok(None);
        }
        let mut head = Vec::new();
        file.take(HEAD_BYTES).read_to_end(&mut head).map_err(failed)?;
        let head_sha256 = hex::encode(Sha256::digest(&head));
        let (server, collection) = (server.to_owned(), collection.to_owned());
        Ok(Some(Origin { server, collection, bytes: metadata.len(), head_sha256, reading }))
    }

    /// What keeps a load from `self` from being gone on with as `other`.
    fn differs(&self, other: &Origin) -> Option<String> {
        if (self.bytes, &self.head_sha256) != (other.bytes, &other.head_sha256) {
            Some("the file is another one than when the load began".into())
        } else if self.reading != other.reading {
            Some(format!("the load began with {}", self.reading))
        } else if self.server != other.server {
            Some(format!("the load began at {}; if this is a node of the same database, add --resume", self.server))
        } else {
            None
        }
    }
}

impl Journal {
    /// The journal at `path`, and how far the load it tells of had come; a new load where there is none. With `moved`,
    /// another server is the same one.
    ///
    /// # Errors
    /// [`Error::Usage`] when it tells of another load.
    pub(super) fn open(path: PathBuf, mut origin: Origin, moved: bool) -> Result<(Self, Progress), Error> {
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((Journal { path, origin }, Progress::new()));
            }
            Err(source) => return Err(Error::Input { path: path.display().to_string(), source }),
        };
        let refused = |reason: String| {
            Error::Usage(format!("cannot go on: {reason}\n  (to begin anew, add --restart; {})", path.display()))
        };
        let Written { origin: began, progress } =
            serde_json::from_str(&text).map_err(|error| refused(format!("the progress file is damaged: {error}")))?;
        if moved {
            origin.server.clone_from(&began.server);
        }
        match began.differs(&origin) {
            Some(reason) => Err(refused(reason)),
            None => Ok((Journal { path, origin }, progress)),
        }
    }

    /// Notes `progress`, at once and whole: a crash leaves the note before.
    ///
    /// # Errors
    /// [`Error::Keep`].
    pub(super) fn save(&self, progress: &Progress) -> Result<(), Error> {
        let written = Written { origin: self.origin.clone(), progress: progress.clone() };
        let aside = self.path.with_extension("progress-new");
        let save = || -> io::Result<()> {
            let mut file = File::create(&aside)?;
            file.write_all(&serde_json::to_vec(&written)?)?;
            file.sync_all()?;
            fs::rename(&aside, &self.path)
        };
        save().map_err(|source| Error::Keep { path: self.path.display().to_string(), source })
    }

    /// The load is done: there is nothing to go on with.
    pub(super) fn remove(&self) {
        // It may never have been saved.
        drop(fs::remove_file(&self.path));
    }
}

/// Forgets the load that the journal at `path` tells of.
pub(super) fn forget(path: &Path) {
    drop(fs::remove_file(path));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(server: &str) -> Origin {
        Origin {
            server: server.into(),
            collection: "c".into(),
            bytes: 9,
            head_sha256: "00".into(),
            reading: "--key-column sku".into(),
        }
    }

    #[test]
    fn a_load_goes_on_where_it_was_noted() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("c.progress");
        let (journal, mut progress) = Journal::open(path.clone(), origin("a"), false).expect("new");
        progress.rows = 7;
        journal.save(&progress).expect("saved");
        let (journal, again) = Journal::open(path.clone(), origin("a"), false).expect("there");
        assert_eq!(again, progress);
        journal.remove();
        assert_ne!(Journal::open(path, origin("a"), false).expect("new").1.load, progress.load);
    }

    #[test]
    fn another_load_is_refused_and_says_how_to_go_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("c.progress");
        let (journal, progress) = Journal::open(path.clone(), origin("a"), false).expect("new");
        journal.save(&progress).expect("saved");
        let refused = |origin| Journal::open(path.clone(), origin, false).expect_err("refused").to_string();
        assert!(refused(origin("b")).contains("--resume"));
        assert!(refused(Origin { bytes: 10, ..origin("a") }).contains("another one"));
        assert!(refused(Origin { reading: String::new(), ..origin("a") }).contains("--key-column sku"));
        assert!(Journal::open(path.clone(), origin("b"), true).is_ok());
        fs::write(&path, "{").expect("written");
        assert!(refused(origin("a")).contains("damaged"));
    }
}
