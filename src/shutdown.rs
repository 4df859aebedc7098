//! Named tasks, and their end. A task that does not end when it should is named, and so is one that ends before.

use std::{future::Future, sync::Arc, time::Duration};

use futures_util::future::select_all;
use parking_lot::Mutex;
use tokio::{sync::watch, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

/// Long-lived tasks that stop together, and their token. A node cannot work without any of them. Cheap to clone.
#[derive(Clone, Default)]
pub struct Tasks {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    stop: CancellationToken,
    running: Mutex<Vec<(&'static str, JoinHandle<()>)>>,
    /// The first task that ended before the token fired.
    ended: watch::Sender<Option<&'static str>>,
}

/// Dropped when its task ends, even by a panic.
struct Running {
    name: &'static str,
    inner: Arc<Inner>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.inner.stop.is_cancelled() {
            self.inner.ended.send_modify(|ended| *ended = ended.or(Some(self.name)));
        }
    }
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
        let (work, running) = (task(self.inner.stop.child_token()), Running { name, inner: self.inner.clone() });
        let handle = tokio::spawn(async move {
            let _running = running;
            work.await;
        });
        self.inner.running.lock().push((name, handle));
    }

    /// Waits for a task that ends, or panics, before the token fires; returns its name.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn ended(&self) -> &'static str {
        let mut ended = self.inner.ended.subscribe();
        let name = ended.wait_for(Option::is_some).await.ok().and_then(|name| *name);
        name.expect("the sender lives in this value")
    }

    /// Fires the token. Waiting is [`stop`](Self::stop)'s.
    pub fn cancel(&self) {
        self.inner.stop.cancel();
    }

    /// Ends the task called `name` as a fault would, with no word to anyone; says whether there is one. For tests of what
    /// becomes of the node then.
    pub fn abort(&self, name: &str) -> bool {
        let running = self.inner.running.lock();
        let task = running.iter().find(|(running, _)| *running == name);
        task.inspect(|(_, task)| task.abort()).is_some()
    }

    /// Fires the token and waits up to `limit` for all; returns the names of those that did not end, or panicked.
    pub async fn stop(&self, limit: Duration) -> Vec<&'static str> {
        self.inner.stop.cancel();
        let running = std::mem::take(&mut *self.inner.running.lock());
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

/// Waits for the first of all groups' tasks that ends before its token fires; returns its name.
///
/// # Cancel safety
/// Nothing is lost when the future is dropped.
pub async fn first_ended(groups: &[Tasks]) -> &'static str {
    select_all(groups.iter().map(|group| Box::pin(group.ended()))).await.0
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

    #[tokio::test]
    async fn a_task_that_ends_or_panics_before_it_should_is_named() {
        let tasks = Tasks::new();
        tasks.spawn("good", |stop| async move { stop.cancelled().await });
        tasks.spawn("bad", |_| async { panic!("a fault of the test") });
        assert_eq!(tasks.ended().await, "bad");
        let tasks = Tasks::new();
        tasks.spawn("idle", |_| async {});
        assert_eq!(tasks.ended().await, "idle");
    }

    #[tokio::test]
    async fn of_several_groups_the_first_task_that_ends_is_named() {
        let groups = [Tasks::new(), Tasks::new()];
        for group in &groups {
            group.spawn("good", |stop| async move { stop.cancelled().await });
        }
        groups[1].spawn("bad", |_| std::future::pending());
        assert!(!groups[0].abort("bad") && groups[1].abort("bad"));
        assert_eq!(first_ended(&groups).await, "bad");
    }

    #[tokio::test]
    async fn a_task_that_ends_when_it_should_is_no_fault() {
        let tasks = Tasks::new();
        tasks.spawn("good", |stop| async move { stop.cancelled().await });
        assert!(tasks.stop(Duration::from_secs(5)).await.is_empty());
        assert!(timeout(Duration::ZERO, tasks.ended()).await.is_err());
    }
}
