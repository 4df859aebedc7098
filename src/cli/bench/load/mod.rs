//! Requests and their answers, in a closed or an open loop, from one thread.
//!
//! Promises: in a closed loop every connection always has its number of requests in flight; in an open loop requests
//! have their moments whatever the server does, and a time counts from the intended moment, so that a server that
//! stalls is not spared the requests it delayed: each that was due in the window is counted once, sent or not. Every
//! answer is matched with its request and seen to be a result; one in [`CHECKED_EVERY`] is read in full.

mod in_flight;
mod report;
mod run;
mod tally;

use std::num::NonZeroUsize;

pub(super) use self::report::Report;

use self::run::Run;
use super::{
    Error,
    clock::{self, ClockArgs},
    target::Target,
};

/// Reading every record in full would make the client what limits.
const CHECKED_EVERY: u64 = 64;

/// Options of the load.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct LoadArgs {
    /// How many connections.
    #[arg(long, default_value = "16")]
    pub(super) connections: NonZeroUsize,
    /// How many requests each has under way at a time, at most.
    #[arg(long, default_value = "1")]
    pub(super) in_flight: NonZeroUsize,
    /// Requests a second over all connections, sent at their moments whatever the server does (an open loop). Unless
    /// given, each answer is followed by the next request (a closed loop).
    #[arg(long, value_parser = clock::rate, allow_negative_numbers = true)]
    pub(super) rate: Option<f64>,
    #[command(flatten)]
    pub(super) clock: ClockArgs,
    /// Also tell how much of a processor this process and those below it use, such as the node's. May be repeated.
    #[arg(long, value_name = "PID")]
    pub(super) pid: Vec<u32>,
    /// Take answers in the order of the requests and do not look at them: for servers that say a fixed text.
    #[arg(long, hide = true)]
    pub(super) any_answer: bool,
}

/// Makes requests and judges answers.
pub(super) trait Requests {
    /// Appends a request's JSON text. What is returned comes back with the answer.
    fn write(&mut self, out: &mut Vec<u8>, id: usize) -> u32;

    /// Reads an answer's result in full.
    ///
    /// # Errors
    /// What is wrong with it.
    fn check(&self, tag: u32, result: &[u8]) -> Result<(), String>;
}

/// Runs the load.
///
/// # Errors
/// [`Error`] when a connection cannot be opened or breaks. Wrong answers are counted in the report.
pub(super) fn run<R: Requests>(
    scenario: &'static str,
    args: &LoadArgs,
    target: &Target,
    requests: R,
) -> Result<Report, Error> {
    let mut run = Run::open(args, target, requests)?;
    run.run()?;
    Ok(run.report(scenario))
}
