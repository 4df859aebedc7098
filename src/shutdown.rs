//! Named tasks, and their end. A task that does not end is named.

use std::{future::Future, time::Duration};

use parking_lot::Mutex;
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

/// The long-lived tasks of a node and the token that stops them.
#[derive(Default)]
pub struct Tasks {
    stop: CancellationToken,
    running: Mutex<Vec<(&'static str, JoinHandle<()>)>>,
}

impl Tasks {
    /// No task yet.
    pub fn new() -> Self {
        Tasks::default()
    }

    /// Starts a task that ends when the token it is given fires.
    pub fn spawn<F>(&self, name: &'static str, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let handle = tokio::spawn(task(self.stop.child_token()));
        self.running.lock().push((name, handle));
    }

    /// Fires the token and waits up to `limit` for all; returns the names of those that did not end, or panicked.
    pub async fn stop(&self, limit: Duration) -> Vec<&'static str> {
        self.stop.cancel();
        let running = std::mem::take(&mut *self.running.lock());
        let mut left = Vec::new();
        let deadline = tokio::time::Instant::now() + limit;
        for (name, mut handle) in running {
            let rest = deadline.saturating_duration_since(tokio::time::Instant::now());
            if !matches!(timeout(rest, &mut handle).await, Ok(Ok(()))) {
                handle.abort();
                left.push(name);
            }
        }
        left
    }
}

/// Runs one phase of a drain within `limit`; a phase that does not end is named in the log and left behind.
pub async fn phase<T>(name: &'static str, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    let begun = std::time::Instant::now();
    match timeout(limit, work).await {
        Ok(done) => {
            let duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::debug!(phase = name, duration_ms, "drain: done");
            Some(done)
        }
        Err(_) => {
            tracing::warn!(phase = name, limit = ?limit, "drain: not done in time, going on without");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_end_is_named() {
        let tasks = Tasks::new();
        tasks.spawn("good", |stop| async move { stop.cancelled().await });
        tasks.spawn("stuck", |_| std::future::pending());
        assert_eq!(tasks.stop(Duration::from_secs(1)).await, ["stuck"]);
    }
}
