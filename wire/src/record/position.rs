//! How far a database's history had come when something was read.

/// The number of the newest mark that a read saw; only positions of one database and epoch compare.
///
/// A read that sees mark `n` reflects every change that was visible when mark `n`'s snapshot was taken.
///
/// # Source
/// docs/coherence.md, section 1 (mark) and R5.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub u64);
