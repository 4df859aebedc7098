//! Changes on their way to the sockets that watch: how many arrive, and how late.
//!
//! Promises: writes have their moments whatever the server does, and a time counts from the intended moment. What was
//! offered is counted beside what was delivered, because a server that skips states is fast in states and not in frames.
//! Every watcher must see rising states and end on the last one; one that does not is an error.

mod probe;
mod report;
mod run;
mod schedule;
mod watchers;

use std::num::NonZeroUsize;

use mio::{Poll, Token};

pub(super) use self::{report::Report, watchers::subscribe};

use self::run::Run;
use super::{Error, clock::ClockArgs, fill::FillArgs, target::Target, writer::Writer};
use crate::cli::{self, ServerArgs};

/// Options of every delivery.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct DeliveryArgs {
    #[command(flatten)]
    clock: ClockArgs,
    #[command(flatten)]
    fill: FillArgs,
    /// The collection; its records need a number `stock`.
    #[arg(long, default_value = "products")]
    pub(super) collection: String,
    /// Also tell how much of a processor this process and those below it use, such as the node's. May be repeated.
    #[arg(long, value_name = "PID")]
    pid: Vec<u32>,
}

impl DeliveryArgs {
    /// Puts the records of `keys`, if that was asked for.
    pub(super) async fn fill(&self, server: &ServerArgs, keys: &[String]) -> Result<(), cli::Error> {
        self.fill.run(server, &self.collection, keys).await
    }
}

/// What is watched, and how it is changed.
pub(super) struct Plan<'a> {
    pub(super) scenario: &'static str,
    /// Watcher `n` watches key `n % keys.len()`; writes take the keys in turns.
    pub(super) keys: Vec<String>,
    pub(super) watchers: NonZeroUsize,
    /// Writes a second.
    pub(super) rate: f64,
    /// Gets a second on a connection of their own.
    pub(super) probe_rate: Option<f64>,
    pub(super) args: &'a DeliveryArgs,
}

/// Subscribes, writes and counts. `writer` makes the source of writes; the token is for its socket.
///
/// # Errors
/// [`Error`] when a connection cannot be opened or breaks. What was delivered wrongly is counted in the report.
pub(super) fn run(
    plan: &Plan<'_>,
    target: &Target,
    writer: impl FnOnce(&Poll, Token) -> Result<Writer, Error>,
) -> Result<Report, Error> {
    let mut run = Run::open(plan, target, writer)?;
    run.run()?;
    Ok(run.report())
}
