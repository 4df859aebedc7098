//! The queue of writes, and the groups that are formed of it.
//!
//! Groups run side by side, up to one for each lane, and no two of them have a key in common; so the writes of one key
//! commit in the order they came. While one group commits, which is mostly the wait for a flush, the next is carried out.
//! Beside a group that is still being carried out another one begins only when many writes wait: the larger a group, the
//! less each of its writes costs.

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::{
    record::RecordId,
    store::{
        Error, Operation,
        postgres::{
            pool::Pool,
            write::{
                Common, Job,
                attempts::{Attempts, Habits},
                held::HeldWrites,
            },
        },
    },
};

/// Writes in one transaction, at the most.
const GROUP_LEN_MAX: usize = 512;
/// Writes taken from the queue. More than a group's, or as many writes of one key would keep every other waiting.
const WAITING_LEN_MAX: usize = 4 * GROUP_LEN_MAX;
/// So many writes wait before a group begins beside one that is being carried out.
const BESIDE_LEN_MIN: usize = 128;
/// Bytes of values in one transaction; a larger value goes alone.
const GROUP_BYTES_MAX: usize = 4 << 20;

/// The task behind the queue.
pub struct Lanes {
    common: Arc<Common>,
    pool: Arc<Pool>,
    held: HeldWrites,
    habits: Arc<Habits>,
    jobs: mpsc::Receiver<Job>,
    /// Taken from the queue, for a later group.
    waiting: VecDeque<Job>,
    running: Running,
    lanes: usize,
    /// A group went on to its commit, or ended.
    changed: Arc<Notify>,
}

/// The groups under way. Cheap to clone.
#[derive(Clone, Default)]
pub struct Running(Arc<Mutex<Vec<Group>>>);

/// A group under way.
struct Group {
    keys: HashSet<RecordId>,
    stage: Arc<AtomicU8>,
}

impl Group {
    fn is_at(&self, stage: u8) -> bool {
        self.stage.load(Ordering::Acquire) == stage
    }
}

impl Running {
    /// Whether a write of the record is in a group that has not ended. After it has, its writes are answered.
    pub fn has(&self, id: &RecordId) -> bool {
        self.0.lock().iter().any(|group| !group.is_at(ENDED) && group.keys.contains(id))
    }
}

/// How far a group is. Dropping it ends the group.
pub struct Progress {
    stage: Arc<AtomicU8>,
    changed: Arc<Notify>,
}

const CARRIED_OUT: u8 = 0;
const COMMITS: u8 = 1;
const ENDED: u8 = 2;

impl Progress {
    /// The group is about to commit.
    pub fn commits(&self) {
        self.set(COMMITS);
    }

    fn set(&self, stage: u8) {
        self.stage.store(stage, Ordering::Release);
        self.changed.notify_one();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.set(ENDED);
    }
}

impl Lanes {
    pub fn new(
        common: Arc<Common>,
        pool: Arc<Pool>,
        lanes: u32,
        held: HeldWrites,
        running: Running,
        jobs: mpsc::Receiver<Job>,
    ) -> Self {
        Lanes {
            common,
            pool,
            held,
            habits: Arc::default(),
            jobs,
            waiting: VecDeque::new(),
            running,
            lanes: lanes.max(1) as usize,
            changed: Arc::default(),
        }
    }

    /// Forms groups until `stop`, or until the last sender is gone. What still waits at `stop` is told
    /// that it did not happen.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let is_full = self.waiting.len() >= WAITING_LEN_MAX;
            tokio::select! {
                job = self.jobs.recv(), if !is_full => match job {
                    Some(job) => self.waiting.push_back(job),
                    None if self.waiting.is_empty() => return,
                    None => self.changed.notified().await,
                },
                () = self.changed.notified() => {}
                () = stop.cancelled() => return,
            }
            // One scheduler yield, so that requests already read can share the group: it costs each far less then.
            tokio::task::yield_now().await;
            while self.waiting.len() < WAITING_LEN_MAX {
                let Ok(job) = self.jobs.try_recv() else { break };
                self.waiting.push_back(job);
            }
            while self.may_start() {
                let group = self.next_group();
                if group.is_empty() {
                    break;
                }
                self.start(group);
            }
        }
    }

    fn may_start(&self) -> bool {
        let mut running = self.running.0.lock();
        running.retain(|group| !group.is_at(ENDED));
        let is_beside = running.iter().any(|group| group.is_at(CARRIED_OUT));
        let waiting_min = if is_beside { BESIDE_LEN_MIN } else { 1 };
        running.len() < self.lanes && self.waiting.len() >= waiting_min
    }

    fn start(&mut self, group: Vec<Job>) {
        let group: Vec<Job> = group.into_iter().filter_map(|job| self.held.divert(job)).collect();
        let stage = Arc::new(AtomicU8::new(CARRIED_OUT));
        let keys = group.iter().map(|job| job.write.id.clone()).collect();
        self.running.0.lock().push(Group { keys, stage: stage.clone() });
        let attempts = Attempts {
            common: self.common.clone(),
            pool: self.pool.clone(),
            held: self.held.clone(),
            habits: self.habits.clone(),
            progress: Progress { stage, changed: self.changed.clone() },
        };
        self.common.tasks.spawn(attempts.run(group));
    }

    /// The oldest writes whose keys are in no group under way. A write whose idempotency key another of the group has waits,
    /// and with it all later ones of its key: what the first comes to must be known.
    fn next_group(&mut self) -> Vec<Job> {
        let (mut group, mut later, mut bytes) = (Vec::new(), VecDeque::new(), 0);
        let (mut tokens, mut passed_by) = (HashSet::new(), HashSet::new());
        let running = self.running.0.lock();
        while let Some(job) = self.waiting.pop_front() {
            let id = &job.write.id;
            if running.iter().any(|group| group.keys.contains(id)) {
                later.push_back(job);
                continue;
            }
            let len = value_len(&job.write.operation);
            let is_full = group.len() == GROUP_LEN_MAX || (bytes + len > GROUP_BYTES_MAX && !group.is_empty());
            if is_full {
                later.push_back(job);
                break;
            }
            let token = job.write.token.as_ref().map(|token| (id.clone(), token.key.clone()));
            if passed_by.contains(id) || token.is_some_and(|token| !tokens.insert(token)) {
                passed_by.insert(id.clone());
                later.push_back(job);
                continue;
            }
            bytes += len;
            group.push(job);
        }
        later.append(&mut self.waiting);
        self.waiting = later;
        group
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

pub fn answer_all(jobs: Vec<Job>, error: &Error) -> Vec<Job> {
    for job in jobs {
        job.answer.complete(Err(error.clone()));
    }
    Vec::new()
}

/// Answers the writes whose time is over; returns the others.
pub fn answer_late(jobs: Vec<Job>) -> Vec<Job> {
    let (late, others): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(|job| job.deadline.passed());
    answer_all(late, &Error::Deadline);
    others
}
