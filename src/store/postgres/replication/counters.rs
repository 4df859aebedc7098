//! What is counted of each server.

use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec};

use crate::telemetry::Telemetry;

/// The counters of all servers. Cheap to clone.
#[derive(Clone)]
pub struct Counters {
    pub(super) reads: IntCounterVec,
    pub(super) failures: IntCounterVec,
    pub(super) lag: GaugeVec,
    pub(super) asked: IntGaugeVec,
    pub(super) promotions: IntCounterVec,
}

impl Counters {
    /// Registers them in `telemetry`.
    pub fn new(telemetry: &Telemetry) -> Self {
        let of_server = ["database", "server"];
        Counters {
            reads: telemetry.counters(
                "freshet_store_reads_total",
                "Records read, for clients and for watchers, by the server that answered.",
                &of_server,
            ),
            failures: telemetry.counters(
                "freshet_store_replica_failures_total",
                "Statements on replicas that failed, by reason; the primary was asked, where there was one.",
                &["database", "server", "reason"],
            ),
            lag: telemetry.durations(
                "freshet_store_replica_lag_seconds",
                "How far a replica was behind when it was last seen.",
                &of_server,
            ),
            asked: telemetry.gauges(
                "freshet_store_replica_asked",
                "1 while the replica may answer reads; a primary has no series.",
                &of_server,
            ),
            promotions: telemetry.counters(
                "freshet_store_primary_changes_total",
                "Times that another server was taken for the primary.",
                &["database"],
            ),
        }
    }
}
