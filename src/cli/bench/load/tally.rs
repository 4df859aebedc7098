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
    /// Requests have their moments whatever the server does.
    is_open_loop: bool,
    pub(super) times: Histogram<u64>,
    pub(super) answers: u64,
    /// Requests that were due in the window and had no place until it ended.
    pub(super) unsent: u64,
    pub(super) errors: Errors,
    pub(super) checked: u64,
    seen: u64,
    interval: Histogram<u64>,
    interval_began: u64,
    pub(super) series: Vec<Point>,
}

impl Tally {
    /// For a window that begins at `start`.
    pub(super) fn new(is_open_loop: bool, start: u64) -> Self {
        Tally {
            is_open_loop,
            times: histogram(),
            answers: 0,
            unsent: 0,
            errors: Errors::default(),
            checked: 0,
            seen: 0,
            interval: histogram(),
            interval_began: start,
            series: Vec::new(),
        }
    }

    /// Counts an answer. A closed loop counts what is answered in the window; an open one what was due in it, answered
    /// when it may: a request that waits while the window begins or ends belongs to one side only.
    pub(super) fn record(&mut self, clock: &Clock, now: u64, due: u64) {
        if !clock.is_in_window(if self.is_open_loop { due } else { now }) {
            return;
        }
        let time = now.saturating_sub(due);
        self.answers += 1;
        self.times.saturating_record(time);
        if now < clock.end {
            self.interval.saturating_record(time);
            if now >= self.interval_began + INTERVAL {
                self.close_interval(clock, now);
            }
        }
    }

    /// Counts a request that had no place until the window ended; its time is as long as it waited by then.
    pub(super) fn record_unsent(&mut self, clock: &Clock, due: u64) {
        if clock.is_in_window(due) {
            self.unsent += 1;
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::bench::clock::ClockArgs;

    /// What a loop counts of answers at (now, due), in milliseconds, when the window is from 100 to 200.
    fn counted(is_open_loop: bool, answers: &[(u64, u64)]) -> (u64, u64) {
        let length = Duration::from_millis(100);
        let clock = Clock::start(&ClockArgs { duration: length, warm_up: length });
        let mut tally = Tally::new(is_open_loop, clock.start);
        for (now, due) in answers {
            tally.record(&clock, now * 1_000_000, due * 1_000_000);
        }
        (tally.answers, tally.times.len())
    }

    #[test]
    fn a_closed_loop_counts_what_is_answered_in_the_window() {
        assert_eq!(counted(false, &[(99, 50), (100, 99), (199, 150), (200, 150)]), (2, 2));
    }

    #[test]
    fn an_open_loop_counts_what_was_due_in_the_window() {
        assert_eq!(counted(true, &[(99, 50), (150, 99), (150, 100), (200, 199), (900, 199), (900, 200)]), (3, 3));
    }

    #[test]
    fn a_request_without_a_place_is_counted_if_it_was_due_in_the_window() {
        let clock = Clock::start(&ClockArgs { duration: Duration::from_millis(1), warm_up: Duration::from_millis(1) });
        let mut tally = Tally::new(true, clock.start);
        for due in [clock.start - 1, clock.start, clock.end - 1, clock.end] {
            tally.record_unsent(&clock, due);
        }
        assert_eq!((tally.unsent, tally.times.len(), tally.answers), (2, 2, 0));
    }
}
