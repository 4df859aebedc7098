//! What came of a load.

use serde::Serialize;

use crate::cli::figures::counted;

/// Of the whole load, but for `seconds`, which are this run's.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    pub(super) collection: String,
    pub(super) loaded: u64,
    pub(super) failed: u64,
    pub(super) seconds: f64,
    /// How many of `loaded` an earlier run had loaded.
    pub(super) loaded_before: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rejected_file: Option<String>,
}

impl Summary {
    /// In a line.
    pub(super) fn text(&self, rate: f64) -> String {
        let loaded = counted(self.loaded as usize, "record");
        let mut text = format!("loaded {loaded} into {} in {:.1} s ({rate:.0}/s)", self.collection, self.seconds);
        if self.loaded_before > 0 {
            text.push_str(&format!(", {} of them before", counted(self.loaded_before as usize, "record")));
        }
        text + &format!(", {} rejected", counted(self.failed as usize, "row"))
    }
}
