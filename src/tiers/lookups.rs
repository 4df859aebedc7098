//! What became of the records that Redis was asked for.

use prometheus::IntCounter;

use crate::telemetry::Telemetry;

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    /// Redis had it.
    Hit,
    /// Redis did not have it, or not new enough.
    Missed,
    /// Redis did not answer.
    Failed,
    /// Its slice has no keeper yet.
    Unkept,
    /// Its slice is kept, and behind what this node has to see.
    Behind,
    /// No lease could be had in time.
    Unleased,
    /// It was read, and Redis has it now.
    Filled,
}

impl Lookup {
    const ALL: [Lookup; 7] =
        [Lookup::Hit, Lookup::Missed, Lookup::Failed, Lookup::Unkept, Lookup::Behind, Lookup::Unleased, Lookup::Filled];

    const fn label(self) -> &'static str {
        match self {
            Lookup::Hit => "hit",
            Lookup::Missed => "missed",
            Lookup::Failed => "failed",
            Lookup::Unkept => "unkept",
            Lookup::Behind => "behind",
            Lookup::Unleased => "unleased",
            Lookup::Filled => "filled",
        }
    }
}

/// The counters, looked up by label once. Cheap to clone.
#[derive(Clone)]
pub(super) struct Lookups([IntCounter; 7]);

impl Lookups {
    pub(super) fn new(telemetry: &Telemetry) -> Self {
        let help = "Records that Redis was asked for, by what became of it.";
        let counters = telemetry.counters("freshet_shared_lookups_total", help, &["outcome"]);
        Lookups(Lookup::ALL.map(|lookup| counters.with_label_values(&[lookup.label()])))
    }

    pub(super) fn count(&self, lookup: Lookup, records: usize) {
        self.0[lookup as usize].inc_by(records as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_a_counter_of_its_own() {
        let telemetry = Telemetry::new();
        let lookups = Lookups::new(&telemetry);
        Lookup::ALL.into_iter().zip(1..).for_each(|(lookup, records)| lookups.count(lookup, records));
        let counted =
            |lookup: Lookup| telemetry.read().where_label("freshet_shared_lookups_total", "outcome", lookup.label());
        assert_eq!(Lookup::ALL.map(counted), [1, 2, 3, 4, 5, 6, 7]);
    }
}
