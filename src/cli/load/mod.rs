//! `freshet load products products.jsonl.gz`
//!
//! Promises: rows of one key are written in their order; every row is loaded, rejected with its reason, or left for the
//! next run, and an interrupted load that is started again writes no row twice (for a day, as long as the server
//! remembers idempotency keys). Leaves to others what a row may hold: the database says so.

mod book;
mod csv;
mod journal;
mod jsonl;
mod rejects;
mod row;
mod source;
mod summary;
#[cfg(test)]
mod tests;
mod writes;

use std::{
    num::NonZeroUsize,
    path::PathBuf,
    time::{Duration, Instant},
};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

pub(super) use self::source::delimiter;
use self::{
    book::Book,
    row::{Rejection, Row},
    source::SourceArgs,
    summary::Summary,
    writes::{Numbered, Outcome, Writes},
};
use super::{Error, Output, ServerArgs, input::Input, node::stop_on_signal, pretty::harmless};
use crate::client;

/// How many rejected rows are shown; all are in the file.
const SHOWN_MAX: u64 = 20;
/// The time between two notes of how far the load has come.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// What to load.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  freshet load products products.jsonl.gz
  freshet load products export.csv --delimiter ';' --null '\\N'
  psql -c '\\copy (SELECT ...) TO STDOUT CSV HEADER' shop | freshet load products - --input-format csv
  jq -c .row products.csv.products.rejected | freshet load products -    once more, when mended

A load of a file that was interrupted, by Ctrl-C, a crash or a server that went away, goes on where it was when the
same command is given again; within a day no row is written twice. How far it came is in FILE.COLLECTION.progress.
Rows that cannot be written are in FILE.COLLECTION.rejected, each with its line and the reason, and the exit code is 1.")]
pub struct Args {
    /// The collection, which is a tracked table's name, such as products.
    collection: String,
    #[command(flatten)]
    source: SourceArgs,
    /// How many writes are on their way at once.
    #[arg(long, value_name = "NUMBER", default_value = "256")]
    in_flight: NonZeroUsize,
    /// How long to go on trying to write a row while the server is busy or away.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    patience: Duration,
    /// Where the rows that cannot be written go.
    #[arg(long, value_name = "FILE")]
    rejected: Option<PathBuf>,
    /// Where it is noted how far the load has come.
    #[arg(long, value_name = "FILE")]
    progress: Option<PathBuf>,
    /// Begin anew, whatever was loaded before.
    #[arg(long, conflicts_with = "resume")]
    restart: bool,
    /// Go on, although the node is at another address than when the load began.
    #[arg(long)]
    resume: bool,
}

/// Puts each row under its key.
///
/// # Errors
/// [`Error::Lines`] when rows were rejected; each is in the file of rejected rows. A server that stays away, and an
/// interruption, end the load; it can be gone on with if its source is a file.
pub async fn run(args: Args, server: &ServerArgs, output: &mut Output) -> Result<(), Error> {
    let stop = stop_on_signal()?;
    let client = server.connect().await?;
    let description = client.describe(&args.collection).await?;
    let reading = args.source.reading(&description);
    let book = args.book(&reading, server)?;
    let mut rows = args.source.open(description)?;
    let writes = Writes::new(client.clone(), &args.collection, book.progress().load, args.patience);
    let mut load = Load::new(&args, book, writes, &rows);
    let ended = load.write_all(&mut rows, &stop).await;
    client.close().await;
    load.bar.finish_and_clear();
    load.end(ended, output)
}

impl Args {
    /// The account of this load, which begins, or goes on where it was.
    fn book(&self, reading: &str, server: &ServerArgs) -> Result<Book, Error> {
        let beside = |end: &str| PathBuf::from(format!("{}.{}.{end}", self.source.name(), self.collection));
        let progress = self.progress.clone().unwrap_or_else(|| beside("progress"));
        let rejected = self.rejected.clone().unwrap_or_else(|| beside("rejected"));
        if self.restart {
            journal::forget(&progress);
        }
        let origin = match self.source.is_stdin() {
            true => None,
            false => journal::Origin::of(&self.source.file, server.url(), &self.collection, reading.to_owned())?,
        };
        let (journal, progress) = match origin {
            Some(origin) => {
                let (journal, progress) = journal::Journal::open(progress, origin, self.resume)?;
                (Some(journal), progress)
            }
            None => (None, journal::Progress::new()),
        };
        if progress.rows > 0 {
            eprintln!("freshet: going on after line {}", progress.line);
        }
        let rejects = rejects::Rejects::open(rejected, progress.rejected_bytes)?;
        Ok(Book::new(progress, rejects, journal))
    }
}

/// A load under way.
struct Load {
    collection: String,
    source: String,
    in_flight: usize,
    began: Instant,
    bar: ProgressBar,
    book: Book,
    writes: Writes,
    /// Rows of an earlier run that are passed over, and how many were loaded then.
    passed: u64,
    loaded_before: u64,
    shown: u64,
}

impl Load {
    fn new(args: &Args, book: Book, writes: Writes, rows: &Input<Row>) -> Self {
        Load {
            collection: args.collection.clone(),
            source: args.source.name().to_owned(),
            in_flight: args.in_flight.get(),
            began: Instant::now(),
            bar: bar(rows.total_bytes),
            passed: book.progress().rows,
            loaded_before: book.progress().loaded,
            book,
            writes,
            shown: 0,
        }
    }

