//! The change feed in PostgreSQL: the tail that every node polls, and the lead of the one node that marks and prunes.

pub(super) mod lead;
mod tail;

pub use lead::Lead;
pub use tail::Tail;
