//! Writes: group commit, side by side in lanes.
//!
//! A lane has one connection and the writes of its share of the shards; those that arrive while its transaction is under
//! way go out together in the next one. So the writes of one key commit in the order they came, and neither one commit at
//! a time nor one server process is the limit.
//!
//! Promises: a write is answered after its commit, or with an error that says it did not happen, or with
//! [`Error::OutcomeUnknown`]. Writes of one key commit in the order they came. A write that the database refuses, and one
//! whose row another transaction holds, cost themselves: `group` and `held` say how. The queues are bounded; a write that
//! finds its queue full is refused with [`Error::Overloaded`].

mod explain;
mod feed;
mod group;
mod held;
mod lane;
mod row;
pub(super) mod script;
pub(super) mod shape;

use std::sync::Arc;

use sqlx::postgres::PgConnectOptions;
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{feed::Feed, held::HeldWrites, lane::Lane};
use super::{
    Shared,
    pool::{Config, Pool},
};
use crate::{
    resilience::{Deadline, Promise},
    store::{Error, ShardId, Write, Written},
};

/// Writes that may wait in one lane.
const QUEUE_LEN_MAX: usize = 4_096;
/// How long a lane waits for any lock, in milliseconds. Rows are passed by, so only a key that another transaction
/// inserts or a change of the schema makes it wait at all, and every write of the lane with it.
const LANE_LOCK_LIMIT_MS: u32 = 5;

/// A write on its way, with the promise of its answer.
pub struct Job {
    write: Arc<Write>,
    shard: ShardId,
    deadline: Deadline,
    answer: Promise<Result<Written, Error>>,
}

/// What lanes and held writes have in common.
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
    lanes: Arc<[mpsc::Sender<Job>]>,
    pools: Arc<[Arc<Pool>]>,
    held: HeldWrites,
    common: Arc<Common>,
    stop: CancellationToken,
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
    /// Starts the lanes.
    ///
    /// # Errors
    /// [`Error::Broken`] when the configuration's URL is none.
    pub fn start(shared: Arc<Shared>, config: &Config, role: Role, tasks: &TaskTracker) -> Result<Self, Error> {
        let options = |purpose: &str, lock_limit_ms: u32| -> Result<PgConnectOptions, Error> {
            let options = config.options(purpose)?.options([("lock_timeout", lock_limit_ms.to_string())]);
            let options = if role.logs { options.options([("freshet.logs", "updates")]) } else { options };
            // A version that others see must not be lost.
            Ok(if role.is_lossy { options.options([("synchronous_commit", "local")]) } else { options })
        };
        let waits = Pool::new(config, options("waiting writes", held::LOCK_LIMIT_MS)?, config.write_connections);
        let explains = Pool::new(config, config.options("refused writes")?, 1);
        let common = Arc::new(Common { shared, feed: Feed::new(role.logs), waits, explains, tasks: tasks.clone() });
        let stop = CancellationToken::new();
        let held = HeldWrites::start(common.clone(), config.write_connections, stop.clone());
        let (mut lanes, mut pools) = (Vec::new(), Vec::new());
        for _ in 0..config.write_lanes.max(1) {
            let (queue, jobs) = mpsc::channel(QUEUE_LEN_MAX);
            let pool = Arc::new(Pool::new(config, options("writes", LANE_LOCK_LIMIT_MS)?, 1));
            tasks.spawn(Lane::new(common.clone(), pool.clone(), held.clone(), jobs).run());
            lanes.push(queue);
            pools.push(pool);
        }
        Ok(Writer { lanes: lanes.into(), pools: pools.into(), held, common, stop })
    }

    /// Hands a write over. It runs on when nobody waits for the answer any more.
    pub fn write(&self, write: Write, shard: ShardId, deadline: Deadline, answer: Promise<Result<Written, Error>>) {
        let lane = &self.lanes[shard.0 as usize % self.lanes.len()];
        let (job, error) = match lane.try_send(Job { write: Arc::new(write), shard, deadline, answer }) {
            Ok(()) => return,
            Err(mpsc::error::TrySendError::Full(job)) => (job, Error::Overloaded),
            Err(mpsc::error::TrySendError::Closed(job)) => {
                (job, Error::Unavailable { reason: "the node is shutting down".into() })
            }
        };
        job.answer.keep(Err(error));
    }

    /// Waits for the writes under way, up to `deadline`, and closes the connections.
    pub async fn close(&self, deadline: Deadline) {
        self.held.drained(deadline).await;
        for pool in self.pools.iter() {
            pool.close(deadline).await;
        }
        self.common.waits.close(deadline).await;
        self.common.explains.close(deadline).await;
        self.stop.cancel();
    }
}
