//! `freshet bench`: load on a running node, and what came of it.
//!
//! Promises: a figure stands beside its errors, the latency beside the rate, and the processor's use beside both, so that
//! a figure that this side limits says so; every answer is matched with its request. The exit code is 1 when any answer
//! was wrong. Leaves to others: starting nodes, comparing them, and repeating (`benches/results`).

mod answer;
mod clock;
mod delivery;
mod error;
mod fan_out;
mod fill;
mod frame;
mod get;
mod idle;
mod keys;
mod latency;
mod load;
mod report;
mod socket;
mod target;
mod usage;
mod write;
mod writer;

pub use error::Error;

use super::{Output, ServerArgs};
use target::Target;

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Scenario {
    /// Read records.
    Get(get::Args),
    /// Create records.
    Put(write::PutArgs),
    /// Change records.
    Patch(write::PatchArgs),
    /// Change few records that very many connections watch.
    FanOut(fan_out::Args),
    /// Time changes from the write to the sockets that watch, written through the node or by psql.
    Latency(latency::Args),
    /// Weigh connections that watch a record and do nothing.
    Idle(idle::Args),
}

/// Runs a scenario and prints its report.
///
/// # Errors
/// [`Error`] when nothing could be measured, and, after the report, when answers were wrong.
pub async fn run(args: Args, server: &ServerArgs, output: &mut Output) -> Result<(), super::Error> {
    let target = Target::parse(server.url())?;
    match &args.scenario {
        Scenario::Get(args) => {
            let keys = args.keys()?;
            args.fill.run(server, &args.collection, keys.names()).await?;
            print(output, get::run(args, keys, &target)?)
        }
        Scenario::Put(args) => print(output, write::put(args, &target)?),
        Scenario::Patch(args) => {
            let keys = args.keys()?;
            args.fill.run(server, &args.collection, keys.names()).await?;
            print(output, write::patch(args, keys, &target)?)
        }
        Scenario::FanOut(args) => {
            let keys = args.keys();
            args.delivery.fill(server, &keys).await?;
            print(output, fan_out::run(args, keys, &target)?)
        }
        Scenario::Latency(args) => {
            let keys = args.keys();
            args.delivery.fill(server, &keys).await?;
            print(output, latency::run(args, keys, &target)?)
        }
        Scenario::Idle(args) => {
            let keys = args.keys();
            args.fill.run(server, &args.collection, &keys).await?;
            print(output, idle::run(args, &keys, &target)?)
        }
    }
}

/// What every scenario ends with.
trait Outcome: serde::Serialize {
    fn text(&self) -> String;
    fn errors(&self) -> &report::Errors;
}

fn print(output: &mut Output, outcome: impl Outcome) -> Result<(), super::Error> {
    output.summary(&outcome, &outcome.text())?;
    Ok(outcome.errors().verdict()?)
}
