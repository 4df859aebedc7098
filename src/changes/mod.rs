//! A committed change's way to every node.
//!
//! Promises: whatever any writer commits reaches this node's tiers and watchers, in the order of each key's versions,
//! none lost, also over outages of the database; when history itself was lost, everything is read anew. Leaves to
//! `tiers` what may be cached, and to `hub` who is told.
//!
//! Each node polls the outbox itself, so a poll of the primary is itself the proof of freshness
//! ([`freshness`](crate::tiers::freshness)). Marks are only the unit of position. `docs/coherence.md` has the rules.
//!
//! - [`relay`]: elected, one for each database: writes marks and deletes what is past its retention.
//! - [`follower`]: every node: tails the outbox and applies what it finds.
//! - `reads`: how it reads what has changed: `sought` in Redis, and `owed` by the primary.
//! - [`listener`]: every node with Redis: takes what keepers tell of changes to its follower, which polls less often meanwhile.
//! - [`keeper`]: one node for each slice: tails the outbox and keeps Redis current.

mod counters;
pub mod follower;
mod hinted;
pub mod keeper;
mod kept_slice;
pub mod listener;
mod owed;
mod pace;
mod reads;
pub mod relay;
mod sought;

pub use counters::Counters;
pub use follower::Follower;
pub use keeper::Keeper;
pub use listener::Listener;
pub use relay::Relay;
