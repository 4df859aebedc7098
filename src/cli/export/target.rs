//! Where an export goes: stdout, or a file with a note beside it of how far it came.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::cli::{Error, Output, figures::counted};

/// The time between two notes.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// How far an export came.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Progress {
    /// What is exported, and how.
    what: String,
    cursor: Option<String>,
    records: u64,
    /// The file's length.
    bytes: u64,
}

/// Where lines go.
pub(super) struct Target<'o> {
    place: Place<'o>,
    progress: Progress,
    records_before: u64,
    began: Instant,
    saved: Instant,
}

enum Place<'o> {
    Stdout(&'o mut Output),
    File { path: PathBuf, file: File },
}

impl<'o> Target<'o> {
    pub(super) fn stdout(output: &'o mut Output) -> Self {
        Self::at(Place::Stdout(output), Progress { what: String::new(), cursor: None, records: 0, bytes: 0 })
    }

    /// A new file, or one that the same export had begun.
    ///
    /// # Errors
    /// [`Error::Usage`] for a file of something else, unless it may be overwritten; [`Error::Keep`].
    pub(super) fn file(path: &Path, what: String, restart: bool) -> Result<Self, Error> {
        let noted = fs::read_to_string(beside(path)).ok().filter(|_| !restart);
        let noted = noted.and_then(|text| serde_json::from_str::<Progress>(&text).ok());
        let place = |file| Place::File { path: path.to_owned(), file };
        if let Some(progress) = noted {
            if progress.what != what {
                let path = path.display();
                return Err(Error::Usage(format!(
                    "cannot go on: {path} was begun by another export ({}); to begin anew, add --restart",
                    progress.what
                )));
            }
            let open = || -> io::Result<File> {
                let mut file = OpenOptions::new().write(true).open(path)?;
                if file.metadata()?.len() < progress.bytes {
                    return Err(io::Error::other("it is shorter than it was; to begin anew, add --restart"));
                }
                file.set_len(progress.bytes)?;
                file.seek(SeekFrom::End(0))?;
                Ok(file)
            };
            return Ok(Self::at(place(open().map_err(|source| keep(path, source))?), progress));
        }
        if !restart && fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() > 0) {
            let path = path.display();
            return Err(Error::Usage(format!(
                "{path} is there already; give another name, or --restart to overwrite it"
            )));
        }
        let file = File::create(path).map_err(|source| keep(path, source))?;
        Ok(Self::at(place(file), Progress { what, cursor: None, records: 0, bytes: 0 }))
    }

    fn at(place: Place<'o>, progress: Progress) -> Self {
        let now = Instant::now();
        Target { place, records_before: progress.records, progress, began: now, saved: now }
    }

    /// Where an export that had begun goes on, and how many records it had written.
    pub(super) fn begun(&self) -> Option<(String, u64)> {
        Some((self.progress.cursor.clone()?, self.progress.records))
    }

    pub(super) fn records(&self) -> u64 {
        self.progress.records
    }

    /// Writes what comes before the first record.
    pub(super) fn begin(&mut self, header: &str) -> Result<(), Error> {
        self.write(header, 0, None)
    }

    /// Writes a page, behind which the list goes on at `cursor`.
    ///
    /// # Errors
    /// [`Error::Output`], [`Error::Keep`].
    pub(super) fn write(&mut self, text: &str, records: usize, cursor: Option<String>) -> Result<(), Error> {
        match &mut self.place {
            Place::Stdout(output) => output.text(text)?,
            Place::File { path, file } => file.write_all(text.as_bytes()).map_err(|source| keep(path, source))?,
        }
        self.progress.records += records as u64;
        self.progress.bytes += text.len() as u64;
        self.progress.cursor = cursor;
        if self.saved.elapsed() >= SAVE_EVERY { self.save() } else { Ok(()) }
    }

    /// Notes how far it came, behind what was written.
    fn save(&mut self) -> Result<(), Error> {
        let Place::File { path, file } = &self.place else { return Ok(()) };
        if self.progress.cursor.is_none() {
            return Ok(());
        }
        let note = beside(path);
        let save = || -> io::Result<()> {
            file.sync_data()?;
            let aside = note.with_extension("progress-new");
            fs::write(&aside, serde_json::to_vec(&self.progress)?)?;
            fs::rename(&aside, &note)
        };
        self.saved = Instant::now();
        save().map_err(|source| keep(&note, source))
    }

    /// Says on stderr what came of it, and how to go on if it is not done.
    ///
    /// # Errors
    /// What it `ended` with.
    pub(super) fn end(mut self, ended: Result<(), Error>, collection: &str) -> Result<(), Error> {
        let (records, seconds) = (self.progress.records, self.began.elapsed().as_secs_f64());
        match (&self.place, ended.is_ok()) {
            (Place::File { path, file }, true) => {
                file.sync_all().map_err(|source| keep(path, source))?;
                // It may never have been saved.
                drop(fs::remove_file(beside(path)));
            }
            (Place::File { path, .. }, false) => {
                let path = path.display().to_string();
                self.save()?;
                match self.progress.cursor {
                    Some(_) => {
                        eprintln!(
                            "freshet: not done; the same command goes on after {} of {path}",
                            counted(records as usize, "record")
                        );
                    }
                    None => eprintln!("freshet: not done; nothing was exported yet"),
                }
            }
            (Place::Stdout(_), _) => {}
        }
        let exported = counted((records - self.records_before) as usize, "record");
        eprintln!("freshet: exported {exported} of {collection} in {seconds:.1} s");
        ended
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".progress");
    name.into()
}

fn keep(path: &Path, source: io::Error) -> Error {
    Error::Keep { path: path.display().to_string(), source }
}
