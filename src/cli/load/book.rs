//! What became of the rows, settled in their order: a row counts only when every one before it is settled, so that a
//! number of rows says where to go on.

use std::collections::VecDeque;

use super::{
    journal::{Journal, Progress},
    rejects::Rejects,
    row::Rejection,
};
use crate::cli::Error;

/// Rows that may be settled ahead of one that is not; further ones wait.
const AHEAD_MAX: usize = 100_000;

/// The account of a load.
#[derive(Debug)]
pub(super) struct Book {
    progress: Progress,
    rejects: Rejects,
    /// `None` for a source that cannot be gone on with.
    journal: Option<Journal>,
    open: VecDeque<Entry>,
    is_saved: bool,
}

/// A row that was begun.
#[derive(Debug)]
struct Entry {
    line: u64,
    outcome: Option<Result<(), Rejection>>,
}

impl Book {
    /// Goes on from `progress`.
    pub(super) fn new(progress: Progress, rejects: Rejects, journal: Option<Journal>) -> Self {
        Book { progress, rejects, journal, open: VecDeque::new(), is_saved: true }
    }

    /// What is settled so far.
    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The rejected rows.
    pub(super) fn rejects(&self) -> &Rejects {
        &self.rejects
    }

    /// Whether an interrupted load can be gone on with.
    pub(super) fn is_kept(&self) -> bool {
        self.journal.is_some()
    }

    /// Whether a further row may be begun.
    pub(super) fn has_room(&self) -> bool {
        self.open.len() < AHEAD_MAX
    }

    /// Begins the row in `line`; returns its number, counted from 0 in the whole source.
    pub(super) fn begin(&mut self, line: u64) -> u64 {
        self.open.push_back(Entry { line, outcome: None });
        self.progress.rows + self.open.len() as u64 - 1
    }

    /// Says what became of row `number`, which was begun and is not settled yet.
    ///
    /// # Errors
    /// [`Error::Keep`] when a rejected row cannot be written down.
    pub(super) fn settle(&mut self, number: u64, outcome: Result<(), Rejection>) -> Result<(), Error> {
        let at = usize::try_from(number - self.progress.rows).unwrap_or(usize::MAX);
        if let Some(entry) = self.open.get_mut(at) {
            entry.outcome = Some(outcome);
        }
        while let Some(entry) = self.open.pop_front_if(|entry| entry.outcome.is_some()) {
            match entry.outcome {
                Some(Err(rejection)) => {
                    self.rejects.add(&rejection)?;
                    self.progress.rejected += 1;
                }
                _ => self.progress.loaded += 1,
            }
            self.progress.rows += 1;
            self.progress.line = entry.line;
            self.is_saved = false;
        }
        Ok(())
    }

    /// Notes how far the load has come, if it has come further.
    ///
    /// # Errors
    /// [`Error::Keep`].
    pub(super) fn save(&mut self) -> Result<(), Error> {
        if self.is_saved {
            return Ok(());
        }
        self.progress.rejected_bytes = self.rejects.bytes();
        if let Some(journal) = &self.journal {
            journal.save(&self.progress)?;
        }
        self.is_saved = true;
        Ok(())
    }

    /// The source is at its end: there is nothing to go on with.
    pub(super) fn close(&mut self) {
        if let Some(journal) = &self.journal {
            journal.remove();
        }
        self.is_saved = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_count_only_when_all_before_them_are_settled() {
        let folder = tempfile::tempdir().expect("a folder");
        let rejects = Rejects::open(folder.path().join("rejected"), 0).expect("opened");
        let mut book = Book::new(Progress { rows: 10, ..Progress::new() }, rejects, None);
        let [first, second, third] = [21, 22, 25].map(|line| book.begin(line));
        assert_eq!([first, second, third], [10, 11, 12]);
        book.settle(third, Ok(())).expect("settled");
        book.settle(second, Err(Rejection::new(22, None, "no", "{}"))).expect("settled");
        assert_eq!((book.progress().rows, book.progress().line), (10, 0));
        book.settle(first, Ok(())).expect("settled");
        let Progress { rows, line, loaded, rejected, .. } = *book.progress();
        assert_eq!((rows, line, loaded, rejected), (13, 25, 2, 1));
        assert_eq!(book.begin(26), 13);
    }
}
