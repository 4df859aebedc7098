//! What of Redis a node uses: an operator turns it off and on while the node runs.
//!
//! They apply to this node alone and are not kept: a node starts with those of its configuration. What is under way when one is
//! turned off is finished.

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// `[redis.switches]`: what a node uses.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Switches {
    /// Redis answers reads, and of several nodes that miss a record one reads it. Off: the databases answer.
    pub reads: bool,
    /// What this node has read of a database is put into Redis.
    pub fills: bool,
    /// Hints of keepers are listened to. Off: the node polls the databases more often.
    pub hints: bool,
    /// While `reads` is off: the share of misses that are looked up in Redis as well, filled there and compared; the database's
    /// answer is served. From 0 to 1.
    pub shadow: f64,
}

impl Default for Switches {
    fn default() -> Self {
        Switches { reads: true, fills: true, hints: true, shadow: 0.0 }
    }
}

impl Switches {
    /// The first that has no sensible value, with what is wrong and how to mend it.
    pub fn misconfigured(&self) -> Option<(&'static str, String)> {
        let is_share = (0.0..=1.0).contains(&self.shadow);
        (!is_share).then(|| ("shadow", "must be a share from 0 to 1, such as 0.05".to_owned()))
    }
}

/// Those that are to be changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Change {
    /// [`Switches::reads`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reads: Option<bool>,
    /// [`Switches::fills`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fills: Option<bool>,
    /// [`Switches::hints`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hints: Option<bool>,
    /// [`Switches::shadow`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<f64>,
}

impl Change {
    fn of(self, switches: Switches) -> Switches {
        Switches {
            reads: self.reads.unwrap_or(switches.reads),
            fills: self.fills.unwrap_or(switches.fills),
            hints: self.hints.unwrap_or(switches.hints),
            shadow: self.shadow.unwrap_or(switches.shadow),
        }
    }
}

/// The switches of a running node.
pub(super) struct Board(watch::Sender<Switches>);

impl Board {
    pub(super) fn new(switches: Switches) -> Self {
        Board(watch::Sender::new(switches))
    }

    pub(super) fn switches(&self) -> Switches {
        *self.0.borrow()
    }

    /// Makes a change, which is logged; returns the state of all switches. One with a value that makes no sense changes nothing.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn change(&self, change: Change) -> Result<Switches, String> {
        let mut refused = None;
        self.0.send_if_modified(|switches| {
            let changed = change.of(*switches);
            refused = changed.misconfigured().map(|(name, reason)| format!("{name}: {reason}"));
            let is_news = refused.is_none() && changed != *switches;
            if is_news {
                tracing::warn!(from = ?*switches, to = ?changed, "what is used of Redis was switched");
                *switches = changed;
            }
            is_news
        });
        refused.map_or_else(|| Ok(self.switches()), Err)
    }

    /// Waits until hints are listened to.
    pub(super) async fn hints_on(&self) {
        // The sender lives as long as this call.
        drop(self.0.subscribe().wait_for(|switches| switches.hints).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_leaves_what_it_does_not_name() {
        let board = Board::new(Switches::default());
        let changed = board.change(Change { reads: Some(false), shadow: Some(0.5), ..Change::default() });
        let expected = Switches { reads: false, shadow: 0.5, ..Switches::default() };
        assert_eq!((changed, board.switches()), (Ok(expected), expected));
    }

    #[test]
    fn an_impossible_share_changes_nothing() {
        let board = Board::new(Switches::default());
        for shadow in [-0.1, 1.1, f64::NAN] {
            let refused = board.change(Change { reads: Some(false), shadow: Some(shadow), ..Change::default() });
            let expected = "shadow: must be a share from 0 to 1, such as 0.05".to_owned();
            assert_eq!((refused, board.switches()), (Err(expected), Switches::default()));
        }
    }
}
