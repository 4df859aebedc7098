//! Where records live: hash-sharded PostgreSQL, or the same semantics in memory.
//!
//! Promises: a read says at which [`Position`] it was taken, in the same snapshot as the
//! rows; a write is answered after its commit and never guessed at; every committed change of a tracked table, by
//! any writer, comes out of the [`Tail`] exactly when it becomes visible. Leaves caching and ordering between reads
//! to `tiers`, and the way of changes to every node to `changes`.
//!
//! Two implementations stand behind enums rather than trait objects, so the hot path is a jump and not a table.

pub mod error;
pub mod feed;
pub mod fetch;
pub mod list;
pub mod memory;
pub mod postgres;
mod topology;
pub mod write;

use std::sync::Arc;

use tokio::sync::watch;

pub use error::Error;
pub use feed::{Lead, Poll, Proof, Tail};
pub use fetch::{Fetched, Origin, Row};
pub use list::{Range, Stretch};
pub use memory::{DataType, Memory};
pub use postgres::{Login, Postgres, Role, ServerState};
pub use write::{Operation, Token, Write, Written};

use crate::{
    completion::Completion,
    record::{Catalogue, CollectionId, DatabaseId, Key, Lineage, Position, RecordId, RecordRef, ShardId},
    resilience::Deadline,
    shutdown::Tasks,
};

/// The store behind one node. Cheap to clone.
#[derive(Clone)]
pub enum Store {
    /// Rows in PostgreSQL databases.
    Postgres(Arc<Postgres>),
    /// Rows in this process, gone with it.
    Memory(Arc<Memory>),
}

impl Store {
    /// The collections found when the store was opened.
    pub fn catalogue(&self) -> &Catalogue {
        match self {
            Store::Postgres(store) => store.catalogue(),
            Store::Memory(store) => store.catalogue(),
        }
    }

    /// The databases, each of which has a history of its own: the memory store is one.
    pub fn databases(&self) -> impl Iterator<Item = DatabaseId> + use<> {
        let count = match self {
            Store::Postgres(store) => store.databases(),
            Store::Memory(_) => 1,
        };
        (0..).map(DatabaseId).take(count)
    }

    /// What a database is called.
    pub fn name(&self, database: DatabaseId) -> &str {
        match self {
            Store::Postgres(store) => store.database(database).name(),
            Store::Memory(_) => "memory",
        }
    }

    /// Which database it is, once it was met; none in memory.
    pub fn lineage(&self, database: DatabaseId) -> Option<Lineage> {
        match self {
            Store::Postgres(store) => store.database(database).lineage(),
            Store::Memory(_) => None,
        }
    }

    /// The database that owns `shard`.
    ///
    /// # Errors
    /// [`Error::NotOwned`], [`Error::Disputed`].
    pub fn owner(&self, shard: ShardId) -> Result<DatabaseId, Error> {
        match self {
            Store::Postgres(store) => store.owner(shard),
            Store::Memory(_) => Ok(DatabaseId(0)),
        }
    }

    /// The shards that `database` owns, in order.
    pub fn owned(&self, database: DatabaseId) -> Vec<ShardId> {
        match self {
            Store::Postgres(store) => store.owned(database),
            Store::Memory(store) => store.shards().collect(),
        }
    }

    /// The most keys of one statement.
    pub const KEYS_AT_ONCE_MAX: usize = 256;

    /// How many records of a collection should be read at once in a database: fewer where they are large.
    pub fn keys_at_once(&self, database: DatabaseId, collection: CollectionId) -> usize {
        match self {
            Store::Postgres(store) => store.database(database).keys_at_once(collection),
            Store::Memory(_) => Store::KEYS_AT_ONCE_MAX,
        }
    }

    /// The logical shard of a record.
    ///
    /// # Errors
    /// [`Error::Broken`] for a key that is not canonical for the collection's key type; a parsed [`Key`] always is.
    pub fn shard_of(&self, record: RecordRef<'_>) -> Result<ShardId, Error> {
        self.catalogue().shard_of(record).ok_or_else(|| Error::broken("compute the shard of a key"))
    }

