//! Group commit: writes that arrive while a transaction is under way go out together in the next one.
//!
//! Promises: a write is answered after its commit, or with an error that says it did not happen, or with
//! [`Error::OutcomeUnknown`]. Writes of one key commit in the order they came in, unless one has to wait for a row
//! that somebody else holds: it leaves its group and waits on a connection apart, so that the others do not. Of one key's
//! writes only the first in line has such a connection, so that one held row cannot take them all.
//! The queue is bounded; a write that finds it full is refused with [`Error::Overloaded`].

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::{
    resilience::{Deadline, Promise},
    store::{
        Error, ShardId, Write, Written,
        postgres::{
            Shared,
            alone::alone,
            failure,
            group::{self, Aborted, Batch, Outcome},
            turns::Turns,
        },
    },
};

/// Writes in one transaction, at the most.
const GROUP_LEN_MAX: usize = 512;
/// Writes answered before other tasks get their turn.
const ANSWERS_AT_ONCE: usize = 64;
/// Writes that may wait to be grouped.
const QUEUE_LEN_MAX: usize = 8_192;
/// Writes taken from the queue that wait for a later group. More than a group's worth, or as many writes of one key
/// would keep every other out of the groups.
const WAITING_LEN_MAX: usize = 8_192;
/// How long a group waits for any lock; rows are passed by, so only a key being inserted or a change of the schema
/// makes it wait at all.
const GROUP_LOCK_LIMIT: Duration = Duration::from_millis(20);

/// A write on its way, with the one who waits for its answer.
pub(super) struct Job {
    pub(super) write: Arc<Write>,
    pub(super) shard: ShardId,
    pub(super) deadline: Deadline,
    answer: Promise<Result<Written, Error>>,
}

/// Takes writes and commits them in groups. Cheap to clone.
#[derive(Clone)]
pub struct Writer {
    queue: mpsc::Sender<Job>,
}

impl Writer {
    /// Starts the task that forms groups; it ends when the last `Writer` is gone.
    pub fn start(shared: Arc<Shared>, tasks: &TaskTracker) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE_LEN_MAX);
        let grouping =
            Grouping { shared, jobs, waiting: VecDeque::new(), turns: Turns::default(), tasks: tasks.clone() };
        tasks.spawn(grouping.run());
        Writer { queue }
    }

    /// Hands a write over. It runs on when whoever waits for the answer is gone.
    pub fn write(&self, write: Write, shard: ShardId, deadline: Deadline, answer: Promise<Result<Written, Error>>) {
        let (job, error) = match self.queue.try_send(Job { write: Arc::new(write), shard, deadline, answer }) {
            Ok(()) => return,
            Err(mpsc::error::TrySendError::Full(job)) => (job, Error::Overloaded),
            Err(mpsc::error::TrySendError::Closed(job)) => {
                (job, Error::Unavailable { reason: "the node is shutting down".into() })
            }
        };
        job.answer.keep(Err(error));
    }
}

struct Grouping {
    shared: Arc<Shared>,
    jobs: mpsc::Receiver<Job>,
    /// Later writes of keys that the group under way writes already.
    waiting: VecDeque<Job>,
    /// Whose turn it is to wait for a held row.
    turns: Turns,
    tasks: TaskTracker,
}

impl Grouping {
    async fn run(mut self) {
        loop {
            let mut arrived = Vec::new();
            if self.waiting.is_empty() && self.jobs.recv_many(&mut arrived, GROUP_LEN_MAX).await == 0 {
                return;
            }
            self.waiting.extend(arrived);
            // Whoever is about to write goes first: a group of many writes costs each far less than one of few.
            tokio::task::yield_now().await;
            while self.waiting.len() < WAITING_LEN_MAX {
                let Ok(job) = self.jobs.try_recv() else { break };
                self.waiting.push_back(job);
            }
            let group = self.next_group();
            self.commit(group).await;
        }
    }

    /// The oldest write, with all that wait for the same shard, then those of the next oldest's shard and so on; of each
    /// key the oldest only. A statement writes to one shard, so few shards with many writes each cost less than many with
    /// few; and as the oldest always goes, nobody waits for longer than each shard takes once.
    fn next_group(&mut self) -> Vec<Job> {
        let (late, mut waiting): (Vec<Job>, Vec<Job>) = self.waiting.drain(..).partition(|job| job.deadline.passed());
        answer_all(late, &Error::Deadline);
        let mut turns = HashMap::new();
        for job in &waiting {
            let next = turns.len();
            turns.entry((job.write.id.collection, job.shard)).or_insert(next);
        }
        let mut by_turn: Vec<usize> = (0..waiting.len()).collect();
        by_turn.sort_by_key(|&at| turns[&(waiting[at].write.id.collection, waiting[at].shard)]);
        let mut keys = HashSet::new();
        by_turn.retain(|&at| keys.len() < GROUP_LEN_MAX && keys.insert(waiting[at].write.id.clone()));
        let chosen: HashSet<usize> = by_turn.into_iter().collect();
        let mut group = Vec::with_capacity(chosen.len());
        for (at, job) in waiting.drain(..).enumerate() {
            if chosen.contains(&at) { group.push(job) } else { self.waiting.push_back(job) }
        }
        group
    }

