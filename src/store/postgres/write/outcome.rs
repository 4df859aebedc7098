//! What becomes of writes, and of groups of them.

use crate::store::{Error, Written};

/// What became of a write.
#[derive(Debug)]
pub enum Outcome {
    /// It is answered.
    Done(Result<Written, Error>),
    /// The database refused it.
    Refused(sqlx::Error),
    /// Another transaction holds its row.
    Held,
    /// Another transaction holds its partition, or inserts its key.
    Locked,
}

/// Why nothing of a group was committed.
#[derive(Debug)]
pub enum Aborted {
    /// A statement failed: start over in careful mode.
    Refused(sqlx::Error),
    /// These writes wait for a lock on a partition or, where they insert, on a key that another transaction inserts.
    Locked {
        /// By their places in the group.
        writes: Vec<usize>,
        insert: bool,
    },
    /// A plain statement waits for a row, a key or a partition: start over without plain ones.
    Waited,
    /// A write was carried out before an earlier one of its key: start over stepwise.
    Disorder,
    /// An idempotency key was met before: start over with a look at them.
    Repeated,
    /// A table of the feed is locked, by a vacuum that shortens it, say: start over and wait for it.
    FeedLocked,
    /// What a condition was judged by is over, as the generation of a shard rose, or an absent record came and went: start
    /// over.
    Superseded,
    /// The commit itself was refused.
    CommitRefused(sqlx::Error),
    /// The connection failed before the commit was sent.
    Lost,
    /// Time ran out before the commit was sent.
    Late,
    /// The connection failed, or fell silent, while committing.
    Unknown,
}
