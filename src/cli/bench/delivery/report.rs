//! What a delivery came to.

use serde::Serialize;

use crate::cli::{
    bench::{
        Outcome,
        report::{Errors, Latency, usage_text},
        usage::Usage,
    },
    figures::{counted, grouped},
};

/// What was offered, beside what was delivered and how late.
#[derive(Debug, Serialize)]
pub(in crate::cli::bench) struct Report {
    pub(super) scenario: &'static str,
    pub(super) watchers: usize,
    pub(super) keys: usize,
    pub(super) seconds: f64,
    pub(super) offered_per_s: f64,
    /// Writes due in the window, and those among them that were answered by its end.
    pub(super) offered: u64,
    pub(super) answered: u64,
    /// Frames that reached sockets in the window.
    pub(super) delivered: u64,
    pub(super) delivered_per_s: f64,
    /// Frames a watcher got for each state it could have got: 1 where none was skipped.
    pub(super) states_per_offered: f64,
    /// From a write's intended moment to a socket that got it.
    pub(super) latency: Latency,
    /// From a write's intended moment to its answer.
    pub(super) write_latency: Latency,
    /// From a write's answer to a socket that got it; 0 where the socket was first.
    pub(super) after_answer: Latency,
    /// Gets on another connection, due while a change was on its way to watchers, and while none was.
    pub(super) probe_busy: Option<Latency>,
    pub(super) probe_quiet: Option<Latency>,
    pub(super) errors: Errors,
    pub(super) usage: Usage,
}

impl Outcome for Report {
    fn text(&self) -> String {
        let Report { scenario, seconds, errors, usage, latency, write_latency, after_answer, .. } = self;
        let mut text = format!(
            "{scenario}: {} of {}, {} writes/s offered, {seconds:.1} s\n  {} states/s delivered, {:.3} of those offered\n  \
             write to socket: {}\n  write to answer: {}\n  answer to socket: {}",
            counted(self.watchers, "watcher"),
            counted(self.keys, "record"),
            grouped(self.offered_per_s as u64),
            grouped(self.delivered_per_s as u64),
            self.states_per_offered,
            latency.text(),
            write_latency.text(),
            after_answer.text(),
        );
        for (name, probe) in [("during a change", &self.probe_busy), ("otherwise", &self.probe_quiet)] {
            if let Some(probe) = probe {
                text.push_str(&format!("\n  gets {name}: {}", probe.text()));
            }
        }
        format!("{text}\n  {}\n  {}", counted(errors.count as usize, "error"), usage_text(usage))
    }

    fn errors(&self) -> &Errors {
        &self.errors
    }
}
