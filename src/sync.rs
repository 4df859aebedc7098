//! What threads meet at, in the files that `tests/loom` checks: there, loom's types stand in this place, which try every
//! order of the threads' steps and every value that a load may see.
//!
//! Chosen over `cfg(loom)`, which reaches every dependency and compiles all of them a second time: the package `freshet-loom`
//! includes the checked files themselves, and has a `crate::sync` of its own.

pub use std::sync::atomic;

pub use futures_util::task::AtomicWaker;
