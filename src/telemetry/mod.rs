//! Counters that every module keeps of its own work, gathered in one registry. No I/O, no globals.
//!
//! Names are `freshet_<module>_<what>_<unit>`, with few labels and none unbounded.

pub mod latency;

use std::collections::BTreeMap;

use prometheus::{
    GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
    core::Collector,
    proto::{Metric, MetricFamily},
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

    /// A family of counts, told apart by labels.
    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.add(IntCounterVec::new(Opts::new(name, help), labels))
    }

    /// A number that rises and falls.
    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::new(name, help))
    }

    /// A family of numbers that rise and fall, told apart by labels.
    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    /// A family of durations that rise and fall, in seconds, told apart by labels.
    pub fn durations(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.add(GaugeVec::new(Opts::new(name, help), labels))
    }

    /// What a gauge may come to at the most, as configured, so that a share of it can be shown.
    pub fn limit(&self, name: &str, help: &str, limit: impl TryInto<i64>) {
        self.gauge(name, help).set(limit.try_into().unwrap_or(i64::MAX));
    }

    /// A distribution of durations.
    pub fn latency(&self, name: &str, help: &str) -> Latency {
        Latency(self.add(Histogram::with_opts(latency::options(name, help))))
    }

    /// A family of distributions of durations, told apart by `label`, for each of `values`.
    pub fn latencies<const N: usize>(&self, name: &str, help: &str, label: &str, values: [&str; N]) -> [Latency; N] {
        let latencies = self.add(HistogramVec::new(latency::options(name, help), &[label]));
        values.map(|value| Latency(latencies.with_label_values(&[value])))
    }

    /// Which release this is, and what the operating system says of the process: its processor time, memory, open files, and when
    /// it was started.
    ///
    /// # Source
    /// The names that Prometheus's client libraries share: "Writing client libraries", process metrics.
    pub fn add_process(&self) {
        let build = self.gauges("freshet_build_info", "The release that runs; always 1.", &["version"]);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        #[cfg(target_os = "linux")]
        self.registry
            .register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))
            .expect("a node has one registry, and is told once to add its process");
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

    /// Every counter and gauge as it stands now.
    pub fn read(&self) -> Reading {
        Reading(self.registry.gather())
    }
}

/// The counters and gauges of a node at one moment.
pub struct Reading(Vec<MetricFamily>);

impl Reading {
    /// The sum of a metric's values over its labels; `None` when there is no such metric, or none of its labels was used.
    pub fn sum(&self, name: &str) -> Option<u64> {
        Some(self.family(name)?.iter().map(value).sum())
    }

    /// A metric's values by the value of its label; under "" where it has none.
    pub fn by_label(&self, name: &str) -> BTreeMap<String, u64> {
        let label =
            |metric: &Metric| metric.get_label().first().map_or_else(String::new, |label| label.value().to_owned());
        self.family(name).unwrap_or_default().iter().map(|metric| (label(metric), value(metric))).collect()
    }

    /// The sum of a metric's values whose `label` is `value`.
    pub fn where_label(&self, name: &str, label: &str, value: &str) -> u64 {
        let is_wanted =
            |metric: &&Metric| metric.get_label().iter().any(|pair| pair.name() == label && pair.value() == value);
        self.family(name).unwrap_or_default().iter().filter(is_wanted).map(self::value).sum()
    }

    fn family(&self, name: &str) -> Option<&[Metric]> {
        self.0.iter().find(|family| family.name() == name).map(MetricFamily::get_metric)
    }
}

/// A negative gauge reads as zero.
fn value(metric: &Metric) -> u64 {
    (metric.get_counter().get_value() + metric.get_gauge().get_value()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_read_back() {
        let telemetry = Telemetry::new();
        let sources = telemetry.counters("freshet_tiers_answers_total", "Answers by source.", &["source"]);
        sources.with_label_values(&["local"]).inc_by(3);
        sources.with_label_values(&["store"]).inc();
        telemetry.gauge("freshet_tiers_answers_total_open", "Help.").set(7);
        let reading = telemetry.read();
        assert_eq!(reading.sum("freshet_tiers_answers_total"), Some(4));
        let by_label = BTreeMap::from([("local".into(), 3), ("store".into(), 1)]);
        assert_eq!(reading.by_label("freshet_tiers_answers_total"), by_label);
        assert_eq!(reading.by_label("freshet_tiers_answers_total_open"), BTreeMap::from([(String::new(), 7)]));
        assert_eq!((reading.sum("nothing"), reading.by_label("nothing").len()), (None, 0));
        assert!(telemetry.text().contains("freshet_tiers_answers_total{source=\"local\"} 3"));
    }
}
