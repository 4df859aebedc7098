//! What operators and their commands ask of databases: whether each is well and fit, how shards stand, whether databases agree,
//! and their setup.

pub mod comparison;
pub(super) mod health;
pub mod inspect;
pub mod migrate;
pub mod rights;
pub mod rows;
pub mod servers;
pub mod survey;
