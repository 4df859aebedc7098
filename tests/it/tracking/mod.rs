//! Which tables become collections, how, and what feed.health says about them later.

mod health;
mod refusals;
mod shards;
mod tables;
