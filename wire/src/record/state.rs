//! One committed state of a record, and the change that made it.

use bytes::Bytes;

use super::{CollectionId, Key, Stamp};

/// A committed state: the value's JSON text as the database made it, or absence, at its stamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The version this state has; an absent state carries its tombstone's, or version 0 when none is remembered.
    pub stamp: Stamp,
    /// The row as JSON text, opaque from here on; `None` when the record does not exist.
    pub value: Option<Bytes>,
}

impl State {
    /// An absence at `stamp`.
    pub const fn absent(stamp: Stamp) -> Self {
        State { stamp, value: None }
    }
}

/// One record's change as the feed reports it: which record, and the version it reached. The state itself is
/// read only where somebody wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The record's collection.
    pub collection: CollectionId,
    /// The record's key.
    pub key: Key,
    /// The highest version of the key in the poll that found it.
    pub version: u64,
    /// Whether that version is a deletion.
    pub deleted: bool,
}
