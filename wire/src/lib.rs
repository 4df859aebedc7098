//! What Freshet's server and its clients share: the vocabulary of records, the wire, and how both wait.
//!
//! - [`record`]: keys, stamps, states and patches;
//! - [`protocol`]: JSON-RPC on the wire, from and to byte buffers;
//! - [`resilience`]: time limits, and waits between attempts.
//!
//! Stable is what `docs/protocol.md` says of the wire. The Rust items of this package follow the server they are released
//! with: programs should use what `freshet-client` exports of them, and depend on this package for nothing else.

pub mod protocol;
pub mod record;
pub mod resilience;
