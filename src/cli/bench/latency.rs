//! `freshet bench latency`: how long a change takes from its write to the sockets that watch.

use std::num::NonZeroUsize;

use super::{
    Error, clock,
    delivery::{self, DeliveryArgs, Plan, Report},
    keys,
    target::Target,
    writer::Writer,
};

/// Who writes.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// How many records are watched, each by one connection.
    #[arg(long, default_value = "1000")]
    keys: NonZeroUsize,
    /// Writes a second, over all records in turns.
    #[arg(long, default_value = "100", value_parser = clock::rate, allow_negative_numbers = true)]
    rate: f64,
    /// Write by psql to the node's database instead of through the node.
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// How many psql processes write.
    #[arg(long, default_value = "4", requires = "database_url")]
    writers: NonZeroUsize,
    /// The column that holds the key, for psql.
    #[arg(long, default_value = "sku", requires = "database_url")]
    key_column: String,
    #[command(flatten)]
    pub(super) delivery: DeliveryArgs,
}

impl Args {
    pub(super) fn keys(&self) -> Vec<String> {
        keys::generated(self.keys.get())
    }
}

/// Subscribes, writes and times.
///
/// # Errors
/// As [`delivery::run`]; also when psql cannot be started.
pub(super) fn run(args: &Args, keys: Vec<String>, target: &Target) -> Result<Report, Error> {
    let plan = Plan {
        scenario: "latency",
        keys,
        watchers: args.keys,
        rate: args.rate,
        probe_rate: None,
        args: &args.delivery,
    };
    delivery::run(&plan, target, |poll, token| match &args.database_url {
        None => Writer::node(target, &args.delivery.collection, poll.registry(), token),
        Some(url) => Writer::psql(url, &args.delivery.collection, &args.key_column, args.writers.get()),
    })
}
