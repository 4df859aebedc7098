//! The servers of one database: which of them is the primary, and which replicas may answer reads.
//!
//! Promises: one server at a time is taken for the primary, and never one of an older history than a primary that was met
//! before; what is read, written or followed on another one's connection after that ends. A replica is asked only while it
//! is known to follow, to be near enough, and to answer. Leaves to `tiers` whether an answer of a replica is new enough to be
//! used.
//!
//! It is assumed that whoever promotes replicas leaves at most one primary that takes writes. A node that has met the new
//! one asks the old one nothing but what it is.

mod connector;
mod counters;
mod probe;
pub(super) mod roles;
mod server;
mod servers;
mod standing;

pub(super) use connector::{Connected, Connector, To};
pub use counters::Counters;
pub(super) use probe::watch;
pub(super) use roles::History;
pub use server::{Role, ServerState};
pub(super) use servers::Servers;
