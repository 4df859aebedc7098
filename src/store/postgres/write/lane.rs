//! One lane: its queue, and the groups it forms.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use tokio::sync::mpsc;

use crate::store::{
    Error, Operation,
    postgres::{
        failure,
        pool::Pool,
        write::{
            Common, Job,
            explain::explain,
            group::{self, Aborted, Generations, Mode, Outcome, Placed},
            held::HeldWrites,
        },
    },
};

/// Writes in one transaction, at the most.
const GROUP_LEN_MAX: usize = 512;
/// Bytes of values in one transaction; a larger value goes alone.
const GROUP_BYTES_MAX: usize = 4 << 20;
/// Writes answered before other tasks get their turn.
const ANSWERS_AT_ONCE: usize = 64;
/// So many groups are careful after one that a refusal made start over.
const CAREFUL_GROUPS: u32 = 64;
/// How often a group starts over before its writes are given up.
const ATTEMPTS_MAX: u32 = 16;

/// The task behind one queue.
pub struct Lane {
    common: Arc<Common>,
    pool: Arc<Pool>,
    held: HeldWrites,
    jobs: mpsc::Receiver<Job>,
    /// Taken from the queue, for a later group.
    waiting: VecDeque<Job>,
    generations: Generations,
    /// So many more groups are careful, and look idempotency keys up.
    careful: u32,
    looking_up: u32,
}

impl Lane {
    pub fn new(common: Arc<Common>, pool: Arc<Pool>, held: HeldWrites, jobs: mpsc::Receiver<Job>) -> Self {
        let (waiting, generations) = (VecDeque::new(), Generations::new());
        Lane { common, pool, held, jobs, waiting, generations, careful: 0, looking_up: 0 }
    }

    /// Forms groups until the last sender is gone.
    pub async fn run(mut self) {
        loop {
            let mut arrived = Vec::new();
            if self.waiting.is_empty() && self.jobs.recv_many(&mut arrived, GROUP_LEN_MAX).await == 0 {
                return;
            }
            self.waiting.extend(arrived);
            // One scheduler yield, so that requests already read can share the group: it costs each far less then.
            tokio::task::yield_now().await;
            while self.waiting.len() < GROUP_LEN_MAX {
                let Ok(job) = self.jobs.try_recv() else { break };
                self.waiting.push_back(job);
            }
            let group = self.next_group();
            self.commit(group).await;
        }
    }

    /// The oldest writes, up to one whose idempotency key another of them has: what the first comes to must be known.
    fn next_group(&mut self) -> Vec<Job> {
        let (mut group, mut bytes, mut tokens) = (Vec::new(), 0, HashSet::new());
        while let Some(job) = self.waiting.front() {
            let len = value_len(&job.write.operation);
            let token = job.write.token.as_ref().map(|token| (job.write.id.clone(), token.key.clone()));
            let is_full = group.len() == GROUP_LEN_MAX || (bytes + len > GROUP_BYTES_MAX && !group.is_empty());
            if is_full || token.is_some_and(|token| !tokens.insert(token)) {
                break;
            }
            bytes += len;
            group.extend(self.waiting.pop_front());
        }
        group
    }

    async fn commit(&mut self, jobs: Vec<Job>) {
        let mut jobs: Vec<Job> = answer_late(jobs).into_iter().filter_map(|job| self.held.divert(job)).collect();
        let mode = Mode { is_careful: self.careful > 0, looks_up: self.looking_up > 0, ..Mode::default() };
        (self.careful, self.looking_up) = (self.careful.saturating_sub(1), self.looking_up.saturating_sub(1));
        let mut attempt = Attempt { mode, number: 0 };
        while !jobs.is_empty() {
            attempt.number += 1;
            let (placed, placed_jobs) = self.common.place(jobs).await;
            jobs = placed_jobs;
            match self.attempt(&placed, &jobs, attempt.mode).await {
                Ok(outcomes) => return self.settle(jobs, outcomes).await,
                Err(failed) => jobs = self.start_over(jobs, failed, &mut attempt).await,
            }
        }
    }

    /// Tries a group, as long as the deadline of its oldest write lets it.
    async fn attempt(&mut self, placed: &[Placed], jobs: &[Job], mode: Mode) -> Result<Vec<Outcome>, Failed> {
        let Some(deadline) = jobs.iter().map(|job| job.deadline).min() else { return Ok(Vec::new()) };
        let mut lease = self.pool.lend(deadline).await.map_err(|error| match error {
            Error::Deadline => Failed::Aborted(Aborted::Late),
            error => Failed::Unreachable(error),
        })?;
        let committed =
            group::commit(lease.pooled(), &self.common.feed, placed, mode, &mut self.generations, deadline).await;
        if !matches!(committed, Err(Aborted::Lost | Aborted::Late | Aborted::Unknown)) && !lease.pooled().is_worn() {
            lease.give_back();
        }
        committed.map_err(Failed::Aborted)
    }

