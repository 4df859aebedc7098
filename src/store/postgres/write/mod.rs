//! Writes: group commit, side by side in lanes.
//!
//! Writes that arrive while transactions are under way go out together in the next one; several commit side by side, so
//! that neither one commit at a time nor one server process is the limit.
//!
//! Promises: a write is answered after its commit, or with an error that says it did not happen, or, once its commit was sent,
//! with [`Error::OutcomeUnknown`]. Writes of one key commit in the order they came (`lanes`). A write that the database refuses
//! costs itself (`group`), and so does one whose row another transaction holds (`held`). The queue is bounded; a write that
//! finds it full is refused with [`Error::Overloaded`].

mod attempts;
mod explain;
mod feed;
mod group;
mod held;
mod lanes;
mod outcome;
mod pieces;
mod round;
mod row;
pub(super) mod script;
pub(super) mod shape;
pub(super) mod sql;
mod state;
mod wait_queues;

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use self::{
    feed::Feed,
    held::HeldWrites,
    lanes::{Lanes, Running},
};
use super::{
    Shared,
    config::Config,
    pool::Pool,
    replication::{Connector, To},
};
use crate::{
    completion::Completion,
    record::{RecordId, ShardId},
    resilience::Deadline,
    shutdown::Tasks,
    store::{Error, Write, Written},
};

/// Writes that may wait to be grouped.
const QUEUE_LEN_MAX: usize = 8_192;
/// How long a group waits for any lock, in milliseconds, and every write of the group with it, before it starts over
/// without what waits.
const GROUP_LOCK_LIMIT_MS: u32 = 5;

/// A write on its way, with the promise of its answer.
pub struct Job {
    write: Arc<Write>,
    shard: ShardId,
    deadline: Deadline,
    answer: Completion<Result<Written, Error>>,
}

impl Job {
    /// Its commit is about to be sent: from now on only an answer shows that it did not happen.
    fn set_sent(&mut self) {
        self.answer.abandon_as(|| Err(Error::OutcomeUnknown));
    }

    /// It was not committed: dropped now, it did not happen.
    fn set_unsent(&mut self) {
        self.answer.abandon_as(|| Err(Error::shutting_down()));
    }
}

/// What groups and held writes have in common.
struct Common {
    shared: Arc<Shared>,
    feed: Feed,
    /// Connections for writes whose rows other transactions hold.
    waits: Pool,
    /// A connection for a closer look at what was refused.
    explains: Pool,
    tasks: TaskTracker,
}

/// Takes writes and commits them in groups. Cheap to clone.
#[derive(Clone)]
pub struct Writer {
    queue: mpsc::Sender<Job>,
    pool: Arc<Pool>,
    held: HeldWrites,
    running: Running,
    common: Arc<Common>,
}

/// What a session's role may do, and does by default.
#[derive(Clone, Copy, Debug)]
pub struct Role {
    /// It may write the outbox: its sessions log their updates themselves.
    pub logs: bool,
    /// Its commits would be answered before they are durable.
    pub is_lossy: bool,
}

impl Writer {
    /// Starts the tasks that form groups, and try held writes, in `core`; what they start is in `tasks`.
    pub fn start(shared: Arc<Shared>, config: &Config, role: Role, tasks: &TaskTracker, core: &Tasks) -> Self {
        let servers = shared.servers.clone();
        let pool = |purpose, lock_limit_ms: u32, connections| {
            let connector = Connector::new(&servers, To::Primary, purpose)
                .with("lock_timeout", lock_limit_ms)
                // What spans shards must look rows up one by one, whatever its plan took the tables' sizes for.
                .with("enable_hashjoin", "off")
                .with("enable_mergejoin", "off")
                .with("enable_material", "off")
                // Scripts hold values, and values stay out of the log.
                .quietly();
            let connector = if role.logs { connector.with("freshet.logs", "updates") } else { connector };
            // A version that others see must not be lost.
            let connector = if role.is_lossy { connector.with("synchronous_commit", "local") } else { connector };
            Pool::new(connector, config.connect_limit, connections)
        };
        let waits = pool("waiting writes", held::LOCK_LIMIT_MS, config.write_connections);
        let explains = Pool::new(Connector::new(&servers, To::Primary, "refused writes"), config.connect_limit, 1);
        let writes = Arc::new(pool("writes", GROUP_LOCK_LIMIT_MS, config.write_lanes));
        let common = Arc::new(Common { shared, feed: Feed::new(role.logs), waits, explains, tasks: tasks.clone() });
        let held = HeldWrites::start(common.clone(), config.write_connections, core);
        let (queue, jobs) = mpsc::channel(QUEUE_LEN_MAX);
        let running = Running::default();
        let lanes = Lanes::new(common.clone(), writes.clone(), config.write_lanes, held.clone(), running.clone(), jobs);
        core.spawn("writer", |stop| lanes.run(stop));
        Writer { queue, pool: writes, held, running, common }
    }

    /// Hands a write over. The write goes on even if its caller has gone.
    pub fn write(&self, write: Write, shard: ShardId, deadline: Deadline, answer: Completion<Result<Written, Error>>) {
        let (job, error) = match self.queue.try_send(Job { write: Arc::new(write), shard, deadline, answer }) {
            Ok(()) => return,
            Err(mpsc::error::TrySendError::Full(job)) => (job, Error::Overloaded),
            Err(mpsc::error::TrySendError::Closed(job)) => (job, Error::shutting_down()),
        };
        job.answer.complete(Err(error));
    }

    /// Whether a group under way writes the record.
    pub fn is_writing(&self, id: &RecordId) -> bool {
        self.running.has(id)
    }

    /// Closes the connections that nobody uses.
    pub fn forget_idle(&self) {
        [&self.pool, &self.common.waits, &self.common.explains].into_iter().for_each(Pool::forget_idle);
    }

    /// Waits for the writes under way, up to `deadline`, and closes the connections. Writes that are held still are answered:
    /// they did not happen. So are those that queue, when the tasks of the writer end.
    pub async fn close(&self, deadline: Deadline) {
        self.held.close(deadline).await;
        self.pool.close(deadline).await;
        self.common.waits.close(deadline).await;
        self.common.explains.close(deadline).await;
    }
}
