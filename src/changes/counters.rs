//! What followers and relays count, each database under its name.

use prometheus::{IntCounterVec, IntGaugeVec};

use crate::telemetry::Telemetry;

/// The counters of all databases. Cheap to clone.
#[derive(Clone)]
pub struct Counters {
    pub(super) changes: IntCounterVec,
    pub(super) resyncs: IntCounterVec,
    pub(super) statements: IntCounterVec,
    pub(super) position: IntGaugeVec,
    pub(super) marks: IntCounterVec,
    pub(super) leads: IntGaugeVec,
    pub(super) kept: IntGaugeVec,
    pub(super) told: IntGaugeVec,
    pub(super) claims: IntCounterVec,
}

impl Counters {
    /// Registers them in `telemetry`.
    pub fn new(telemetry: &Telemetry) -> Self {
        let counters = |name, help| telemetry.counters(name, help, &["database"]);
        let gauges = |name, help| telemetry.gauges(name, help, &["database"]);
        Counters {
            changes: counters("freshet_changes_applied_total", "Changes taken from the feed."),
            resyncs: counters("freshet_changes_resyncs_total", "Times that history was lost and read anew."),
            statements: counters("freshet_changes_statements_total", "Statements that read what had changed."),
            position: gauges("freshet_changes_position", "The newest mark applied."),
            marks: counters("freshet_changes_marks_total", "Marks this node has committed as the leader."),
            leads: gauges("freshet_changes_leads", "1 while this node leads the database."),
            kept: gauges(
                "freshet_changes_kept_slices",
                "Slices of the database in Redis that this node keeps current.",
            ),
            told: gauges("freshet_changes_told", "1 while keepers tell this node of changes, and it polls less often."),
            claims: telemetry.counters(
                "freshet_changes_claims_total",
                "Times that this node began to keep a slice in Redis, by whether its slots counted further.",
                &["database", "how"],
            ),
        }
    }
}
