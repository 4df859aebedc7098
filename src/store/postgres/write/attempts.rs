//! A group's way to its answers: tries, and what each failure asks of the next one.
//!
//! A locked table of the feed delays all writes and fails none: autovacuum locks the outbox for a moment when it gives
//! pages at its end back, and every write needs it. A group whose statement on one of the feed's tables waits for more
//! than 5 ms starts over and waits for these until its deadline, for rows and partitions still 5 ms.
//! (`tests/it/write_path/feed_locks.rs`)
//!
//! A group ends by the deadline of its oldest write. Only that one is answered then: nothing was committed, and the
//! others go into the next group.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use crate::{
    record::RecordId,
    store::{
        Error,
        postgres::{
            failure,
            pool::Pool,
            write::{
                Common, Job,
                explain::explain,
                group::{self, Mode, Placed, SeenGenerations},
                held::HeldWrites,
                lanes::{Progress, answer_all, answer_late},
                outcome::{Aborted, Outcome},
            },
        },
    },
};

/// Writes answered before other tasks get their turn.
const ANSWERS_AT_ONCE: usize = 64;
/// So many groups keep what a failure taught.
const GROUPS_WARNED: u32 = 64;
/// After so many attempts that ran into locked partitions the table is taken for locked, and the group for stuck.
const LOCKED_PARTITIONS_MAX: u32 = 4;
/// How often a group starts over before its writes are given up.
const ATTEMPTS_MAX: u32 = 16;

/// What failures taught, for the groups to come.
#[derive(Default)]
pub struct Habits {
    /// So many more groups have savepoints.
    careful: AtomicU32,
    /// So many more look idempotency keys up first.
    looking_up: AtomicU32,
    /// So many more wait for no row.
    wary: AtomicU32,
    generations: SeenGenerations,
}

impl Habits {
    fn mode(&self) -> Mode {
        let is_on = |groups: &AtomicU32| {
            groups.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |groups| groups.checked_sub(1)).is_ok()
        };
        Mode {
            is_careful: is_on(&self.careful),
            looks_up: is_on(&self.looking_up),
            is_plain: !is_on(&self.wary),
            ..Mode::default()
        }
    }
}

/// What it takes to bring one group to its end.
pub struct Attempts {
    pub common: Arc<Common>,
    pub pool: Arc<Pool>,
    pub held: HeldWrites,
    pub habits: Arc<Habits>,
    pub progress: Progress,
}

/// Why an attempt came to nothing.
enum Failed {
    Unreachable(Error),
    Aborted(Aborted),
}

impl Attempts {
    /// Answers every job, or hands it to the held ones.
    pub async fn run(mut self, jobs: Vec<Job>) {
        let mode = self.habits.mode();
        self.run_as(jobs, mode).await;
    }

    async fn run_as(&mut self, jobs: Vec<Job>, mut mode: Mode) {
        let mut jobs = answer_late(jobs);
        let mut attempt = 0;
        while !jobs.is_empty() {
            attempt += 1;
            let (placed, placed_jobs) = self.common.place(jobs).await;
            jobs = placed_jobs;
            match self.attempt(&placed, &mut jobs, mode).await {
                Ok(outcomes) => return self.settle(jobs, outcomes).await,
                Err(failed) => {
                    if matches!(failed, Failed::Aborted(Aborted::FeedLocked)) {
                        // It waits as long as its oldest write may; the others have all their attempts left then.
                        attempt -= 1;
                    }
                    jobs = self.start_over(jobs, failed, attempt, &mut mode).await;
                }
            }
        }
    }

    /// Tries a group, as long as the deadline of its oldest write lets it.
    async fn attempt(&mut self, placed: &[Placed], jobs: &mut [Job], mode: Mode) -> Result<Vec<Outcome>, Failed> {
        let Some(deadline) = jobs.iter().map(|job| job.deadline).min() else { return Ok(Vec::new()) };
        let pool = self.pool.clone();
        let mut connection = pool.acquire(deadline).await.map_err(|error| match error {
            Error::Deadline => Failed::Aborted(Aborted::Late),
            error => Failed::Unreachable(error),
        })?;
        let (feed, habits) = (&self.common.feed, self.habits.clone());
        let committed = match group::stage(connection.pooled(), feed, placed, mode, &habits.generations, deadline).await
        {
            Ok(staged) => {
                self.progress.commits();
                jobs.iter_mut().for_each(Job::set_sent);
                staged.commit(&mut connection, feed, deadline).await
            }
            Err(aborted) => Err(aborted),
        };
        if !matches!(committed, Err(Aborted::Lost | Aborted::Late | Aborted::Unknown)) && !connection.pooled().is_worn()
        {
            connection.release();
        }
        if !matches!(committed, Ok(_) | Err(Aborted::Unknown)) {
            jobs.iter_mut().for_each(Job::set_unsent);
        }
        committed.map_err(Failed::Aborted)
    }

