//! The snapshots that begin a subscription or a stream of events.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    record::{RecordId, Stamp},
    resilience::Backoff,
    tiers::{Answer, ReadOptions},
};

use super::Service;

/// How long the first attempt to read a snapshot may take. Each further one may take twice as long as the one before it,
/// up to the deadline of any operation, so that a slow database is read in the end.
const PATIENCE: Duration = Duration::from_millis(300);
/// Between attempts.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));

/// One key of a subscription, with the stamp that its watcher has seen.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The record watched.
    pub id: RecordId,
    /// What the watcher has seen of it.
    pub since: Option<Stamp>,
}

impl Opening {
    /// Whether the watcher has `answer` already. Of an absence it cannot be known: its tombstone may be gone.
    pub fn has_seen(&self, answer: &Answer) -> bool {
        self.since.is_some_and(|since| answer.state.stamp <= since) && answer.state.value.is_some()
    }

    /// Whether history was lost between what the watcher has seen and `stamp`.
    pub fn is_reset_by(&self, stamp: Stamp) -> bool {
        self.since.is_some_and(|since| since.generation != 0 && since.generation < stamp.generation)
    }
}

/// The snapshots of a subscription's keys, each as soon as it could be read.
///
/// Watchers register first and read second: a change that a read does not show comes through the hub. A key that cannot be
/// read is tried until it can, since a subscription that was granted is not given up; meanwhile it holds up no other,
/// because it waits between attempts without a permit. (`tests/it/openings.rs`)
pub struct Snapshots {
    service: Service,
    openings: Arc<[Opening]>,
    permits: Permits,
    queue: VecDeque<Unread>,
    reading: FuturesUnordered<BoxFuture<'static, Result<Snapshot, Unread>>>,
    waiting: FuturesUnordered<BoxFuture<'static, Unread>>,
}

/// How many snapshots of one watcher are read, or were read and are not dropped yet, whatever number of its subscriptions
/// share them. Cheap to clone.
#[derive(Clone)]
pub struct Permits {
    semaphore: Arc<Semaphore>,
    count: usize,
}

impl Permits {
    /// `count` of them, at least one.
    pub fn new(count: usize) -> Self {
        Permits { semaphore: Arc::new(Semaphore::new(count.max(1))), count: count.max(1) }
    }
}

/// A snapshot; until it is dropped, its watcher may have one fewer in flight.
pub struct Snapshot {
    /// Whose it is, as a place in the list of openings.
    pub place: usize,
    /// The record.
    pub answer: Answer,
    _permit: OwnedSemaphorePermit,
}

/// A key that has yet to be read.
struct Unread {
    place: usize,
    patience: Duration,
    backoff: Backoff,
}

impl Unread {
    fn new(place: usize) -> Self {
        Unread { place, patience: PATIENCE, backoff: BACKOFF }
    }
}

impl Snapshots {
    /// Reads `openings`, as many side by side as the `permits` allow.
    pub fn new(service: Service, openings: Vec<Opening>, permits: Permits) -> Self {
        let queue = (0..openings.len()).map(Unread::new).collect();
        Snapshots {
            service,
            openings: openings.into(),
            permits,
            queue,
            reading: FuturesUnordered::new(),
            waiting: FuturesUnordered::new(),
        }
    }

    /// Reads the key at `place` once more.
    pub fn again(&mut self, place: usize) {
        self.queue.push_back(Unread::new(place));
    }

    /// The next snapshot that could be read; `None` when there was one of each key.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Snapshot> {
        loop {
            while self.reading.len() < self.permits.count
                && let Some(unread) = self.queue.pop_front()
            {
                self.reading.push(Box::pin(read(
                    self.service.clone(),
                    self.openings.clone(),
                    self.permits.clone(),
                    unread,
                )));
            }
            tokio::select! {
                Some(read) = self.reading.next() => match read {
                    Ok(snapshot) => return Some(snapshot),
                    Err(mut unread) => self.waiting.push(Box::pin(async move {
                        tokio::time::sleep(unread.backoff.next_wait()).await;
                        unread
                    })),
                },
                Some(unread) = self.waiting.next() => self.queue.push_back(unread),
                else => return None,
            }
        }
    }
}

/// One attempt.
async fn read(
    service: Service,
    openings: Arc<[Opening]>,
    permits: Permits,
    mut unread: Unread,
) -> Result<Snapshot, Unread> {
    let Ok(permit) = permits.semaphore.acquire_owned().await else { return Err(unread) };
    let Opening { id, since } = &openings[unread.place];
    let options = ReadOptions { min_stamp: *since, stale_max: None };
    match tokio::time::timeout(unread.patience, service.get(id, &options)).await {
        Ok(Ok(answer)) => return Ok(Snapshot { place: unread.place, answer, _permit: permit }),
        Ok(Err(error)) => tracing::debug!(%error, record.key = %id.key, "a snapshot has to wait"),
        Err(_) => unread.patience = (unread.patience * 2).min(service.config().deadline),
    }
    Err(unread)
}
