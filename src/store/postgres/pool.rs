//! Connections of one purpose: how they are lent and given up.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use sqlx::{Connection, PgConnection};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    resilience::Deadline,
    store::{
        Error,
        postgres::{
            failure,
            replication::{Connected, Connector},
        },
    },
};

/// A connection with the names of the statements that were prepared on it by name.
pub struct Pooled {
    /// The connection.
    pub connection: PgConnection,
    /// The names.
    pub prepared: HashSet<String>,
    /// The primary's when it was opened.
    term: u64,
}

/// Connections of one purpose, opened when they are needed and kept.
///
/// sqlx's own pool (0.9) tests each connection with a round trip when it comes back, whatever `test_before_acquire` says;
/// here a connection comes back only after a step that ended well, and is closed otherwise, so none is spent. Misses over
/// the one pool and the other, in turns of half a second in one process on two busy cores, 100,000 products in 64 shards:
/// sqlx's made 0.28 of the rate with one read in flight (quartiles 0.24 to 0.33), 0.76 with 16 (0.63 to 0.88), 0.82 with 256
/// (0.77 to 0.86), and with 4,096 no difference beyond the noise (0.75 to 1.15). With a busy shard keeping its connection for
/// 16 statements it was 0.34, 0.76, 1.10 and 1.00. What waiting writes would lose was not measured.
pub struct Pool {
    connector: Connector,
    connect_limit: Duration,
    permits_total: u32,
    permits: Semaphore,
    /// With the moment each last answered.
    idle: Mutex<Vec<(Instant, Pooled)>>,
}

impl Pool {
    /// A pool of at most `connections`, each of which may take `connect_limit` to be opened; a caller beyond them waits. None is
    /// lent again once another server is the primary.
    pub(super) fn new(connector: Connector, connect_limit: Duration, connections: u32) -> Self {
        Pool {
            connector,
            connect_limit,
            permits_total: connections.max(1),
            permits: Semaphore::new(connections.max(1) as usize),
            idle: Mutex::new(Vec::new()),
        }
    }

    /// Borrows a connection, opening one if none is idle.
    ///
    /// # Errors
    /// [`Error::Deadline`] when time ran out while all were lent or one was being opened, [`Error::Unavailable`] when
    /// the server cannot be reached.
    pub async fn acquire(&self, deadline: Deadline) -> Result<PooledConnection<'_>, Error> {
        let permit = deadline.limit(self.permits.acquire()).await.map_err(|_| Error::Deadline)?;
        let permit = permit.map_err(|_| Error::shutting_down())?;
        let pooled = match self.pop_idle() {
            Some(pooled) => pooled,
            // A server that was given less than its limit to answer has not shown that it is away.
            None => {
                self.connect(deadline).await.map_err(|error| if deadline.passed() { Error::Deadline } else { error })?
            }
        };
        Ok(PooledConnection { pooled, pool: self, _permit: permit })
    }

    fn pop_idle(&self) -> Option<Pooled> {
        let mut idle = self.idle.lock();
        std::iter::from_fn(|| idle.pop())
            .map(|(_, pooled)| pooled)
            .find(|pooled| self.connector.is_current(pooled.term))
    }

    async fn connect(&self, deadline: Deadline) -> Result<Pooled, Error> {
        let Connected { connection, term } = self.connector.connect(deadline.at_most(self.connect_limit)).await?;
        Ok(Pooled { connection, prepared: HashSet::new(), term })
    }

    /// Closes the connections nobody uses: after one was found dead, the others are likely to be.
    pub fn forget_idle(&self) {
        self.idle.lock().clear();
    }

    /// Closes those of them that have not answered since `begun`: after one fell silent, they are likely to have.
    pub fn forget_silent(&self, begun: Instant) {
        self.idle.lock().retain(|(answered, _)| *answered > begun);
    }

    /// Waits for the connections that are lent, up to `deadline`, and closes all; nothing is lent any more.
    pub async fn close(&self, deadline: Deadline) {
        let all = self.permits_total;
        // Held until the pool is closed: a permit given back in between would be lent again.
        let all = deadline.limit(self.permits.acquire_many(all)).await;
        self.permits.close();
        drop(all);
        let idle = std::mem::take(&mut *self.idle.lock());
        for (_, pooled) in idle {
            drop(deadline.limit(pooled.connection.close()).await);
        }
    }
}

/// A borrowed connection. Unless it is given back, it is closed: nobody knows what a statement that was dropped
/// halfway, or one that timed out on a dead link, has left behind.
pub struct PooledConnection<'p> {
    pooled: Pooled,
    pool: &'p Pool,
    _permit: SemaphorePermit<'p>,
}

impl PooledConnection<'_> {
    /// The connection.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.pooled.connection
    }

    /// The connection, with what is prepared on it.
    pub fn pooled(&mut self) -> &mut Pooled {
        &mut self.pooled
    }

    /// Whether it leads where a new one would: not if another server has become the primary since it was opened.
    pub fn is_current(&self) -> bool {
        self.pool.connector.is_current(self.pooled.term)
    }

    /// Returns the connection for others to use.
    pub fn release(self) {
        let Pool { connector, permits, .. } = self.pool;
        if !connector.is_current(self.pooled.term) {
            return;
        }
        connector.answered();
        if !permits.is_closed() {
            self.pool.idle.lock().push((Instant::now(), self.pooled));
        }
    }
}

/// Runs one step on a connection within `deadline`.
///
/// # Errors
/// [`Error::Deadline`], or what the database answered.
pub async fn step<T>(deadline: Deadline, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, Error> {
    deadline.limit(work).await.map_err(|_| Error::Deadline)?.map_err(failure::error)
}
