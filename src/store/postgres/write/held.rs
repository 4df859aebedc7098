//! Writes whose rows, keys or tables other transactions hold.
//!
//! They leave their lane and wait here, each key in its own line, so that they delay nothing but later writes of the same
//! key. A few lines at a time wait for their lock on a connection, in turn; all others are tried together every few
//! milliseconds, passing by what is held, so that a row that is let go need not wait for the turn of its line.
//!
//! Promise: writes of one key are carried out in the order they came. At most [`HELD_MAX`] writes wait; a write beyond
//! them is refused with [`Error::Overloaded`]. Each is answered by its deadline.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    record::{CollectionId, RecordId},
    resilience::Deadline,
    store::{
        Error, ShardId,
        postgres::failure,
        postgres::write::{
            Common, GROUP_LOCK_LIMIT_MS, Job,
            group::{self, Aborted, Mode, Outcome, SeenGenerations},
            lanes::answer_late,
        },
    },
};

/// How long a line waits for its lock before it is another's turn, in milliseconds.
pub const LOCK_LIMIT_MS: u32 = 100;
/// Writes that may wait here.
const HELD_MAX: usize = 1_024;
/// How often lines that have no connection are tried.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// Lines tried together.
const POLL_LEN_MAX: usize = 256;
/// After a statement had to wait for a lock on a shard, the writes like it are sent here for so long.
const LOCKED_FOR: Duration = Duration::from_millis(250);

/// A shard of which something is locked.
type LockedShard = (CollectionId, ShardId);

/// The lines. Cheap to clone.
#[derive(Clone)]
pub struct HeldWrites {
    lines: Arc<Mutex<Lines>>,
    /// Writes and locked shards, so that a lane need not lock where there are none.
    len: Arc<AtomicUsize>,
    wake: Arc<Notify>,
    common: Arc<Common>,
}

#[derive(Default)]
struct Lines {
    by_key: HashMap<RecordId, Line>,
    /// All writes in lines, those being tried included.
    writes: usize,
    /// Until when writes of a shard come here at once, and whether inserts only.
    locked: HashMap<LockedShard, (Instant, bool)>,
}

struct Line {
    jobs: VecDeque<Job>,
    tried: Instant,
    /// A task has its first writes.
    is_running: bool,
    /// It waits for more than its row, so that trying it without waiting is not possible.
    is_locked: bool,
}

impl Line {
    /// The first writes, up to one whose idempotency key another of them has: what the first comes to must be known.
    fn take(&mut self) -> Vec<Job> {
        self.is_running = true;
        let mut tokens = HashSet::new();
        let mut is_new = |job: &Job| job.write.token.as_ref().is_none_or(|token| tokens.insert(token.key.clone()));
        let len = self.jobs.iter().position(|job| !is_new(job)).unwrap_or(self.jobs.len());
        self.jobs.drain(..len).collect()
    }
}

impl HeldWrites {
    /// Starts the task that has lines tried; it ends with `stop`.
    pub fn start(common: Arc<Common>, connections: u32, stop: CancellationToken) -> Self {
        let held = HeldWrites { lines: Arc::default(), len: Arc::default(), wake: Arc::default(), common };
        let running = held.clone();
        held.common.tasks.spawn(async move {
            stop.run_until_cancelled(running.run(connections)).await;
        });
        held
    }

    /// Takes a write whose key has a line, or whose shard is locked; returns any other.
    pub fn divert(&self, job: Job) -> Option<Job> {
        if self.len.load(Ordering::Acquire) == 0 {
            return Some(job);
        }
        let mut lines = self.lines.lock();
        let shard = (job.write.id.collection, job.shard);
        let is_locked = lines.locked.get(&shard).is_some_and(|(until, inserts_only)| {
            *until > Instant::now() && (!inserts_only || job.write.inserts_first())
        });
        if !is_locked && !lines.by_key.contains_key(&job.write.id) {
            return Some(job);
        }
        let refused = self.push(&mut lines, job, false);
        drop(lines);
        refuse(refused);
        None
    }

