//! How far the state that a screen shows is proven.

use std::time::Duration;

/// Up to when a record's state on a screen reflects every change that its database showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proven {
    /// Whether that is recent enough.
    pub is_fresh: bool,
    /// How long ago it was. Later changes may be missing.
    pub age: Duration,
}

/// A slot whose watcher has to be told how its record stands.
#[derive(Debug)]
pub struct Untold {
    /// The slot.
    pub slot: super::SlotId,
    /// Its subscription.
    pub subscription: u64,
    /// The record's key.
    pub key: crate::record::Key,
    /// What is to be told.
    pub proven: Proven,
}
