//! What the demonstration page is told of the shop that is played beside the node.

use serde::{Deserialize, Serialize};

/// The shop that is played beside the node, so that a viewer can tell what is simulated.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Shop {
    /// What time it is there, in Unix seconds; none before the first sale.
    pub at: Option<i64>,
    /// Whether it sells.
    pub hours: Hours,
    /// How many seconds pass there in one of ours.
    pub speed: u32,
    /// How many reads a second its simulated visitors make.
    pub readers: u32,
}

/// Whether the shop sells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hours {
    /// Nothing is replayed.
    #[default]
    Still,
    /// Sales come in.
    Open,
    /// The next sale is the next morning's.
    Closed,
    /// All sales have been replayed.
    Over,
}