    /// Reads and writes until the source's end, or the first thing that cannot be gone on from. What is under way then
    /// is waited for.
    async fn write_all(&mut self, rows: &mut Input<Row>, stop: &CancellationToken) -> Result<(), Error> {
        let mut saves = interval(SAVE_EVERY);
        saves.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut held, mut more, mut ended): (Option<Numbered>, _, _) = (None, true, Ok(()));
        loop {
            if let Some(row) = held.take_if(|row| !self.writes.is_busy(&row.content.key)) {
                self.writes.begin(row);
            }
            let room = self.writes.len() < self.in_flight && self.book.has_room();
            let is_busy = more || held.is_some() || self.writes.len() > 0;
            let step = tokio::select! {
                row = rows.next(), if more && room && held.is_none() => match row {
                    Ok(None) => { more = false; Ok(()) }
                    Ok(Some(row)) => self.take(row).map(|row| held = row),
                    Err(error) => Err(error),
                },
                Some((row, outcome)) = self.writes.next() => self.settle(&row, outcome, rows),
                _ = saves.tick(), if is_busy => self.book.save(),
                () = stop.cancelled(), if is_busy && ended.is_ok() => Err(Error::Ended("interrupted".into())),
                else => return ended,
            };
            if let Err(error) = step {
                self.writes.hurry();
                (more, held, ended) = (false, None, ended.and(Err(error)));
            }
        }
    }

    /// Begins `row`; returns it if it is to be written.
    fn take(&mut self, row: Row) -> Result<Option<Numbered>, Error> {
        if self.passed > 0 {
            self.passed -= 1;
            if self.passed == 0 {
                self.bar.reset_eta();
            }
            return Ok(None);
        }
        let number = self.book.begin(row.line);
        match row.content {
            Ok(content) => Ok(Some(Numbered { number, line: row.line, content })),
            Err(rejection) => self.reject(number, rejection).map(|()| None),
        }
    }

    /// Notes what became of a row. `Err` when there is no use in going on; the row is left for the next run then.
    fn settle(&mut self, row: &Numbered, outcome: Outcome, rows: &Input<Row>) -> Result<(), Error> {
        match outcome {
            Outcome::Loaded => self.book.settle(row.number, Ok(()))?,
            Outcome::Rejected(rejection) => self.reject(row.number, rejection)?,
            // Going on repeats the row under its key: whether it was written is of no matter, that nobody said so is.
            Outcome::Undecided(client::Error::OutcomeUnknown) => return Err(client::Error::Timeout.into()),
            Outcome::Undecided(error) => return Err(error.into()),
        }
        let progress = self.book.progress();
        self.bar.set_position(rows.read_bytes());
        self.bar.set_message(format!(
            "{} loaded, {} rejected, {}/s",
            HumanCount(progress.loaded),
            HumanCount(progress.rejected),
            HumanCount(self.rate() as u64)
        ));
        Ok(())
    }

    fn reject(&mut self, number: u64, rejection: Rejection) -> Result<(), Error> {
        self.shown += 1;
        let text = harmless(&rejection.text());
        self.bar.suspend(|| match self.shown {
            ..=SHOWN_MAX => eprintln!("freshet: {text}"),
            shown if shown == SHOWN_MAX + 1 => eprintln!("freshet: further rejected rows are only written down"),
            _ => {}
        });
        self.book.settle(number, Err(rejection))
    }

    /// Rows loaded a second, in this run.
    fn rate(&self) -> f64 {
        (self.book.progress().loaded - self.loaded_before) as f64 / self.began.elapsed().as_secs_f64().max(1e-3)
    }

    /// Says what came of it, and how to go on if it is not done.
    fn end(mut self, ended: Result<(), Error>, output: &mut Output) -> Result<(), Error> {
        let is_done = ended.is_ok();
        match is_done {
            true => self.book.close(),
            false => self.book.save()?,
        }
        let summary = self.summary();
        output.summary(&summary, &summary.text(self.rate()))?;
        if let Some(file) = &summary.rejected_file {
            eprintln!("freshet: the rejected rows are in {file}");
        }
        if !is_done {
            let line = self.book.progress().line;
            match self.book.is_kept() {
                true => eprintln!("freshet: not done; the same command goes on after line {line} of {}", self.source),
                false => eprintln!("freshet: not done; what is settled ends with line {line} of {}", self.source),
            }
        }
        ended?;
        match (summary.failed, summary.loaded) {
            (0, _) => Ok(()),
            (failed, loaded) => Err(Error::Lines { failed, total: failed + loaded }),
        }
    }

    fn summary(&self) -> Summary {
        let progress = self.book.progress();
        let path = || self.book.rejects().path().display().to_string();
        Summary {
            collection: self.collection.clone(),
            loaded: progress.loaded,
            failed: progress.rejected,
            seconds: self.began.elapsed().as_secs_f64(),
            loaded_before: self.loaded_before,
            rejected_file: (progress.rejected > 0).then(path),
        }
    }
}

/// A bar on stderr, which is hidden if that is no terminal.
fn bar(total_bytes: Option<u64>) -> ProgressBar {
    let (bar, template) = match total_bytes {
        Some(total) => (ProgressBar::new(total), "{elapsed} [{bar:30}] {percent}% {msg}, {eta} left"),
        None => (ProgressBar::no_length(), "{elapsed} {spinner} {bytes} {msg}"),
    };
    bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
}
