//! What a run came to, for people and for programs.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::usage::Usage;
use crate::cli::figures::grouped;

/// Times from 1 us to a minute, to three digits.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 60_000_000_000, 3).expect("the bounds are sound constants")
}

/// A distribution of times, in microseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Latency {
    pub(super) count: u64,
    pub(super) mean_us: f64,
    pub(super) p50_us: f64,
    pub(super) p90_us: f64,
    pub(super) p99_us: f64,
    pub(super) p999_us: f64,
    pub(super) max_us: f64,
}

impl Latency {
    /// Of a histogram of nanoseconds.
    pub(super) fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Latency {
            count: histogram.len(),
            mean_us: histogram.mean() / 1e3,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: histogram.max() as f64 / 1e3,
        }
    }

    /// `p50 0.213 ms, ...`
    pub(super) fn text(&self) -> String {
        let millis = |micros: f64| format!("{:.3}", micros / 1e3);
        let Latency { p50_us, p90_us, p99_us, p999_us, max_us, .. } = self;
        let [p50, p90, p99, p999, max] = [p50_us, p90_us, p99_us, p999_us, max_us].map(|micros| millis(*micros));
        format!("p50 {p50} ms, p90 {p90}, p99 {p99}, p99.9 {p999}, max {max}")
    }
}

/// What went wrong in a run. A figure counts only when this is empty.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Errors {
    pub(super) count: u64,
    /// The first one, in words.
    pub(super) first: Option<String>,
}

impl Errors {
    pub(super) fn add(&mut self, problem: impl FnOnce() -> String) {
        self.count += 1;
        self.first.get_or_insert_with(problem);
    }

    /// Says so, if anything went wrong.
    pub(super) fn verdict(&self) -> Result<(), super::Error> {
        match &self.first {
            None => Ok(()),
            Some(first) => Err(super::Error::Wrong(format!("{} went wrong, first: {first}", grouped(self.count)))),
        }
    }
}

/// The processor's line.
pub(super) fn usage_text(usage: &Usage) -> String {
    let mut text = format!("processor: client {:.2} of a core", usage.client);
    for server in &usage.servers {
        text.push_str(&format!(", {} ({}) {:.2}", server.name, server.pid, server.share));
    }
    if usage.is_client_busy {
        text.push_str("; the client may be what limits");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_what_was_recorded() {
        let mut times = histogram();
        (1..=1_000_u64).for_each(|micros| times.saturating_record(micros * 1_000));
        let latency = Latency::of(&times);
        for (figure, expected) in [(latency.p50_us, 500.0), (latency.p99_us, 990.0), (latency.max_us, 1_000.0)] {
            assert!((figure / expected - 1.0).abs() < 0.002, "{figure} {expected}");
        }
        assert!(latency.text().starts_with("p50 0.500 ms, p90 0.90"), "{}", latency.text());
    }

    #[test]
    fn the_first_error_is_told() {
        let mut errors = Errors::default();
        assert!(errors.verdict().is_ok());
        errors.add(|| "one".to_owned());
        errors.add(|| "two".to_owned());
        assert_eq!(errors.verdict().expect_err("errors").to_string(), "get a right answer: 2 went wrong, first: one");
    }
}
