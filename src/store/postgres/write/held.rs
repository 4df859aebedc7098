//! Writes whose rows, keys or tables other transactions hold.
//!
//! They leave their lane and wait here, each key in its own queue, so that they delay nothing but later writes of the same
//! key. A few queues at a time wait for their lock on a connection, in turn; all others are tried together every few
//! milliseconds, passing by what is held, so that a row that is let go need not wait until its queue has a connection.
//!
//! A key that another transaction is inserting cannot be told from a free one without waiting for it. The first group
//! that meets one waits 5 ms; for a while after that, inserts into the shard come here at once.
//!
//! Promise: writes of one key are carried out in the order they came. At most [`HELD_MAX`](super::wait_queues::HELD_MAX) writes
//! wait; a write beyond them is refused with [`Error::Overloaded`]. Each is answered by its deadline.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::sleep};

use crate::{
    record::RecordId,
    resilience::Deadline,
    shutdown::Tasks,
    store::{
        Error,
        postgres::{
            failure,
            write::{
                Common, GROUP_LOCK_LIMIT_MS, Job,
                group::{self, Mode, SeenGenerations},
                lanes::answer_late,
                outcome::{Aborted, Outcome},
                wait_queues::{Refused, WaitQueues},
            },
        },
    },
};

/// How long a queue waits for its lock before another takes its connection, in milliseconds.
pub const LOCK_LIMIT_MS: u32 = 100;
/// How often queues that have no connection are tried.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The queues, and what carries their writes out. Cheap to clone.
#[derive(Clone)]
pub struct HeldWrites {
    queues: Arc<Mutex<WaitQueues>>,
    /// Of the queues, so that a lane need not lock where there are none.
    len: Arc<AtomicUsize>,
    wake: Arc<Notify>,
    common: Arc<Common>,
}

/// A try of some writes. Dropping it ends the try: what is left goes back to the queues.
struct Try {
    held: HeldWrites,
    /// Tries of its kind that are under way.
    running: Arc<AtomicUsize>,
    keys: Vec<RecordId>,
    tried: usize,
    left: Vec<(Job, bool)>,
}

impl Try {
    /// Ends it with these left.
    fn end(mut self, left: Vec<(Job, bool)>) {
        self.left = left;
    }
}

impl Drop for Try {
    fn drop(&mut self) {
        let left = mem::take(&mut self.left);
        let closed = self.held.change(|queues| queues.put_back(&self.keys, self.tried, left));
        tell_closed(closed);
        self.running.fetch_sub(1, Ordering::AcqRel);
        self.held.wake.notify_one();
    }
}

impl HeldWrites {
    /// Starts the task that has queues tried.
    pub fn start(common: Arc<Common>, connections: u32, core: &Tasks) -> Self {
        let held = HeldWrites { queues: Arc::default(), len: Arc::default(), wake: Arc::default(), common };
        let running = held.clone();
        core.spawn("held writes", |stop| async move {
            stop.run_until_cancelled(running.run(connections)).await;
        });
        held
    }

    /// Takes a write whose key has a queue, or whose shard is locked; returns any other.
    pub fn divert(&self, job: Job) -> Option<Job> {
        if self.len.load(Ordering::Acquire) == 0 {
            return Some(job);
        }
        let refused = self.change(|queues| if queues.concern(&job) { Ok(queues.push(job, false)) } else { Err(job) });
        match refused {
            Ok(refused) => {
                self.wake.notify_one();
                refuse(refused);
                None
            }
            Err(job) => Some(job),
        }
    }

    /// Takes a write whose row another transaction holds.
    pub fn hold(&self, job: Job) {
        let refused = self.change(|queues| queues.push(job, false));
        self.wake.notify_one();
        refuse(refused);
    }

    /// Takes writes whose statement had to wait for a lock; with `inserts_only` for one on a key.
    pub fn lock(&self, jobs: Vec<Job>, inserts_only: bool) {
        let refused: Vec<_> = self.change(|queues| {
            let push = |job: Job| {
                queues.lock_shard_of(&job, inserts_only);
                queues.push(job, true)
            };
            jobs.into_iter().filter_map(push).collect()
        });
        self.wake.notify_one();
        refuse(refused);
    }

    /// Waits until no write is held, or until `deadline`. Those that are held still are told that they did not happen, and so
    /// is whichever comes later.
    pub async fn close(&self, deadline: Deadline) {
        while !self.queues.lock().is_idle() && !deadline.passed() {
            sleep(POLL_INTERVAL).await;
        }
        tell_closed(self.change(WaitQueues::close));
    }

    /// Changes the queues; nothing may be answered meanwhile.
    fn change<T>(&self, change: impl FnOnce(&mut WaitQueues) -> T) -> T {
        let mut queues = self.queues.lock();
        let result = change(&mut queues);
        self.len.store(queues.len(), Ordering::Release);
        result
    }

