//! `freshet verify`: a running deployment, held to what Freshet promises.
//!
//! It creates records of its own, writes and watches them over several connections to every node and by SQL in the
//! databases, notes every answer and push, and judges the history.
//!
//! Promises: it touches no record that it did not create; load, time and memory are bounded; lost connections, drains and
//! refusals are counted and are no violations; it deletes its records at the end, after Ctrl-C and after failures, or
//! names those that it could not. Leaves to others: breaking something meanwhile.

mod cleanup;
mod databases;
mod explain;
mod field;
mod foreign;
mod history;
mod judge;
mod keys;
mod link;
mod links;
mod load;
mod plan;
mod progress;
mod reader;
mod recorder;
mod report;
mod requests;
mod run;
mod session;
mod settle;
mod setup;
mod watch;
mod watcher;
mod writer;

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};

use self::{history::History, recorder::EVENTS_MAX, run::Run};
use super::{Error, Output, ServerArgs, database::DatabaseArgs, node::stop_on_signal, server::websocket};

/// What to verify, and how hard.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  freshet verify                                          the node on this machine
  freshet verify ws://web1:8080/v1/ws ws://web2:8080/v1/ws --config freshet.toml
                                                          two nodes, and by SQL the databases behind them
  freshet verify --collection prices --record '{\"amount\":%n}' --field amount
  freshet verify --seconds 600 --history run.jsonl --format json

It creates records with keys of its own, and deletes them at the end. Exit code 1: a promise was broken.")]
pub struct Args {
    /// The nodes' WebSockets, all of one deployment; unless given, the one of --url.
    #[arg(value_name = "NODE", value_parser = websocket)]
    nodes: Vec<String>,
    /// The collection.
    #[arg(long, default_value = "products")]
    collection: String,
    /// What each record holds; `%n` stands for a number that rises. Needed for other collections than products.
    #[arg(long, value_name = "JSON")]
    record: Option<String>,
    /// The column with `%n`, which tells one write from another.
    #[arg(long, value_name = "COLUMN", default_value = "stock")]
    field: String,
    /// How many records are used.
    #[arg(long, value_name = "NUMBER", default_value = "64", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    keys: u32,
    /// How many connections are made to each node.
    #[arg(long, value_name = "NUMBER", default_value = "4")]
    connections: NonZeroUsize,
    /// Writes a second, over all nodes and databases; about twice as many states are read.
    #[arg(long, value_name = "NUMBER", default_value = "100", value_parser = rate, allow_negative_numbers = true)]
    rate: f64,
    /// How long it writes.
    #[arg(long, value_name = "NUMBER", default_value = "10", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// How long subscriptions may take to arrive at the final state after that.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    settle: Duration,
    /// The nodes' `tiers.freshness.fresh`; unless given, that of --config, or 3 s.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    fresh: Option<Duration>,
    /// Repeats the choices of the run that printed it.
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u32>,
    /// Keep everything that was done and seen, a JSON object a line.
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// Do not write or look in the databases.
    #[arg(long)]
    no_sql: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// Reads how many of something come in a second.
fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate > 0.0 && f64::is_finite(rate) => Ok(rate),
        _ => Err("it must be a number above 0".to_owned()),
    }
}

/// Runs, judges, cleans up and prints the verdict.
///
/// # Errors
/// [`Error::Found`] when a promise was broken, too little was seen, or records were left; before a record is written,
/// [`Error::Usage`] and [`Error::Client`] when the arguments or the nodes do not allow a run.
pub async fn run(args: Args, server: &ServerArgs, output: &mut Output) -> Result<(), Error> {
    args.check_memory()?;
    let stop = stop_on_signal()?;
    let nodes = if args.nodes.is_empty() { vec![server.url().to_owned()] } else { args.nodes.clone() };
    let config = args.database.configuration()?;
    // A file that cannot be written is told before the run.
    let file = args.history.as_deref().map(create).transpose()?;
    let (fresh, deadline) = (args.fresh.unwrap_or(config.tiers.freshness.fresh), config.service.deadline);
    let records = setup::Records {
        collection: &args.collection,
        record: args.record.as_deref(),
        field: &args.field,
        keys: args.keys,
    };
    let (plan, kind) = setup::plan(&nodes, server, &records).await?;
    let run = Run { args: &args, plan, nodes, fresh, deadline };
    let (report, history) = run.carry_out(kind, &stop).await?;
    if let Some((file, path)) = file {
        keep(file, &history).map_err(unkept(path))?;
    }
    output.summary(&report, &report.text(&history, output.palette()))?;
    report.exit()
}

impl Args {
    /// Refuses a run whose history would not fit into its bound.
    fn check_memory(&self) -> Result<(), Error> {
        // Each write with its pushes, the reads beside it, renewed subscriptions; then the keys' first states.
        let events = self.seconds as f64 * (self.rate * 7.0 + 60.0) + f64::from(self.keys) * 12.0;
        match events <= EVENTS_MAX as f64 {
            true => Ok(()),
            false => Err(Error::Usage(format!(
                "{} s at {} writes a second would note about {events:.0} events, and at most {EVENTS_MAX} are kept\n  \
                 lower --seconds or --rate",
                self.seconds, self.rate
            ))),
        }
    }
}

fn create(path: &Path) -> Result<(File, &Path), Error> {
    Ok((File::create(path).map_err(unkept(path))?, path))
}

fn unkept(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.display().to_string();
    move |source| Error::Keep { path, source }
}

/// Writes the history as lines of JSON.
fn keep(file: File, history: &History) -> io::Result<()> {
    let mut file = BufWriter::new(file);
    let head = serde_json::json!({"keys": history.keys, "sessions": history.sessions});
    writeln!(file, "{head}")?;
    for event in &history.events {
        serde_json::to_writer(&mut file, event)?;
        file.write_all(b"\n")?;
    }
    file.flush()
}
