//! `freshet export products products.csv`
//!
//! Promises: every record that is there from the beginning to the end is written once, in the order of the keys; an export into
//! a file that was interrupted goes on where it was, when the same command is given again. Leaves to others what the records
//! show together: an export is no snapshot.

mod row;
mod target;

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use self::{
    row::{Dialect, Rows},
    target::Target,
};
use super::{Error, Output, ServerArgs, figures::counted, node::stop_on_signal};
use crate::client::{Client, Description, ListOptions};

/// What to write.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  freshet export products products.jsonl
  freshet export products products.csv --delimiter ';' --null '\\N'
  freshet export products --prefix 85 | jq .price

freshet load reads what it writes. JSON lines hold every value as it is. An export into a file that was interrupted goes on
where it was when the same command is given again; how far it came is in FILE.progress.")]
pub struct Args {
    /// The collection, which is a tracked table's name, such as products.
    collection: String,
    /// The file to write; unless given, or -, stdout.
    file: Option<PathBuf>,
    /// Records whose keys begin with it; for keys that are text.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    prefix: String,
    #[command(flatten)]
    dialect: Dialect,
    /// How many records to ask for at once.
    #[arg(long, value_name = "NUMBER", default_value = "1000")]
    page: NonZeroUsize,
    /// How long to go on asking while the server is busy or away.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    patience: Duration,
    /// Begin anew, and overwrite the file.
    #[arg(long)]
    restart: bool,
}

/// Writes the collection.
///
/// # Errors
/// [`Error::Usage`] for a file that is there and is not that of this export; a server that stays away, and an interruption.
pub async fn run(args: Args, server: &ServerArgs, output: &mut Output) -> Result<(), Error> {
    let stop = stop_on_signal()?;
    let client = server.connect().await?;
    let written = export(&args, &client, &stop, output).await;
    client.close().await;
    written
}

async fn export(args: &Args, client: &Client, stop: &CancellationToken, output: &mut Output) -> Result<(), Error> {
    let description: Description = client.describe(&args.collection).await?;
    let file = args.file.as_deref().filter(|file| file.as_os_str() != "-");
    let rows = Rows::new(&args.dialect, file, description);
    let what = format!("{} {:?} {}", args.collection, args.prefix, rows.reading());
    let mut target = match file {
        Some(file) => Target::file(file, what, args.restart)?,
        None => Target::stdout(output),
    };
    let mut options = ListOptions::new().prefix(&args.prefix).limit(args.page.get());
    match target.begun() {
        Some((cursor, records)) => {
            eprintln!("freshet: going on after {}", counted(records as usize, "record"));
            options = options.cursor(cursor);
        }
        None => target.begin(&rows.header())?,
    }
    let mut pages = client.pages(&args.collection, options).patience(args.patience);
    let bar = bar();
    let ended = loop {
        let page = tokio::select! {
            page = pages.next() => page,
            () = stop.cancelled() => break Err(Error::Ended("interrupted".into())),
        };
        match page {
            Some(Ok(page)) => {
                let mut text = String::new();
                let written = page.records.iter().try_for_each(|record| rows.write(&mut text, record));
                let written = written.and_then(|()| target.write(&text, page.records.len(), page.cursor));
                if let Err(error) = written {
                    break Err(error);
                }
                bar.set_position(target.records());
            }
            None => break Ok(()),
            Some(Err(error)) => break Err(error.into()),
        }
    };
    bar.finish_and_clear();
    target.end(ended, &args.collection)
}

/// A spinner on stderr, which is hidden if that is no terminal.
fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{elapsed} {spinner} {human_pos} records, {per_sec}");
    ProgressBar::no_length().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}
