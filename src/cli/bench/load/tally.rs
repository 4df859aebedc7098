//! What is counted while a load runs.

use hdrhistogram::Histogram;

use super::{CHECKED_EVERY, report::Point};
use crate::cli::bench::{
    clock::Clock,
    report::{Errors, histogram},
};

/// An interval of the series, in nanoseconds.
const INTERVAL: u64 = 100_000_000;

pub(super) struct Tally {
    pub(super) times: Histogram<u64>,
    pub(super) answers: u64,
    pub(super) errors: Errors,
    pub(super) checked: u64,
    seen: u64,
    interval: Histogram<u64>,
    interval_began: u64,
    pub(super) series: Vec<Point>,
}

impl Tally {
    pub(super) fn new() -> Self {
        Tally {
            times: histogram(),
            answers: 0,
            errors: Errors::default(),
            checked: 0,
            seen: 0,
            interval: histogram(),
            interval_began: 0,
            series: Vec::new(),
        }
    }

    /// The window begins: what was counted while warming up goes, but for errors.
    pub(super) fn begin(&mut self, now: u64) {
        self.times.reset();
        self.interval.reset();
        self.interval_began = now;
        self.answers = 0;
    }

    /// Counts an answer. A closed loop counts what is answered in the window, an open one what was due in it.
    pub(super) fn record(&mut self, clock: &Clock, now: u64, due: u64) {
        let time = now.saturating_sub(due);
        if now < clock.end {
            self.answers += 1;
            self.times.saturating_record(time);
            self.interval.saturating_record(time);
            if now >= self.interval_began + INTERVAL && now >= clock.start {
                self.close_interval(clock, now);
            }
        } else if clock.is_in_window(due) {
            self.times.saturating_record(time);
        }
    }

    pub(super) fn record_unsent(&mut self, clock: &Clock, due: u64) {
        if due >= clock.start {
            self.times.saturating_record(clock.now().saturating_sub(due));
        }
    }

    /// Has one result in [`CHECKED_EVERY`] read in full.
    pub(super) fn sample(&mut self, check: impl FnOnce() -> Result<(), String>) {
        self.seen += 1;
        if self.seen.is_multiple_of(CHECKED_EVERY) {
            self.checked += 1;
            if let Err(problem) = check() {
                self.errors.add(|| problem);
            }
        }
    }

    fn close_interval(&mut self, clock: &Clock, now: u64) {
        let seconds = (now - self.interval_began) as f64 / 1e9;
        self.series.push(Point {
            at_ms: (now - clock.start) / 1_000_000,
            answers_per_s: self.interval.len() as f64 / seconds,
            p99_us: self.interval.value_at_quantile(0.99) as f64 / 1e3,
        });
        self.interval.reset();
        self.interval_began = now;
    }
}