    async fn commit(&self, mut jobs: Vec<Job>) {
        let mut attempts = 0;
        while !jobs.is_empty() {
            attempts += 1;
            let (batches, jobs_placed) = self.place(jobs).await;
            jobs = jobs_placed;
            match self.attempt(&batches, &jobs).await {
                Ok(outcomes) => return self.settle(jobs, outcomes).await,
                Err(Failure::Refused(numbers, held)) => jobs = self.send_apart(jobs, &numbers, held),
                Err(Failure::Late) => {
                    self.shared.writes.forget_idle();
                    jobs = answer_late(jobs);
                }
                Err(Failure::Lost) if attempts == 1 => self.shared.writes.forget_idle(),
                Err(Failure::Lost) => {
                    return answer_all(jobs, &Error::Unavailable { reason: "the connection was lost".into() });
                }
                Err(Failure::Store(error)) => return answer_all(jobs, &error),
            }
        }
    }

    /// Sorts the jobs into batches by shard; a job whose shard nobody owns is answered.
    async fn place(&self, jobs: Vec<Job>) -> (Vec<Batch>, Vec<Job>) {
        let mut batches: BTreeMap<_, Batch> = BTreeMap::new();
        let mut placed = Vec::with_capacity(jobs.len());
        for job in jobs {
            match self.shared.batch(&job).await {
                Ok(batch) => {
                    let (number, write) = (placed.len(), job.write.clone());
                    let held = batches.entry((job.write.id.collection, job.shard)).or_insert(batch);
                    held.writes.push((number, write));
                    placed.push(job);
                }
                Err(error) => job.answer.keep(Err(error)),
            }
        }
        (batches.into_values().collect(), placed)
    }

    /// Tries a group, as long as the deadline of its oldest write lets it.
    async fn attempt(&self, batches: &[Batch], jobs: &[Job]) -> Result<Vec<(usize, Outcome)>, Failure> {
        let Some(deadline) = jobs.iter().map(|job| job.deadline).min() else { return Ok(Vec::new()) };
        let mut lease = self.shared.writes.lend(deadline).await.map_err(|error| match error {
            Error::Deadline => Failure::Late,
            error => Failure::Store(error),
        })?;
        match group::commit(lease.connection(), batches, false, deadline).await {
            Ok(outcomes) => {
                lease.give_back();
                Ok(outcomes)
            }
            Err(Aborted::Refused(numbers, error)) => {
                tracing::debug!(%error, writes = numbers.len(), "a group was refused; the writes at fault go alone");
                // The transaction rolls back before the connection's next statement; plans of an old schema go with it.
                if !failure::is_stale_schema(&error) {
                    lease.give_back();
                }
                Err(Failure::Refused(numbers, failure::is_held(&error)))
            }
            Err(Aborted::Lost(_)) => Err(Failure::Lost),
            Err(Aborted::Late) => Err(Failure::Late),
            Err(Aborted::Unknown) => Err(Failure::Store(Error::OutcomeUnknown)),
        }
    }

    async fn settle(&self, jobs: Vec<Job>, outcomes: Vec<(usize, Outcome)>) {
        let mut jobs: Vec<Option<Job>> = jobs.into_iter().map(Some).collect();
        for (answered, (number, outcome)) in outcomes.into_iter().enumerate() {
            // Each answer goes through L1 and to its watchers: others have their turn meanwhile.
            if answered % ANSWERS_AT_ONCE == ANSWERS_AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
            let Some(job) = jobs[number].take() else { continue };
            match outcome {
                Outcome::Done(result) => job.answer.keep(result),
                Outcome::Held => self.send_to_wait(job),
            }
        }
    }

    fn send_apart(&self, jobs: Vec<Job>, numbers: &[usize], held: bool) -> Vec<Job> {
        let mut others = Vec::new();
        for (number, job) in jobs.into_iter().enumerate() {
            match numbers.contains(&number) {
                true if held => self.send_to_wait(job),
                true => self.send_alone(job),
                false => others.push(job),
            }
        }
        others
    }

    /// Lets a write wait for its row, behind the earlier writes of its key.
    fn send_to_wait(&self, job: Job) {
        let shared = self.shared.clone();
        // Here and not in the task, so that the order of the line is that of the writes.
        let turn = self.turns.join(&job.write.id);
        self.tasks.spawn(async move {
            let result = match job.deadline.limit(turn).await {
                // The turn is held until the answer is known.
                Ok(Ok(_turn)) => alone(&shared, &shared.waits, &job).await,
                Ok(Err(_)) | Err(_) => Err(Error::Deadline),
            };
            job.answer.keep(result);
        });
    }

    /// Lets a write that was refused go on by itself, so that it is not answered for the others of its group.
    fn send_alone(&self, job: Job) {
        let shared = self.shared.clone();
        self.tasks.spawn(async move {
            let result = alone(&shared, &shared.singles, &job).await;
            job.answer.keep(result);
        });
    }
}

/// Why a group has to be looked at again.
enum Failure {
    /// The writes with these numbers, and whether for a lock that somebody else holds.
    Refused(Vec<usize>, bool),
    Lost,
    Late,
    Store(Error),
}

fn answer_all(jobs: Vec<Job>, error: &Error) {
    for job in jobs {
        job.answer.keep(Err(error.clone()));
    }
}

/// Answers the writes whose time is over; returns the others.
fn answer_late(jobs: Vec<Job>) -> Vec<Job> {
    let (late, others): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(|job| job.deadline.passed());
    answer_all(late, &Error::Deadline);
    others
}

impl Shared {
    /// An empty batch for the job's shard, after reading ownership anew when the shard is not known here.
    pub(super) async fn batch(&self, job: &Job) -> Result<Batch, Error> {
        let collection = self.catalogue.get(job.write.id.collection).clone();
        let statements = self.statements(job.write.id.collection, job.shard, job.deadline).await?;
        Ok(Batch { collection, statements, writes: Vec::new() })
    }
}

/// The options by which the group pool's sessions differ.
pub fn group_lock_limit() -> String {
    GROUP_LOCK_LIMIT.as_millis().to_string()
}