    /// Whether a read of `shard` may be queued: not while its database is silent, since everything queued would wait for its
    /// deadline. Now and then one passes, to find out whether the database answers again.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub fn admit(&self, shard: ShardId) -> Result<(), Error> {
        match self {
            Store::Postgres(store) => store.admit(shard),
            Store::Memory(_) => Ok(()),
        }
    }

    /// Whether it is worth waiting for a statement about `shard` that was sent.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when its database is silent.
    pub fn check_silence(&self, shard: ShardId) -> Result<(), Error> {
        match self {
            Store::Postgres(store) => store.check_silence(shard),
            Store::Memory(_) => Ok(()),
        }
    }

    /// Reads `keys` of one shard in one statement on the primary; a row for each, absent ones included, in their order.
    ///
    /// # Errors
    /// [`Error::Deadline`], [`Error::Unavailable`], [`Error::NotOwned`], [`Error::Disputed`].
    ///
    /// # Cancel safety
    /// Dropping the future gives the connection up; nothing else is touched.
    pub async fn read(
        &self,
        shard: ShardId,
        collection: CollectionId,
        keys: &[Key],
        deadline: Deadline,
    ) -> Result<Fetched, Error> {
        match self {
            Store::Postgres(store) => store.read(shard, collection, keys, deadline).await,
            Store::Memory(store) => Ok(store.answer(shard, collection, keys).await),
        }
    }

    /// The newest mark that a replica is known to show which may answer reads of `shard`; `None` where there is none.
    pub fn replica_mark(&self, shard: ShardId) -> Option<Position> {
        match self {
            Store::Postgres(store) => store.replica_mark(shard),
            Store::Memory(_) => None,
        }
    }

    /// [`read`](Self::read) on a replica, which may be behind: whether what it found is new enough to be used is for the caller
    /// to judge, by the position. It is known to show `needed`.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Deadline`]; the primary may answer.
    pub async fn read_replica(
        &self,
        shard: ShardId,
        collection: CollectionId,
        keys: &[Key],
        needed: Position,
        deadline: Deadline,
    ) -> Result<Fetched, Error> {
        match self {
            Store::Postgres(store) => store.read_replica(shard, collection, keys, needed, deadline).await,
            Store::Memory(_) => Err(Error::Unavailable { reason: "the memory store has no replicas".into() }),
        }
    }

    /// Reads a part of a collection in the order of its keys, of all its shards; from replicas where there are some, which may be
    /// as far behind as those that answer reads. Each record's state was committed; together they are no snapshot.
    ///
    /// # Errors
    /// [`Error::InDatabase`] for one that did not answer, [`Error::NotOwned`], [`Error::Disputed`].
    ///
    /// # Cancel safety
    /// Dropping the future gives the connections up; nothing else is touched.
    pub async fn list(&self, collection: CollectionId, range: &Range, deadline: Deadline) -> Result<Stretch, Error> {
        match self {
            Store::Postgres(store) => store.list(collection, range, deadline).await,
            Store::Memory(store) => Ok(store.list(collection, range)),
        }
    }

    /// Reads one record on each server of its database, for people; in the order of [`Self::servers`], with what is wrong where one
    /// did not answer. Nothing in memory.
    ///
    /// # Errors
    /// [`Error::NotOwned`], [`Error::Disputed`], [`Error::Unavailable`].
    pub async fn read_each(
        &self,
        shard: ShardId,
        collection: CollectionId,
        key: &Key,
        deadline: Deadline,
    ) -> Result<Vec<Result<Fetched, String>>, Error> {
        match self {
            Store::Postgres(store) => store.read_each(shard, collection, key, deadline).await,
            Store::Memory(_) => Ok(Vec::new()),
        }
    }

    /// How the servers of a database stand, in the order of the configuration; nothing in memory.
    pub fn servers(&self, database: DatabaseId) -> Vec<ServerState> {
        match self {
            Store::Postgres(store) => store.servers(database),
            Store::Memory(_) => Vec::new(),
        }
    }

    /// How a person reaches the primary of a database; nothing in memory.
    pub fn login(&self, database: DatabaseId) -> Option<Login> {
        match self {
            Store::Postgres(store) => Some(store.login(database)),
            Store::Memory(_) => None,
        }
    }

    /// Changes when another server of a database is taken for its primary; never in memory.
    pub fn primary_term(&self, database: DatabaseId) -> watch::Receiver<u64> {
        match self {
            Store::Postgres(store) => store.primary_term(database),
            Store::Memory(_) => watch::channel(0).1,
        }
    }

    /// Commits one write, in a group with its contemporaries, and answers after the commit: every variant of [`Error`],
    /// [`Error::OutcomeUnknown`] when the connection was lost in mid-commit, [`Error::Unavailable`] when the store was closed
    /// before the commit was sent.
    ///
    /// `answer` runs between two groups and must not block. The write runs on when whoever waits for the answer is gone.
    pub fn write(
        &self,
        write: Write,
        deadline: Deadline,
        answer: impl FnOnce(Result<Written, Error>) + Send + Sync + 'static,
    ) {
        let answer = Completion::new(|| Err(Error::shutting_down()), answer);
        if let Err(error) = write.check(self.catalogue().get(write.id.collection)) {
            return answer.complete(Err(error));
        }
        match self {
            Store::Postgres(store) => store.write(write, deadline, answer),
            Store::Memory(store) => answer.complete(store.write(&write)),
        }
    }

    /// Whether a write of the record is being committed, whose answer will tell the state that it leaves.
    pub fn is_writing(&self, id: &RecordId) -> bool {
        match self {
            Store::Postgres(store) => store.is_writing(id),
            Store::Memory(_) => false,
        }
    }

    /// The tasks without which nothing is written, if there are any; [`close`](Self::close) stops them.
    pub fn tasks(&self) -> Option<&Tasks> {
        match self {
            Store::Postgres(store) => Some(store.tasks()),
            Store::Memory(_) => None,
        }
    }

    /// Hands every key of a collection that a database owns to `sink`, in chunks: a change that is not shown is reported by a poll
    /// after the call. A key may be handed over twice.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database was lost on the way and [`Error::Deadline`] when it fell silent, or somebody
    /// has locked a partition; the keys handed over so far mean nothing then.
    pub async fn scan(
        &self,
        database: DatabaseId,
        collection: CollectionId,
        sink: impl FnMut(&[Key]),
    ) -> Result<(), Error> {
        match self {
            Store::Postgres(store) => store.database(database).scan(collection, sink).await,
            Store::Memory(store) => {
                store.scan(collection, sink);
                Ok(())
            }
        }
    }

    /// Roughly how many records of a collection a database owns.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database does not answer.
    pub async fn estimate(&self, database: DatabaseId, collection: CollectionId) -> Result<u64, Error> {
        match self {
            Store::Postgres(store) => store.database(database).estimate(collection).await,
            Store::Memory(store) => Ok(store.len(collection) as u64),
        }
    }

    /// A reader of a database's change feed that starts now: it reports what becomes visible from here on.
    pub fn tail(&self, database: DatabaseId) -> Tail {
        match self {
            Store::Postgres(store) => Tail::Postgres(store.database(database).tail("tail")),
            Store::Memory(store) => Tail::Memory(store.tail()),
        }
    }

    /// The same for the node's keeper, which is not counted as another node that follows the feed.
    pub fn keeper_tail(&self, database: DatabaseId) -> Tail {
        match self {
            Store::Postgres(store) => Tail::Postgres(store.database(database).tail("keeper")),
            Store::Memory(store) => Tail::Memory(store.tail()),
        }
    }

    /// A reader of a database's change feed for the keeper that starts at `mark`: its first poll reports what the snapshot of that
    /// mark does not show, and all generations. `None` where the mark is gone.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Deadline`].
    pub async fn tail_from(&self, database: DatabaseId, mark: Position) -> Result<Option<Tail>, Error> {
        match self {
            Store::Postgres(store) => Ok(store.database(database).tail_from("keeper", mark).await?.map(Tail::Postgres)),
            Store::Memory(_) => Ok(None),
        }
    }

    /// Tries to become the one node that writes marks into a database and prunes it; `None` while another node leads.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database does not answer.
    pub async fn lead(&self, database: DatabaseId) -> Result<Option<Lead>, Error> {
        match self {
            Store::Postgres(store) => Ok(store.database(database).lead().await?.map(Lead::Postgres)),
            Store::Memory(_) => Ok(Some(Lead::Memory)),
        }
    }

    /// Says whether a database answers, in words for an operator.
    ///
    /// # Errors
    /// [`Error::Unavailable`] with the reason.
    pub async fn health(&self, database: DatabaseId, deadline: Deadline) -> Result<String, Error> {
        match self {
            Store::Postgres(store) => store.health(database, deadline).await,
            Store::Memory(store) => Ok(store.health()),
        }
    }

    /// Waits for writes under way, then closes every connection.
    pub async fn close(&self) {
        match self {
            Store::Postgres(store) => store.close().await,
            Store::Memory(_) => {}
        }
    }
}
