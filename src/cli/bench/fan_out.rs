//! `freshet bench fan-out`: few records that change, watched by very many connections.

use std::num::NonZeroUsize;

use super::{
    Error, clock,
    delivery::{self, DeliveryArgs, Plan, Report},
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
    #[arg(long, default_value = "20", value_parser = clock::rate, allow_negative_numbers = true)]
    rate: f64,
    /// Write through another node.
    #[arg(long, value_name = "URL")]
    write_url: Option<String>,
    /// Also time gets on a connection of their own, so many a second, apart for those due during a change.
    #[arg(long, value_name = "RATE", value_parser = clock::rate, allow_negative_numbers = true)]
    probe: Option<f64>,
    #[command(flatten)]
    pub(super) delivery: DeliveryArgs,
}

impl Args {
    pub(super) fn keys(&self) -> Vec<String> {
        keys::generated(self.keys.get())
    }
}

/// Subscribes, writes and counts.
///
/// # Errors
/// As [`delivery::run`].
pub(super) fn run(args: &Args, keys: Vec<String>, target: &Target) -> Result<Report, Error> {
    let write_target = args.write_url.as_deref().map(Target::parse).transpose()?;
    let plan = Plan {
        scenario: "fan-out",
        keys,
        watchers: args.subscribers,
        rate: args.rate,
        probe_rate: args.probe,
        args: &args.delivery,
    };
    delivery::run(&plan, target, |poll, token| {
        Writer::node(write_target.as_ref().unwrap_or(target), &args.delivery.collection, poll.registry(), token)
    })
}
