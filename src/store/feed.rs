//! The change feed at its source: who reports changes, and who leads.

use std::time::Instant;

use crate::record::{Change, Position};

use super::{Error, ShardId, memory, postgres};

/// Everything that became visible since the poll before.
#[derive(Clone, Debug)]
pub struct Poll {
    /// The newest mark visible in the poll's snapshot: once the changes are applied, a cache stands there.
    pub position: Position,
    /// Taken before the poll was sent: every change that was visible then is in this poll or an earlier one.
    pub begun: Instant,
    /// One for each key, at its highest version.
    pub changes: Vec<Change>,
    /// Every shard's generation there, when any differs from the poll before, and with the first poll.
    pub generations: Option<Vec<(ShardId, u32)>>,
    /// False when history was lost since the poll before: whatever was cached must be dropped and read anew.
    pub complete: bool,
}

/// Every change that was visible at a position, and before a moment, has been reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The newest mark visible in the snapshot: a cache stands there.
    pub position: Position,
    /// Taken before the poll was sent.
    pub begun: Instant,
}

/// A reader of one database's outbox. It keeps its place over failed polls.
pub enum Tail {
    /// The outbox of a primary.
    Postgres(postgres::Tail),
    /// The log of the memory store.
    Memory(memory::Tail),
}

impl Tail {
    /// Takes what became visible since the last successful poll.
    ///
    /// The first poll reports no changes, only the position from which on they will be reported.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Deadline`]; the place is kept and the next poll takes up there.
    ///
    /// # Cancel safety
    /// The place moves only when the poll is returned.
    pub async fn poll(&mut self) -> Result<Poll, Error> {
        match self {
            Tail::Postgres(tail) => tail.poll().await,
            Tail::Memory(tail) => Ok(tail.poll().await),
        }
    }
}

/// The one node's right to write marks into a database.
pub enum Lead {
    /// Held by an advisory lock.
    Postgres(postgres::Lead),
    /// The memory store has one node.
    Memory,
}

impl Lead {
    /// Commits the next mark.
    ///
    /// # Errors
    /// Any error means that this node leads no longer.
    pub async fn mark(&mut self) -> Result<(), Error> {
        match self {
            Lead::Postgres(lead) => lead.mark().await,
            Lead::Memory => Ok(()),
        }
    }

    /// Deletes marks, outbox rows, tombstones and idempotency keys past their retention, a batch of each; true when
    /// there is more to delete.
    ///
    /// # Errors
    /// Any error means that this node leads no longer.
    pub async fn prune(&mut self) -> Result<bool, Error> {
        match self {
            Lead::Postgres(lead) => lead.prune().await,
            Lead::Memory => Ok(false),
        }
    }
}
