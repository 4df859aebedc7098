//! Freshet serves records to very many clients at cache speed and keeps every screen that shows one up to date.
//!
//! ```text
//! client --WebSocket / HTTP--> gateway -> session -> service -> tiers: L1 moka -> filter -> store
//!                                           ^                                               | commit
//!                                           |                                               v
//!         session's slots <- hub <- follower (every node) <------------------- outbox, marks <- relay
//! ```
//!
//! One idea holds it together: **one version from commit to screen**. The database gives each committed state of a
//! record a version that only rises; cache entries, change events, answers, pushes and clients carry it, and every hop
//! keeps the larger.
//!
//! The modules, from the top floor to the ground. A file imports its own module and lower floors, nothing else.
//!
//! | floor | modules |
//! |---|---|
//! | 9 | [`cli`]: one subcommand a file |
//! | 8 | [`app`]: builds a node, runs it, drains it |
//! | 7 | [`config`]: every module's configuration |
//! | 6 | [`gateway`]: the HTTP edge |
//! | 5 | [`session`]: one client's connection |
//! | 4 | [`service`]: the operations; [`changes`]: a committed change's way to every node |
//! | 3 | [`tiers`]: the read path |
//! | 2 | [`store`]: where records live; [`shared`]: the second tier, in Redis |
//! | 2 | [`hub`]: who watches what; [`client`]: the Rust client, a package of its own |
//! | 1 | [`protocol`]: JSON-RPC on the wire; [`resilience`]: time limits and waits, both of the package `freshet-wire` |
//! | 0 | [`record`]: the vocabulary, of the same package; [`telemetry`]: counters; [`shutdown`]: named tasks and their end |
//! | 0 | `process`: programs that run under us |
//! | 0 | [`completion`]: callbacks; [`digest`]: names for bytes; `sync`: the atomics that `tests/loom` replaces |
//!
//! Stable are the wire (`docs/protocol.md`), the configuration, the commands and the metrics; of Rust, the package
//! `freshet-client`. This library serves the binary, its tests and its benches, and changes with them.

pub use freshet_client as client;
pub use freshet_wire::{protocol, record, resilience};

pub mod app;
pub mod changes;
pub mod cli;
pub mod completion;
pub mod config;
pub mod digest;
pub mod gateway;
pub mod hub;
mod process;
pub mod service;
pub mod session;
pub mod shared;
pub mod shutdown;
pub mod store;
mod sync;
pub mod telemetry;
pub mod tiers;
