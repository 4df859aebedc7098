//! Counters that every module keeps of its own work, gathered in one registry. No I/O, no globals.
//!
//! Names are `freshet_<module>_<what>_<unit>`, with few labels and none unbounded.

pub mod latency;

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder, core::Collector,
};

pub use latency::Latency;

/// Where a node's counters are registered and read. Cheap to clone.
#[derive(Clone, Default)]
pub struct Telemetry {
    registry: Registry,
}

impl Telemetry {
    /// An empty registry.
    pub fn new() -> Self {
        Telemetry::default()
    }

    /// A count that only rises.
    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::new(name, help))
    }

    /// A family of counts, told apart by one label.
    pub fn counters(&self, name: &str, help: &str, label: &str) -> IntCounterVec {
        self.add(IntCounterVec::new(Opts::new(name, help), &[label]))
    }

    /// A number that rises and falls.
    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::new(name, help))
    }

    /// A distribution of durations.
    pub fn latency(&self, name: &str, help: &str) -> Latency {
        Latency(self.add(Histogram::with_opts(HistogramOpts::new(name, help).buckets(latency::BUCKETS.to_vec()))))
    }

    fn add<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let collector = made.expect("metric names are constants that follow Prometheus's rules");
        self.registry.register(Box::new(collector.clone())).expect("each metric is registered once in a node");
        collector
    }

    /// Everything counted so far, in Prometheus's text format.
    pub fn text(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }

    /// The sum of a metric's values over its labels; `None` when there is no such metric.
    pub fn value(&self, name: &str) -> Option<f64> {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name)?;
        Some(family.get_metric().iter().map(|m| m.get_counter().get_value() + m.get_gauge().get_value()).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_read_back() {
        let telemetry = Telemetry::new();
        let sources = telemetry.counters("freshet_tiers_answers_total", "Answers by source.", "source");
        sources.with_label_values(&["local"]).inc_by(3);
        sources.with_label_values(&["store"]).inc();
        assert_eq!(telemetry.value("freshet_tiers_answers_total"), Some(4.0));
        assert!(telemetry.text().contains("freshet_tiers_answers_total{source=\"local\"} 3"));
        assert_eq!(telemetry.value("nothing"), None);
    }
}
