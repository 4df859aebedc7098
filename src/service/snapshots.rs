//! The snapshots that begin a subscription or a stream of events.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    record::{DatabaseId, RecordId, Stamp},
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
/// because it waits between attempts without a permit, and each database has permits of its own. (`tests/it/openings.rs`,
/// `tests/it/silent_database.rs`)
pub struct Snapshots {
    service: Service,
    openings: Arc<[Opening]>,
    permits: Permits,
    /// What is to be read, by database, and of records whose owner is not known.
    queues: Vec<Queue>,
    reading: FuturesUnordered<BoxFuture<'static, (usize, Result<Snapshot, Unread>)>>,
    waiting: FuturesUnordered<BoxFuture<'static, Unread>>,
}

/// The keys of one database.
#[derive(Default)]
struct Queue {
    unread: VecDeque<Unread>,
    /// How many of them are being read, or wait for a permit.
    reading: usize,
}

/// How many snapshots of one watcher are read, or were read and are not dropped yet, whatever number of its subscriptions
/// share them. Cheap to clone.
#[derive(Clone)]
pub struct Permits {
    /// Of each database, and of records whose owner is not known.
    semaphores: Arc<[Arc<Semaphore>]>,
    /// How many each of them has.
    count: usize,
}

impl Permits {
    /// `count` of them, shared out among `databases`, but not fewer than a quarter of it for each.
    pub(super) fn new(count: usize, databases: usize) -> Self {
        let count = (count / databases.max(1)).max(count / 4).max(1);
        let semaphores = (0..=databases).map(|_| Arc::new(Semaphore::new(count))).collect();
        Permits { semaphores, count }
    }

    /// The number of those for the record.
    fn number_of(&self, service: &Service, id: &RecordId) -> usize {
        service.database_of(id).map_or(self.semaphores.len() - 1, DatabaseId::index)
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
    /// The queue that it waits in.
    queue: usize,
    patience: Duration,
    backoff: Backoff,
}

impl Unread {
    fn new(place: usize) -> Self {
        Unread { place, queue: 0, patience: PATIENCE, backoff: BACKOFF }
    }
}

impl Snapshots {
    /// Reads `openings`, as many side by side as the `permits` allow.
    pub fn new(service: Service, openings: Vec<Opening>, permits: Permits) -> Self {
        let mut snapshots = Snapshots {
            service,
            queues: permits.semaphores.iter().map(|_| Queue::default()).collect(),
            permits,
            openings: openings.into(),
            reading: FuturesUnordered::new(),
            waiting: FuturesUnordered::new(),
        };
        (0..snapshots.openings.len()).for_each(|place| snapshots.again(place));
        snapshots
    }

    /// Reads the key at `place` once more.
    pub fn again(&mut self, place: usize) {
        self.enqueue(Unread::new(place));
    }

    fn enqueue(&mut self, mut unread: Unread) {
        // Looked up each time: a shard may have been moved.
        unread.queue = self.permits.number_of(&self.service, &self.openings[unread.place].id);
        self.queues[unread.queue].unread.push_back(unread);
    }

    /// The next snapshot that could be read; `None` when there was one of each key.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Snapshot> {
        loop {
            self.begin_reads();
            tokio::select! {
                Some((database, read)) = self.reading.next() => {
                    self.queues[database].reading -= 1;
                    match read {
                        Ok(snapshot) => return Some(snapshot),
                        Err(mut unread) => self.waiting.push(Box::pin(async move {
                            tokio::time::sleep(unread.backoff.next_wait()).await;
                            unread
                        })),
                    }
                }
                Some(unread) = self.waiting.next() => self.enqueue(unread),
                else => return None,
            }
        }
    }

    fn begin_reads(&mut self) {
        for (database, queue) in self.queues.iter_mut().enumerate() {
            while queue.reading < self.permits.count
                && let Some(unread) = queue.unread.pop_front()
            {
                queue.reading += 1;
                let semaphore = self.permits.semaphores[database].clone();
                let reading = read(self.service.clone(), self.openings.clone(), semaphore, unread);
                self.reading.push(Box::pin(async move { (database, reading.await) }));
            }
        }
    }
}

/// One attempt.
async fn read(
    service: Service,
    openings: Arc<[Opening]>,
    permits: Arc<Semaphore>,
    mut unread: Unread,
) -> Result<Snapshot, Unread> {
    let Ok(permit) = permits.acquire_owned().await else { return Err(unread) };
    let Opening { id, since } = &openings[unread.place];
    let options = ReadOptions { min_stamp: *since, stale_max: None };
    match tokio::time::timeout(unread.patience, service.get(id, &options)).await {
        Ok(Ok(answer)) => return Ok(Snapshot { place: unread.place, answer, _permit: permit }),
        Ok(Err(error)) => tracing::debug!(%error, record.key = %id.key, "a snapshot has to wait"),
        Err(_) => unread.patience = (unread.patience * 2).min(service.config().deadline),
    }
    Err(unread)
}
