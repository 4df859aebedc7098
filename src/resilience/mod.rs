//! What keeps one slow or broken part from taking the rest along: time limits, waits between attempts, owed answers.
//!
//! Promises: a [`Deadline`] covers a whole operation, however many steps it takes; a [`Backoff`] never waits
//! longer than its limit and never in step with its neighbours; who was given a [`Promise`] gets an answer.

pub mod backoff;
pub mod deadline;
pub mod promise;

pub use backoff::Backoff;
pub use deadline::{Deadline, Elapsed};
pub use promise::Promise;
