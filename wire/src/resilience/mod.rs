//! What keeps one slow part from taking the rest along: time limits, and waits between attempts.
//!
//! Promises: a [`Deadline`] covers a whole operation, however many steps it takes; a [`Backoff`] never waits longer than its
//! limit and never in step with its neighbours.

pub mod backoff;
pub mod deadline;

pub use backoff::Backoff;
pub use deadline::{Deadline, Elapsed};
