//! What operators and their commands ask of a database: whether it is well and fit, how shards stand, and its setup.

pub(super) mod health;
pub mod inspect;
pub mod migrate;
pub mod survey;
