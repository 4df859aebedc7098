//! How long something takes: a distribution that can be read while it is added to.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, core::Metric as _};

/// Upper bounds in seconds: three a decade, from 0.1 ms to 10 s.
const BUCKETS: [f64; 16] = [1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];

/// Of a distribution with these bounds.
pub(super) fn options(name: &str, help: &str) -> HistogramOpts {
    HistogramOpts::new(name, help).buckets(BUCKETS.to_vec())
}

/// A distribution of durations. Cheap to clone.
#[derive(Clone)]
pub struct Latency(pub(super) Histogram);

/// What a [`Latency`] held at one moment, or between two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// Durations in each bucket; beyond the last bound, only in the sum of all.
    counts: [u64; BUCKETS.len()],
    all: u64,
}

impl Latency {
    /// Adds one duration.
    pub fn observe(&self, duration: Duration) {
        self.0.observe(duration.as_secs_f64());
    }

    /// Everything added so far.
    pub fn read(&self) -> Distribution {
        let metric = self.0.metric();
        let histogram = metric.get_histogram();
        let mut read = Distribution { all: histogram.get_sample_count(), ..Distribution::default() };
        let mut below = 0;
        for (count, bucket) in read.counts.iter_mut().zip(histogram.get_bucket()) {
            *count = bucket.cumulative_count() - below;
            below = bucket.cumulative_count();
        }
        read
    }
}

impl Distribution {
    /// How many durations it holds.
    pub fn count(&self) -> u64 {
        self.all
    }

    /// What was added after `earlier` was read.
    pub fn since(&self, earlier: &Distribution) -> Self {
        let counts = std::array::from_fn(|at| self.counts[at].saturating_sub(earlier.counts[at]));
        Distribution { counts, all: self.all.saturating_sub(earlier.all) }
    }

    /// The duration that the share `q` of all stays below, as near as the buckets tell; `None` of nothing.
    ///
    /// # Source
    /// Linear within the bucket, as Prometheus's `histogram_quantile` has it; beyond the last bound, that bound.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let rank = q * self.all as f64;
        let (mut below, mut lower) = (0.0, 0.0);
        for (&count, bound) in self.counts.iter().zip(BUCKETS) {
            let count = count as f64;
            if count > 0.0 && below + count >= rank {
                return Some(Duration::from_secs_f64(lower + (bound - lower) * ((rank - below) / count).max(0.0)));
            }
            (below, lower) = (below + count, bound);
        }
        (self.all > 0).then(|| Duration::from_secs_f64(lower))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Telemetry;

    #[test]
    fn quantiles_of_an_interval_are_those_of_what_it_brought() {
        let latency = Telemetry::new().latency("freshet_a_seconds", "Help.");
        assert_eq!(latency.read().quantile(0.5), None);
        (0..100).for_each(|_| latency.observe(Duration::from_secs(3)));
        let earlier = latency.read();
        (0..99).for_each(|_| latency.observe(Duration::from_micros(1_500)));
        latency.observe(Duration::from_secs(60));
        let interval = latency.read().since(&earlier);
        assert_eq!(interval.count(), 100);
        let millis = |q| interval.quantile(q).expect("there are some").as_secs_f64() * 1e3;
        assert!((1.0..=2.0).contains(&millis(0.5)), "{}", millis(0.5));
        assert!((1.9..=2.0).contains(&millis(0.98)), "{}", millis(0.98));
        assert_eq!(interval.quantile(1.0), Some(Duration::from_secs(10)));
    }
}
