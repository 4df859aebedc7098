//! The vocabulary every other module speaks: keys, stamps, positions, states and patches of records. No I/O.
//!
//! Promises: a value of one of these types is valid, so the inside of the system need not check again; a
//! [`Stamp`] orders the states of one key, and nothing else does. Leaves to others where states come from
//! (`store`), where they are kept (`tiers`) and how they look on the wire (`protocol`).

pub mod collection;
pub mod database;
pub mod key;
pub mod patch;
pub mod position;
pub mod shard;
pub mod stamp;
pub mod state;

pub use collection::{Catalogue, Collection, CollectionId, Column, ColumnKind};
pub use database::{DatabaseId, Lineage};
pub use key::{Key, KeyError, KeyKind, RecordId, RecordRef};
pub use patch::{Patch, PatchError};
pub use position::Position;
pub use shard::{Modulus, ShardId};
pub use stamp::{Stamp, StampError};
pub use state::{Change, State};
