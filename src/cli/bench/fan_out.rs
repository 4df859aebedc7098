//! `freshet bench fan-out`: few records that change, watched by very many connections.

use std::num::NonZeroUsize;

use super::{
    Error,
    clock::ClockArgs,
    deliver::{self, Plan, Report},
    fill::FillArgs,
    keys,
    target::Target,
    writer::Writer,
};

/// Who watches what.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// How many connections watch.
    #[arg(long, default_value = "1000")]
    subscribers: NonZeroUsize,
    /// How many records they watch, each connection one.
    #[arg(long, default_value = "1")]
    keys: NonZeroUsize,
    /// Writes a second, sent at their moments whatever the server does. More than it can deliver saturates it.
    #[arg(long, default_value = "20")]
    rate: f64,
    /// Write through another node.
    #[arg(long, value_name = "URL")]
    write_url: Option<String>,
    /// Also time gets on a connection of their own, so many a second, apart for those due during a change.
    #[arg(long, value_name = "RATE")]
    probe: Option<f64>,
    #[command(flatten)]
    clock: ClockArgs,
    #[command(flatten)]
    pub(super) fill: FillArgs,
    /// The collection; its records need a number `stock`.
    #[arg(long, default_value = "products")]
    pub(super) collection: String,
    /// Also tell how much of a processor this process and those below it use, such as the node's. May be repeated.
    #[arg(long, value_name = "PID")]
    pid: Vec<u32>,
}

impl Args {
    pub(super) fn keys(&self) -> Vec<String> {
        (0..self.keys.get() as u32).map(keys::generated).collect()
    }
}

/// Subscribes, writes and counts.
///
/// # Errors
/// As [`deliver::run`].
pub(super) fn run(args: &Args, keys: Vec<String>, target: &Target) -> Result<Report, Error> {
    let write_target = args.write_url.as_deref().map(Target::parse).transpose()?;
    let plan = Plan {
        scenario: "fan-out",
        collection: &args.collection,
        keys,
        watchers: args.subscribers,
        rate: args.rate,
        probe_rate: args.probe,
        clock: &args.clock,
        pids: &args.pid,
    };
    deliver::run(&plan, target, |poll, token| {
        Writer::node(write_target.as_ref().unwrap_or(target), &args.collection, poll.registry(), token)
    })
}