    /// What a failed attempt means for its writes; returns those that go again.
    async fn start_over(&mut self, jobs: Vec<Job>, failed: Failed, attempt: u32, mode: &mut Mode) -> Vec<Job> {
        let aborted = match failed {
            Failed::Unreachable(error) => return answer_all(jobs, &error),
            Failed::Aborted(aborted) => aborted,
        };
        if attempt >= ATTEMPTS_MAX {
            let reason = "the transaction failed again and again".into();
            return answer_all(jobs, &Error::Unavailable { reason });
        }
        match aborted {
            Aborted::Refused(error) if failure::is_stale_schema(&error) => self.refresh(jobs, error, attempt).await,
            Aborted::Refused(error) => {
                tracing::debug!(%error, writes = jobs.len(), "a group was refused and starts over with savepoints");
                mode.is_careful = true;
                self.habits.careful.store(GROUPS_WARNED, Ordering::Relaxed);
                jobs
            }
            Aborted::Locked { insert: false, .. } if attempt >= LOCKED_PARTITIONS_MAX => {
                let all: Vec<usize> = (0..jobs.len()).collect();
                self.set_aside(jobs, &all, false)
            }
            Aborted::Locked { writes, insert } => self.set_aside(jobs, &writes, insert),
            Aborted::Waited => {
                mode.is_plain = false;
                self.habits.wary.store(GROUPS_WARNED, Ordering::Relaxed);
                jobs
            }
            Aborted::Disorder => {
                mode.is_stepwise = true;
                jobs
            }
            Aborted::Repeated => {
                mode.looks_up = true;
                self.habits.looking_up.store(GROUPS_WARNED, Ordering::Relaxed);
                jobs
            }
            Aborted::FeedLocked => {
                mode.waits_for_feed = true;
                answer_late(jobs)
            }
            Aborted::Superseded => jobs,
            Aborted::CommitRefused(error) => self.commit_each(jobs, error, *mode).await,
            Aborted::Late => {
                self.pool.forget_idle();
                answer_late(jobs)
            }
            Aborted::Lost if attempt == 1 => {
                self.pool.forget_idle();
                jobs
            }
            Aborted::Lost => answer_all(jobs, &Error::Unavailable { reason: "the connection was lost".into() }),
            Aborted::Unknown => answer_all(jobs, &Error::OutcomeUnknown),
        }
    }

    /// The plans are of an old schema, or a partition moved away: the connections go with their plans.
    async fn refresh(&self, jobs: Vec<Job>, error: sqlx::Error, attempt: u32) -> Vec<Job> {
        self.pool.forget_idle();
        let Some(deadline) = jobs.iter().map(|job| job.deadline).min() else { return jobs };
        match self.common.shared.refresh_ownership(deadline).await {
            Ok(()) if attempt <= 2 => jobs,
            Ok(()) => answer_all(jobs, &failure::error(error)),
            Err(error) => answer_all(jobs, &error),
        }
    }

    /// Hands the writes at `places` to the held ones, and with them all others of their keys, in their order: one that does not
    /// wait itself would come to its queue behind those that do. Returns those that are left.
    /// (`tests/it/write_path/order.rs`)
    fn set_aside(&self, jobs: Vec<Job>, places: &[usize], insert: bool) -> Vec<Job> {
        let keys: HashSet<RecordId> = places.iter().map(|&at| jobs[at].write.id.clone()).collect();
        let (locked, others) = jobs.into_iter().partition(|job| keys.contains(&job.write.id));
        self.held.lock(locked, insert);
        others.into_iter().filter_map(|job| self.held.divert(job)).collect()
    }

    /// A constraint that is looked at in the commit tells of no row: each write goes by itself, in their order.
    async fn commit_each(&mut self, jobs: Vec<Job>, error: sqlx::Error, mode: Mode) -> Vec<Job> {
        match <[Job; 1]>::try_from(jobs) {
            Ok([job]) => self.common.refuse(job, error),
            Err(jobs) => {
                for job in jobs {
                    Box::pin(self.run_as(vec![job], mode)).await;
                }
            }
        }
        Vec::new()
    }

    async fn settle(&self, jobs: Vec<Job>, outcomes: Vec<Outcome>) {
        for (answered, (mut job, outcome)) in jobs.into_iter().zip(outcomes).enumerate() {
            // Each answer goes through L1 and to its watchers: others have their turn meanwhile.
            if answered % ANSWERS_AT_ONCE == ANSWERS_AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
            match outcome {
                Outcome::Done(result) => job.answer.complete(result),
                Outcome::Refused(error) => self.common.refuse(job, error),
                Outcome::Held | Outcome::Locked => {
                    job.set_unsent();
                    self.held.hold(job);
                }
            }
        }
    }
}

impl Common {
    /// Finds the statements of each job's shard; a job whose shard is not here is answered.
    pub async fn place(&self, jobs: Vec<Job>) -> (Vec<Placed>, Vec<Job>) {
        let (mut placed, mut others) = (Vec::with_capacity(jobs.len()), Vec::with_capacity(jobs.len()));
        for job in jobs {
            match self.shared.writes(job.write.id.collection, job.shard, job.deadline).await {
                Ok((statements, whole)) => {
                    placed.push(Placed { write: job.write.clone(), shard: job.shard, statements, whole });
                    others.push(job);
                }
                Err(error) => job.answer.complete(Err(error)),
            }
        }
        (placed, others)
    }

    /// Answers a write that the database refused, after a look at which column is at fault.
    pub fn refuse(self: &Arc<Self>, mut job: Job, error: sqlx::Error) {
        job.set_unsent();
        let common = self.clone();
        self.tasks.spawn(async move {
            let error = explain(&common, &job, error).await;
            job.answer.complete(Err(error));
        });
    }
}
