//! The connections of reads: those for all, and the few on which reads of locked relations wait.
//!
//! Promise: whatever others lock, and however slow one collection's reads are, every other collection finds a connection.
//! Who could make the others wait, and what bounds it:
//!
//! - A shard: its reads go out one statement at a time for each purpose, clients' and the follower's
//!   (`tiers/batch.rs`), so it holds two connections at the most.
//! - A collection has many shards: [`shares`](super::shares) leaves a third of the connections to the others.
//! - A locked relation: a statement waits [`LOCK_LIMIT_MS`] for a lock. If that was in vain, it leaves its connection to
//!   others, and the shard is known as locked: its reads are tried here, one at a time for each collection, on
//!   [`WAITING_CONNECTIONS`] beside those of all, until the lock is gone or their callers' time is.
//! - A statement that its callers gave up closes its connection, and others are opened: connections idle since before it
//!   began are closed with it, as the link may be dead. Those that have answered since stay.
//! - Probes of readiness ([`health`](crate::store::postgres::operate::health)), scans and the tail use none of these connections.
//!
//! Bystanders in `tests/it/locked_reads.rs` show it.

use std::{collections::HashSet, sync::Arc, time::Instant};

use parking_lot::Mutex;
use sqlx::PgConnection;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard};

use super::shares::{Share, Shares};
use crate::{
    record::{CollectionId, ShardId},
    resilience::Deadline,
    store::{
        Error,
        postgres::{
            config::Config,
            pool::{Pool, PooledConnection},
            replication::{Connector, Servers, To},
        },
    },
};

/// How long a read waits for any lock, in milliseconds, and its connection with it. It is a setting of the session, so it
/// costs no round trip.
const LOCK_LIMIT_MS: u32 = 5;
/// How long a read waits, in milliseconds, that is known to meet a lock. A vacuum that shortens a table looks every 20 ms
/// whether somebody waits for it.
const WAITING_LOCK_LIMIT_MS: u32 = 100;
/// Connections on which reads of locked relations wait.
pub const WAITING_CONNECTIONS: u32 = 2;

/// A shard of which something is locked.
pub type Place = (CollectionId, ShardId);

/// Which of the connections a read uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To read, or to find out that it would have to wait.
    Read,
    /// To wait for a lock.
    Wait,
}

/// The connections. A collection is known by its number in the catalogue.
pub struct ReadPool {
    all: Pool,
    shares: Shares,
    /// The user of `shares` that is none of the collections.
    feed: usize,
    waiting: Pool,
    /// Held by the one read of each collection that waits for a lock.
    tries: Vec<AsyncMutex<()>>,
    /// Shards whose last read met a lock.
    locked: Mutex<HashSet<Place>>,
}

/// A borrowed connection. Unless it is released, it is closed.
pub struct ReadConnection<'p> {
    connection: PooledConnection<'p>,
    _right: Right<'p>,
}

/// What bounds the number of those who borrow. Dropped after the connection, so that its next owner finds one.
enum Right<'p> {
    Share(#[expect(dead_code, reason = "held until the connection is given up")] Share),
    Try(#[expect(dead_code, reason = "held until the connection is given up")] MutexGuard<'p, ()>),
}

impl ReadConnection<'_> {
    /// The connection.
    pub fn connection(&mut self) -> &mut PgConnection {
        self.connection.connection()
    }

    /// Whether it leads where a new one would.
    pub fn is_current(&self) -> bool {
        self.connection.is_current()
    }

    /// Returns the connection for others to use.
    pub fn release(self) {
        self.connection.release();
    }
}

impl ReadPool {
    /// Pools for so many `collections`, of the primary or a replica.
    pub(in crate::store::postgres) fn new(config: &Config, servers: &Arc<Servers>, to: To, collections: usize) -> Self {
        let pool = |purpose, lock_limit_ms: u32, connections| {
            let connector = Connector::new(servers, to, purpose).with("lock_timeout", lock_limit_ms);
            Pool::new(connector, config.connect_limit, connections)
        };
        let connections = config.read_connections;
        ReadPool {
            all: pool("reads", LOCK_LIMIT_MS, connections),
            shares: Shares::new(connections as usize, collections + 1),
            feed: collections,
            waiting: pool("waiting reads", WAITING_LOCK_LIMIT_MS, WAITING_CONNECTIONS),
            tries: std::iter::repeat_with(AsyncMutex::default).take(collections).collect(),
            locked: Mutex::default(),
        }
    }

    /// Borrows a connection to read a collection.
    ///
    /// # Errors
    /// [`Error::Deadline`], [`Error::Unavailable`].
    pub async fn acquire(
        &self,
        collection: CollectionId,
        purpose: Purpose,
        deadline: Deadline,
    ) -> Result<ReadConnection<'_>, Error> {
        let user = usize::from(collection.0);
        match purpose {
            Purpose::Read => self.share(user, deadline).await,
            Purpose::Wait => {
                let one = deadline.limit(self.tries[user].lock()).await.map_err(|_| Error::Deadline)?;
                Ok(ReadConnection { connection: self.waiting.acquire(deadline).await?, _right: Right::Try(one) })
            }
        }
    }

    /// Borrows a connection to read the feed's own tables.
    ///
    /// # Errors
    /// [`Error::Deadline`], [`Error::Unavailable`].
    pub async fn acquire_for_feed(&self, deadline: Deadline) -> Result<ReadConnection<'_>, Error> {
        self.share(self.feed, deadline).await
    }

    async fn share(&self, user: usize, deadline: Deadline) -> Result<ReadConnection<'_>, Error> {
        let share = self.shares.acquire(user, deadline).await?;
        Ok(ReadConnection { connection: self.all.acquire(deadline).await?, _right: Right::Share(share) })
    }

    /// Whether the last read of the shard met a lock, so that the next one had better wait for it.
    pub fn is_locked(&self, place: Place) -> bool {
        self.locked.lock().contains(&place)
    }

    /// A read of the shard met a lock.
    pub fn lock(&self, place: Place) {
        self.locked.lock().insert(place);
    }

    /// A read of the shard succeeded.
    pub fn unlock(&self, place: Place) {
        self.locked.lock().remove(&place);
    }

    /// Closes the idle connections: after one was found dead, the others are likely to be.
    pub fn forget_idle(&self) {
        self.all.forget_idle();
        self.waiting.forget_idle();
    }

    /// Closes the idle connections that have not answered since `begun`: after one fell silent, these are likely to have.
    /// One that has answered since shows that only a statement was slow.
    pub fn forget_silent(&self, begun: Instant) {
        self.all.forget_silent(begun);
        self.waiting.forget_silent(begun);
    }

    /// Waits for the connections that are lent, up to `deadline`, and closes all.
    pub async fn close(&self, deadline: Deadline) {
        self.all.close(deadline).await;
        self.waiting.close(deadline).await;
    }
}
