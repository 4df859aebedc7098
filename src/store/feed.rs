//! The change feed at its source: who reports changes, and who leads.

use std::time::Instant;

use crate::record::{Change, Position, ShardId};

use super::{Error, memory, postgres};

/// Changes that became visible since the poll before, or a part of them.
///
/// What became visible at once may be more than one poll holds: a transaction of millions of rows, or what gathered in an
/// outage. It comes in several polls then, with those between them that report what was committed later. Only the one that
/// completes it carries a proof: a cache that stands at a position lacks no change of it.
#[derive(Clone, Debug)]
pub struct Poll {
    /// The newest mark visible in the snapshot that the changes come from.
    pub position: Position,
    /// No change reported here was visible before this moment.
    pub since: Instant,
    /// One for each key, at the highest version that this poll found. A later poll may report an older one.
    pub changes: Vec<Change>,
    /// What holds when this poll has been applied, and all before it; `None` while a part of them is still to come.
    pub proof: Option<Proof>,
    /// Set when the changes are a page of a backlog: each read of the primary that begins after this moment shows all of
    /// that backlog, so one base can take the place of a floor for each of its keys.
    pub backlog: Option<Instant>,
    /// Every shard's generation there, when that of a known shard differs from the poll before, and with the first poll.
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
    /// The outbox of a database.
    Postgres(postgres::Tail),
    /// The log of the memory store.
    Memory(memory::Tail),
}

impl Tail {
    /// Takes what became visible since the last successful poll, or a part of it.
    ///
    /// The first poll reports no changes, only the position from which on they will be reported.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Deadline`]; the place is kept and the next poll takes up there.
    ///
    /// # Cancel safety
    /// The place moves only when the poll is returned. A statement under way goes on, and the next call waits for it.
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
