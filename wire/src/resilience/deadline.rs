//! One time limit for a whole operation.

use std::{future::Future, time::Duration};

use tokio::time::Instant;

/// The moment by which an operation must have ended. Handed down instead of a timeout per step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

/// Time ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the deadline passed")]
pub struct Elapsed;

impl Deadline {
    /// `limit` from now.
    pub fn after(limit: Duration) -> Self {
        Deadline(Instant::now() + limit)
    }

    /// The time left; zero when there is none.
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether no time is left.
    pub fn passed(self) -> bool {
        self.left().is_zero()
    }

    /// This deadline, or `limit` from now if that comes first.
    pub fn at_most(self, limit: Duration) -> Self {
        self.min(Deadline::after(limit))
    }

    /// Runs `work` until the deadline.
    ///
    /// # Errors
    /// [`Elapsed`] when time ran out; `work` is dropped then.
    pub async fn limit<F: Future>(self, work: F) -> Result<F::Output, Elapsed> {
        tokio::time::timeout_at(self.0, work).await.map_err(|_| Elapsed)
    }
}