    /// What a failed attempt means for its writes; returns those that go again.
    async fn start_over(&mut self, jobs: Vec<Job>, failed: Failed, attempt: &mut Attempt) -> Vec<Job> {
        let aborted = match failed {
            Failed::Unreachable(error) => return answer_all(jobs, &error),
            Failed::Aborted(aborted) => aborted,
        };
        if attempt.number >= ATTEMPTS_MAX {
            return answer_all(jobs, &Error::Unavailable { reason: "the transaction failed again and again".into() });
        }
        match aborted {
            Aborted::Refused(error) if failure::is_stale_schema(&error) => {
                // Plans of an old schema, or a partition that moved away: the connection goes with its plans.
                self.pool.forget_idle();
                let Some(deadline) = jobs.iter().map(|job| job.deadline).min() else { return jobs };
                match self.common.shared.refresh_ownership(deadline).await {
                    Ok(()) if attempt.number <= 2 => jobs,
                    Ok(()) => answer_all(jobs, &failure::error(error)),
                    Err(error) => answer_all(jobs, &error),
                }
            }
            Aborted::Refused(error) => {
                tracing::debug!(%error, writes = jobs.len(), "a group was refused and starts over with savepoints");
                attempt.mode.is_careful = true;
                self.careful = CAREFUL_GROUPS;
                jobs
            }
            Aborted::Locked(places) => {
                let (locked, others): (Vec<_>, Vec<_>) =
                    jobs.into_iter().enumerate().partition(|(at, _)| places.contains(at));
                let locked: Vec<Job> = locked.into_iter().map(|(_, job)| job).collect();
                self.held.lock(locked);
                // Later writes of the keys that wait now are behind them.
                others.into_iter().filter_map(|(_, job)| self.held.divert(job)).collect()
            }
            Aborted::Disorder => {
                attempt.mode.is_stepwise = true;
                jobs
            }
            Aborted::Repeated => {
                attempt.mode.looks_up = true;
                self.looking_up = CAREFUL_GROUPS;
                jobs
            }
            Aborted::Superseded => jobs,
            Aborted::CommitRefused(error) => match <[Job; 1]>::try_from(jobs) {
                Ok([job]) => {
                    self.refuse(job, error);
                    Vec::new()
                }
                Err(jobs) => {
                    // A constraint that is looked at in the commit tells of no row: each goes by itself, in their order.
                    for job in jobs {
                        Box::pin(self.commit(vec![job])).await;
                    }
                    Vec::new()
                }
            },
            Aborted::Late => {
                self.pool.forget_idle();
                answer_late(jobs)
            }
            Aborted::Lost if attempt.number == 1 => {
                self.pool.forget_idle();
                jobs
            }
            Aborted::Lost => answer_all(jobs, &Error::Unavailable { reason: "the connection was lost".into() }),
            Aborted::Unknown => answer_all(jobs, &Error::OutcomeUnknown),
        }
    }

    async fn settle(&self, jobs: Vec<Job>, outcomes: Vec<Outcome>) {
        for (answered, (job, outcome)) in jobs.into_iter().zip(outcomes).enumerate() {
            // Each answer goes through L1 and to its watchers: others have their turn meanwhile.
            if answered % ANSWERS_AT_ONCE == ANSWERS_AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
            match outcome {
                Outcome::Done(result) => job.answer.keep(result),
                Outcome::Refused(error) => self.refuse(job, error),
                Outcome::Held | Outcome::Locked => self.held.hold(job),
            }
        }
    }

    fn refuse(&self, job: Job, error: sqlx::Error) {
        self.common.refuse(job, error);
    }
}

struct Attempt {
    mode: Mode,
    number: u32,
}

/// Why an attempt came to nothing.
enum Failed {
    Unreachable(Error),
    Aborted(Aborted),
}

impl Common {
    /// Finds the statements of each job's shard; a job whose shard is not here is answered.
    pub async fn place(&self, jobs: Vec<Job>) -> (Vec<Placed>, Vec<Job>) {
        let (mut placed, mut others) = (Vec::with_capacity(jobs.len()), Vec::with_capacity(jobs.len()));
        for job in jobs {
            match self.shared.statements(job.write.id.collection, job.shard, job.deadline).await {
                Ok(statements) => {
                    placed.push(Placed { write: job.write.clone(), shard: job.shard, statements });
                    others.push(job);
                }
                Err(error) => job.answer.keep(Err(error)),
            }
        }
        (placed, others)
    }

    /// Answers a write that the database refused, after a look at which column is at fault.
    pub fn refuse(self: &Arc<Self>, job: Job, error: sqlx::Error) {
        let common = self.clone();
        self.tasks.spawn(async move {
            let error = explain(&common, &job, error).await;
            job.answer.keep(Err(error));
        });
    }
}

/// Roughly the bytes that a write takes in a script.
fn value_len(operation: &Operation) -> usize {
    let members = match operation {
        Operation::Delete => return 0,
        Operation::Put(members) => members,
        Operation::Patch(patch) => &patch.merge,
    };
    members.iter().map(|(name, text)| name.len() + text.len()).sum()
}

fn answer_all(jobs: Vec<Job>, error: &Error) -> Vec<Job> {
    for job in jobs {
        job.answer.keep(Err(error.clone()));
    }
    Vec::new()
}

/// Answers the writes whose time is over; returns the others.
pub fn answer_late(jobs: Vec<Job>) -> Vec<Job> {
    let (late, others): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(|job| job.deadline.passed());
    answer_all(late, &Error::Deadline);
    others
}
