//! The queues in which held writes wait, each key in its own.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    record::{CollectionId, RecordId, ShardId},
    store::{Error, postgres::write::Job},
};

/// Writes that may wait here.
pub const HELD_MAX: usize = 1_024;
/// WaitQueues tried together.
const POLL_LEN_MAX: usize = 256;
/// After a statement had to wait for a lock on a shard, the writes like it are sent here for so long.
const LOCKED_FOR: Duration = Duration::from_millis(250);

/// A shard of which something is locked.
type LockedShard = (CollectionId, ShardId);

/// All queues.
#[derive(Default)]
pub struct WaitQueues {
    by_key: HashMap<RecordId, WaitQueue>,
    /// All writes in queues, those being tried included.
    writes: usize,
    /// Until when writes of a shard come here at once, and whether inserts only.
    locked: HashMap<LockedShard, (Instant, bool)>,
    /// No more writes are taken.
    is_closed: bool,
}

/// A write that is not taken, and what it is answered.
pub struct Refused {
    pub job: Job,
    pub error: Error,
}

struct WaitQueue {
    jobs: VecDeque<Job>,
    tried: Instant,
    /// A task has its first writes.
    is_running: bool,
    /// It waits for more than its row, so that trying it without waiting is not possible.
    is_locked: bool,
}

impl WaitQueue {
    /// The first writes, up to one whose idempotency key another of them has: what the first comes to must be known.
    fn take(&mut self) -> Vec<Job> {
        self.is_running = true;
        let mut tokens = HashSet::new();
        let mut is_new = |job: &Job| job.write.token.as_ref().is_none_or(|token| tokens.insert(token.key.clone()));
        let len = self.jobs.iter().position(|job| !is_new(job)).unwrap_or(self.jobs.len());
        self.jobs.drain(..len).collect()
    }
}

impl WaitQueues {
    /// WaitQueues and locked shards.
    pub fn len(&self) -> usize {
        self.by_key.len() + self.locked.len()
    }

    /// Whether no write waits.
    pub fn is_idle(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Whether a write has to wait here: its key has a queue, or its shard is locked.
    pub fn concern(&self, job: &Job) -> bool {
        let is_locked = self.locked.get(&shard_of(job)).is_some_and(|(until, inserts_only)| {
            *until > Instant::now() && (!inserts_only || job.write.inserts_first())
        });
        is_locked || self.by_key.contains_key(&job.write.id)
    }

    /// Puts a write at the end of its queue; returns it when there are too many, or none is taken any more. It is to be
    /// answered without the lock.
    #[must_use]
    pub fn push(&mut self, job: Job, is_locked: bool) -> Option<Refused> {
        if self.is_closed {
            return Some(Refused { job, error: Error::shutting_down() });
        }
        if self.writes >= HELD_MAX {
            return Some(Refused { job, error: Error::Overloaded });
        }
        self.writes += 1;
        let queue = self.by_key.entry(job.write.id.clone()).or_insert_with(|| WaitQueue {
            jobs: VecDeque::new(),
            tried: Instant::now(),
            is_running: false,
            is_locked,
        });
        queue.jobs.push_back(job);
        None
    }

    /// Has the writes of a shard come here at once for a while; with `inserts_only` only those that insert.
    pub fn lock_shard_of(&mut self, job: &Job, inserts_only: bool) {
        self.locked.insert(shard_of(job), (Instant::now() + LOCKED_FOR, inserts_only));
    }

    /// Takes the writes whose time is over, and forgets the locks whose time is.
    #[must_use]
    pub fn expire(&mut self) -> Vec<Job> {
        let mut late = Vec::new();
        for queue in self.by_key.values_mut() {
            let (over, left) = queue.jobs.drain(..).partition::<Vec<_>, _>(|job| job.deadline.passed());
            late.extend(over);
            queue.jobs = left.into();
        }
        self.writes -= late.len();
        self.by_key.retain(|_, queue| queue.is_running || !queue.jobs.is_empty());
        let now = Instant::now();
        self.locked.retain(|_, (until, _)| *until > now);
        late
    }

    /// Takes all writes but those being tried, and from now on takes none.
    #[must_use]
    pub fn close(&mut self) -> Vec<Job> {
        self.is_closed = true;
        let jobs: Vec<Job> = self.by_key.drain().flat_map(|(_, queue)| queue.jobs).collect();
        self.writes -= jobs.len();
        jobs
    }

    /// The writes of the queue that was tried longest ago.
    pub fn take_oldest(&mut self) -> Option<Vec<Job>> {
        let idle = self.by_key.values_mut().filter(|queue| !queue.is_running && !queue.jobs.is_empty());
        Some(idle.min_by_key(|queue| queue.tried)?.take())
    }

    /// The writes of queues that wait for their rows only, and are not being tried.
    pub fn take_pollable(&mut self) -> Vec<Job> {
        let idle =
            self.by_key.values_mut().filter(|queue| !queue.is_running && !queue.is_locked && !queue.jobs.is_empty());
        idle.take(POLL_LEN_MAX).flat_map(WaitQueue::take).collect()
    }

    /// Ends a try of `tried` writes of `keys`: those left go back to the heads of their queues, with whether they wait for
    /// more than a row. Returns those whose queues were closed meanwhile.
    #[must_use]
    pub fn put_back(&mut self, keys: &[RecordId], tried: usize, left: Vec<(Job, bool)>) -> Vec<Job> {
        self.writes -= tried - left.len();
        let mut closed = Vec::new();
        for (job, is_locked) in left.into_iter().rev() {
            let Some(queue) = self.by_key.get_mut(&job.write.id) else {
                closed.push(job);
                continue;
            };
            queue.is_locked = is_locked;
            queue.jobs.push_front(job);
        }
        self.writes -= closed.len();
        let now = Instant::now();
        for key in keys {
            let Some(queue) = self.by_key.get_mut(key) else { continue };
            (queue.is_running, queue.tried) = (false, now);
            if queue.jobs.is_empty() {
                self.by_key.remove(key);
            }
        }
        closed
    }
}

fn shard_of(job: &Job) -> LockedShard {
    (job.write.id.collection, job.shard)
}