    /// Takes a write whose row another transaction holds.
    pub fn hold(&self, job: Job) {
        let refused = self.push(&mut self.lines.lock(), job, false);
        refuse(refused);
    }

    /// Takes writes whose statement had to wait for a lock; with `inserts_only` for one on a key.
    pub fn lock(&self, jobs: Vec<Job>, inserts_only: bool) {
        let mut refused = Vec::new();
        {
            let mut lines = self.lines.lock();
            for job in jobs {
                let shard = (job.write.id.collection, job.shard);
                lines.locked.insert(shard, (Instant::now() + LOCKED_FOR, inserts_only));
                refused.extend(self.push(&mut lines, job, true));
            }
        }
        refuse(refused);
    }

    /// Waits until no write is held, or until `deadline`.
    pub async fn drained(&self, deadline: Deadline) {
        while !self.lines.lock().by_key.is_empty() && !deadline.passed() {
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Puts a write at the end of its line; returns it when there are too many. It is to be answered without the lock.
    fn push(&self, lines: &mut Lines, job: Job, is_locked: bool) -> Option<Job> {
        if lines.writes >= HELD_MAX {
            return Some(job);
        }
        lines.writes += 1;
        let line = lines.by_key.entry(job.write.id.clone()).or_insert_with(|| Line {
            jobs: VecDeque::new(),
            tried: Instant::now(),
            is_running: false,
            is_locked,
        });
        line.jobs.push_back(job);
        self.count(lines);
        self.wake.notify_one();
        None
    }

    fn count(&self, lines: &Lines) {
        self.len.store(lines.by_key.len() + lines.locked.len(), Ordering::Release);
    }

    async fn run(self, connections: u32) {
        let waiters = Arc::new(AtomicUsize::new(0));
        let waiters_max = connections.saturating_sub(1).max(1) as usize;
        let is_polling = Arc::new(AtomicUsize::new(0));
        loop {
            if self.len.load(Ordering::Acquire) == 0 {
                self.wake.notified().await;
            }
            self.expire();
            while waiters.load(Ordering::Acquire) < waiters_max {
                let Some(jobs) = self.take_oldest() else { break };
                self.spawn(jobs, true, &waiters);
            }
            if is_polling.load(Ordering::Acquire) == 0 {
                let jobs = self.take_pollable();
                if !jobs.is_empty() {
                    self.spawn(jobs, false, &is_polling);
                }
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    fn spawn(&self, jobs: Vec<Job>, waits: bool, running: &Arc<AtomicUsize>) {
        running.fetch_add(1, Ordering::AcqRel);
        let (held, running) = (self.clone(), running.clone());
        self.common.tasks.spawn(async move {
            held.attempt(jobs, waits).await;
            running.fetch_sub(1, Ordering::AcqRel);
            held.wake.notify_one();
        });
    }

    /// Answers those whose time is over, and forgets locks that are.
    fn expire(&self) {
        let mut late = Vec::new();
        {
            let mut lines = self.lines.lock();
            for line in lines.by_key.values_mut() {
                let (over, left) = line.jobs.drain(..).partition::<Vec<_>, _>(|job| job.deadline.passed());
                late.extend(over);
                line.jobs = left.into();
            }
            lines.writes -= late.len();
            lines.by_key.retain(|_, line| line.is_running || !line.jobs.is_empty());
            let now = Instant::now();
            lines.locked.retain(|_, (until, _)| *until > now);
            self.count(&lines);
        }
        answer_late(late);
    }

    /// The writes of the line that was tried longest ago.
    fn take_oldest(&self) -> Option<Vec<Job>> {
        let mut lines = self.lines.lock();
        let idle = lines.by_key.values_mut().filter(|line| !line.is_running && !line.jobs.is_empty());
        let line = idle.min_by_key(|line| line.tried)?;
        Some(line.take())
    }

    /// The writes of lines that wait for their rows only, and are not being tried.
    fn take_pollable(&self) -> Vec<Job> {
        let mut lines = self.lines.lock();
        let idle =
            lines.by_key.values_mut().filter(|line| !line.is_running && !line.is_locked && !line.jobs.is_empty());
        idle.take(POLL_LEN_MAX).flat_map(Line::take).collect()
    }

    /// Tries writes; those still held go back to the heads of their lines.
    async fn attempt(&self, jobs: Vec<Job>, waits: bool) {
        let keys: Vec<RecordId> = jobs.iter().map(|job| job.write.id.clone()).collect();
        let tried = jobs.len();
        let left = self.carry_out(answer_late(jobs), waits).await;
        let mut lines = self.lines.lock();
        lines.writes -= tried - left.len();
        for (job, is_locked) in left.into_iter().rev() {
            if let Some(line) = lines.by_key.get_mut(&job.write.id) {
                line.is_locked = is_locked;
                line.jobs.push_front(job);
            }
        }
        let now = Instant::now();
        for key in keys {
            let Some(line) = lines.by_key.get_mut(&key) else { continue };
            (line.is_running, line.tried) = (false, now);
            if line.jobs.is_empty() {
                lines.by_key.remove(&key);
            }
        }
        self.count(&lines);
    }

    /// Carries writes out; returns those still held, with whether they wait for more than a row.
    async fn carry_out(&self, jobs: Vec<Job>, waits: bool) -> Vec<(Job, bool)> {
        let (placed, jobs) = self.common.place(jobs).await;
        let Some(deadline) = jobs.iter().map(|job| job.deadline).min() else { return Vec::new() };
        let mut mode = Mode {
            is_careful: true,
            looks_up: true,
            waits,
            isolates_locks: true,
            lock_limit_ms: (!waits).then_some(GROUP_LOCK_LIMIT_MS),
            ..Mode::default()
        };
        let generations = SeenGenerations::default();
        loop {
            let mut lease = match self.common.waits.lend(deadline).await {
                Ok(lease) => lease,
                Err(Error::Deadline) => return keep(jobs),
                Err(error) => {
                    jobs.into_iter().for_each(|job| job.answer.keep(Err(error.clone())));
                    return Vec::new();
                }
            };
            let feed = &self.common.feed;
            let committed = match group::stage(lease.pooled(), feed, &placed, mode, &generations, deadline).await {
                Ok(staged) => staged.commit(lease.pooled(), feed, deadline).await,
                Err(aborted) => Err(aborted),
            };
            if !matches!(committed, Err(Aborted::Lost | Aborted::Late | Aborted::Unknown)) && !lease.pooled().is_worn()
            {
                lease.give_back();
            }
            match committed {
                Ok(outcomes) => return self.settle(jobs, outcomes),
                Err(Aborted::Superseded) => {}
                Err(Aborted::Disorder) if !mode.is_stepwise => mode.is_stepwise = true,
                Err(Aborted::Unknown) => {
                    jobs.into_iter().for_each(|job| job.answer.keep(Err(Error::OutcomeUnknown)));
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
            // It tells of no write: the first goes alone next time, when it is its line's turn.
            Err(jobs) => keep(jobs),
        }
    }

    fn settle(&self, jobs: Vec<Job>, outcomes: Vec<Outcome>) -> Vec<(Job, bool)> {
        let mut left = Vec::new();
        for (job, outcome) in jobs.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Done(result) => job.answer.keep(result),
                Outcome::Refused(error) => self.common.refuse(job, error),
                Outcome::Held => left.push((job, false)),
                Outcome::Locked => left.push((job, true)),
            }
        }
        left
    }
}

fn refuse(jobs: impl IntoIterator<Item = Job>) {
    jobs.into_iter().for_each(|job| job.answer.keep(Err(Error::Overloaded)));
}

/// Those that go on waiting as they did.
fn keep(jobs: Vec<Job>) -> Vec<(Job, bool)> {
    jobs.into_iter().map(|job| (job, false)).collect()
}
