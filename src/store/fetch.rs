//! What a read of the store returns.

use bytes::Bytes;

use crate::record::{DatabaseId, Position, Stamp, State};

/// Where a state was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// On the primary: the read shows every change that was committed before it began.
    Primary,
    /// On a streaming replica: the read shows what its position says, whenever it began.
    Replica,
    /// In the cache that all nodes share: as on a replica.
    Shared,
}

/// Rows of one shard with the position they were read at, all from one snapshot.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Where they were read.
    pub database: DatabaseId,
    /// The newest mark of it that the snapshot showed.
    pub position: Position,
    /// Which server answered.
    pub origin: Origin,
    /// The shard's epoch there.
    pub epoch: u64,
    /// The shard's generation there; every row's version counts within it.
    pub generation: u32,
    /// One for each key asked for, in their order, absent ones included.
    pub rows: Vec<Row>,
}

/// One record as a read found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The row's version, or its tombstone's, or 0 when neither is there.
    pub version: u64,
    /// The row as JSON text; `None` when it does not exist.
    pub value: Option<Bytes>,
}

impl Row {
    /// The state this row shows in `generation`.
    pub fn state(&self, generation: u32) -> State {
        State { stamp: Stamp::new(generation, self.version), value: self.value.clone() }
    }
}
