//! What a load came to.

use serde::Serialize;

use crate::cli::{
    bench::{
        Outcome,
        report::{Errors, Latency, usage_text},
        usage::Usage,
    },
    figures::{counted, grouped},
};

/// The rate that was reached, and the times of the answers.
#[derive(Debug, Serialize)]
pub(in crate::cli::bench) struct Report {
    pub(super) scenario: &'static str,
    pub(super) connections: usize,
    pub(super) in_flight: usize,
    pub(super) offered_per_s: Option<f64>,
    pub(super) seconds: f64,
    pub(super) answers: u64,
    pub(super) answers_per_s: f64,
    /// Requests of an open loop that were due and had no place until the window ended.
    pub(super) unsent: u64,
    pub(super) latency: Latency,
    pub(super) errors: Errors,
    pub(super) checked: u64,
    pub(super) usage: Usage,
    pub(super) series: Vec<Point>,
}

/// A moment of the run.
#[derive(Debug, Serialize)]
pub(super) struct Point {
    pub(super) at_ms: u64,
    pub(super) answers_per_s: f64,
    pub(super) p99_us: f64,
}

impl Outcome for Report {
    fn text(&self) -> String {
        let Report { scenario, connections, in_flight, seconds, latency, errors, usage, .. } = self;
        let connections = counted(*connections, "connection");
        let offered = match self.offered_per_s {
            None => "closed loop".to_owned(),
            Some(rate) => format!("open loop at {}/s", grouped(rate as u64)),
        };
        let unsent = match self.unsent {
            0 => String::new(),
            unsent => format!(", {} not sent in time", counted(unsent as usize, "request")),
        };
        format!(
            "{scenario}: {connections} x {in_flight} in flight, {offered}, {seconds:.1} s\n  {}/s, {}\n  {}{unsent}, {} read \
             in full\n  {}",
            grouped(self.answers_per_s as u64),
            latency.text(),
            counted(errors.count as usize, "error"),
            grouped(self.checked),
            usage_text(usage)
        )
    }

    fn errors(&self) -> &Errors {
        &self.errors
    }
}