    async fn run(self, connections: u32) {
        let (waiting, polling) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let waiting_max = connections.saturating_sub(1).max(1) as usize;
        loop {
            if self.len.load(Ordering::Acquire) == 0 {
                self.wake.notified().await;
            }
            answer_late(self.change(WaitQueues::expire));
            while waiting.load(Ordering::Acquire) < waiting_max {
                let Some(jobs) = self.change(WaitQueues::take_oldest) else { break };
                self.spawn(jobs, true, &waiting);
            }
            if polling.load(Ordering::Acquire) == 0 {
                let jobs = self.change(WaitQueues::take_pollable);
                if !jobs.is_empty() {
                    self.spawn(jobs, false, &polling);
                }
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Tries writes in a task; those still held go back to the heads of their queues.
    fn spawn(&self, jobs: Vec<Job>, waits: bool, running: &Arc<AtomicUsize>) {
        running.fetch_add(1, Ordering::AcqRel);
        let attempt = Try {
            held: self.clone(),
            running: running.clone(),
            keys: jobs.iter().map(|job| job.write.id.clone()).collect(),
            tried: jobs.len(),
            left: Vec::new(),
        };
        self.common.tasks.spawn(async move {
            let left = attempt.held.carry_out(answer_late(jobs), waits).await;
            attempt.end(left);
        });
    }

    /// Carries writes out; returns those still held, with whether they wait for more than a row.
    async fn carry_out(&self, jobs: Vec<Job>, waits: bool) -> Vec<(Job, bool)> {
        let (placed, mut jobs) = self.common.place(jobs).await;
        let Some(deadline) = jobs.iter().map(|job| job.deadline).min() else { return Vec::new() };
        let mut mode = Mode {
            is_careful: true,
            looks_up: true,
            waits,
            isolates_locks: true,
            waits_for_feed: true,
            lock_limit_ms: (!waits).then_some(GROUP_LOCK_LIMIT_MS),
            ..Mode::default()
        };
        let generations = SeenGenerations::default();
        loop {
            let mut connection = match self.common.waits.acquire(deadline).await {
                Ok(connection) => connection,
                Err(Error::Deadline) => return keep(jobs),
                Err(error) => {
                    jobs.into_iter().for_each(|job| job.answer.complete(Err(error.clone())));
                    return Vec::new();
                }
            };
            let feed = &self.common.feed;
            let committed = match group::stage(connection.pooled(), feed, &placed, mode, &generations, deadline).await {
                Ok(staged) => {
                    jobs.iter_mut().for_each(Job::set_sent);
                    staged.commit(&mut connection, feed, deadline).await
                }
                Err(aborted) => Err(aborted),
            };
            if !matches!(committed, Err(Aborted::Lost | Aborted::Late | Aborted::Unknown))
                && !connection.pooled().is_worn()
            {
                connection.release();
            }
            if !matches!(committed, Ok(_) | Err(Aborted::Unknown)) {
                jobs.iter_mut().for_each(Job::set_unsent);
            }
            match committed {
                Ok(outcomes) => return self.settle(jobs, outcomes),
                Err(Aborted::Superseded) => {}
                Err(Aborted::Disorder) if !mode.is_stepwise => mode.is_stepwise = true,
                Err(Aborted::FeedLocked) => return keep(jobs),
                Err(Aborted::Unknown) => {
                    jobs.into_iter().for_each(|job| job.answer.complete(Err(Error::OutcomeUnknown)));
                    return Vec::new();
                }
                Err(Aborted::CommitRefused(error) | Aborted::Refused(error)) => return self.refused(jobs, error).await,
                Err(_) => {
                    self.common.waits.forget_idle();
                    return keep(jobs);
                }
            }
        }
    }

    async fn refused(&self, jobs: Vec<Job>, error: sqlx::Error) -> Vec<(Job, bool)> {
        if failure::is_stale_schema(&error) {
            self.common.waits.forget_idle();
            let deadline = jobs.iter().map(|job| job.deadline).min();
            if let Some(deadline) = deadline {
                drop(self.common.shared.refresh_ownership(deadline).await);
            }
            return keep(jobs);
        }
        match <[Job; 1]>::try_from(jobs) {
            Ok([job]) if failure::is_transient(&error) => vec![(job, false)],
            Ok([job]) => {
                self.common.refuse(job, error);
                Vec::new()
            }
            // It tells of no write: the first goes alone when its queue is next tried.
            Err(jobs) => keep(jobs),
        }
    }

    fn settle(&self, jobs: Vec<Job>, outcomes: Vec<Outcome>) -> Vec<(Job, bool)> {
        let mut left = Vec::new();
        for (mut job, outcome) in jobs.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Done(result) => job.answer.complete(result),
                Outcome::Refused(error) => self.common.refuse(job, error),
                held @ (Outcome::Held | Outcome::Locked) => {
                    job.set_unsent();
                    left.push((job, matches!(held, Outcome::Locked)));
                }
            }
        }
        left
    }
}

fn refuse(jobs: impl IntoIterator<Item = Refused>) {
    jobs.into_iter().for_each(|Refused { job, error }| job.answer.complete(Err(error)));
}

fn tell_closed(jobs: Vec<Job>) {
    jobs.into_iter().for_each(|job| job.answer.complete(Err(Error::shutting_down())));
}

/// Those that go on waiting as they did.
fn keep(jobs: Vec<Job>) -> Vec<(Job, bool)> {
    jobs.into_iter().map(|job| (job, false)).collect()
}
