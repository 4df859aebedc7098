//! How many reads each tier has answered, and how long the slower ones took.

use std::time::Instant;

use prometheus::IntCounter;

use super::read::Source;
use crate::telemetry::{Latency, Telemetry};

const SOURCES: [Source; 5] = [Source::Local, Source::Filter, Source::Shared, Source::Store, Source::Stale];
/// Those that are waited for.
const WAITED: [Source; 3] = [Source::Shared, Source::Store, Source::Stale];

/// Counts of answers, by [`Source`]. The metrics are looked up by label once, not with each read.
pub(super) struct Answers {
    counts: [IntCounter; SOURCES.len()],
    /// Of [`WAITED`].
    times: [Latency; WAITED.len()],
}

impl Answers {
    pub(super) fn new(telemetry: &Telemetry) -> Self {
        let help = "Reads answered, by the tier that did.";
        let counts = telemetry.counters("freshet_tiers_answers_total", help, &["source"]);
        let help = "How long reads took that L1 and the filter could not answer, by the tier that did.";
        Answers {
            counts: SOURCES.map(|source| counts.with_label_values(&[source.label()])),
            times: telemetry.latencies("freshet_tiers_read_seconds", help, "source", WAITED.map(Source::label)),
        }
    }

    /// All of them.
    pub(super) fn sum(&self) -> u64 {
        self.counts.iter().map(IntCounter::get).sum()
    }

    /// Counts an answer that L1 or the filter gave at once. It is not timed: a look at the clock would cost as much as the answer.
    pub(super) fn count(&self, source: Source) {
        self.counts[source as usize].inc();
    }

    /// Counts an answer that was waited for.
    pub(super) fn count_waited(&self, source: Source, begun: Instant) {
        self.count(source);
        if let Some(at) = WAITED.iter().position(|waited| *waited == source) {
            self.times[at].observe(begun.elapsed());
        }
    }
}
