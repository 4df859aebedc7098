//! Records in PostgreSQL. The only module that knows SQL.
//!
//! Promises: reads and writes name the partition and carry the position of their own snapshot; a connection whose
//! statement did not end well is closed, never lent again; every statement has a limit in the server and one here.
//! Leaves what to cache, and when a read is too old to use, to `tiers`.

pub mod describe;
mod failure;
mod feed;
mod identity;
mod operate;
pub mod pool;
mod read;
pub mod server;
pub mod session;
mod statement;
mod write;

use std::{sync::Arc, time::Duration};

use futures_util::TryStreamExt as _;
use parking_lot::RwLock;
use sqlx::{AssertSqlSafe, Connection as _, Row as _};
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

pub use feed::{Lead, Tail};
pub use operate::{inspect, migrate, survey};
pub use pool::Config;

use self::{
    describe::{Ownership, Table},
    operate::health::Health,
    read::{BatchSizes, ReadPool},
    statement::Statements,
    write::{Role, Writer},
};
use super::{Error, Fetched, Write, Written};
use crate::{
    completion::Completion,
    record::{Catalogue, CollectionId, Key, RecordId, ShardId, shard},
    resilience::{Backoff, Deadline},
    shutdown::Tasks,
};

/// Keys handed over at once by a scan; others have their turn in between.
const SCAN_KEYS: usize = 512;
/// How long a scan waits for a lock on a partition before it is given up, in milliseconds.
const SCAN_LOCK_LIMIT_MS: u32 = 100;
/// How long a drain waits for statements under way.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// The store over one PostgreSQL primary.
pub struct Postgres {
    shared: Arc<Shared>,
    writer: Writer,
    health: Health,
    tasks: TaskTracker,
    /// Those without which nothing is written.
    core: Tasks,
}

/// What reads, writes and the feed have in common.
pub(crate) struct Shared {
    config: Config,
    catalogue: Catalogue,
    tables: Vec<Arc<Table>>,
    ownership: RwLock<Arc<Ownership>>,
    reads: ReadPool,
    batch_sizes: BatchSizes,
}

impl Postgres {
    /// Connects and reads what is tracked and owned there.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database does not answer, [`Error::Broken`] when it was not migrated.
    pub async fn open(config: Config, deadline: Deadline) -> Result<Self, Error> {
        feed::lead::settle_identity(&config, deadline).await?;
        // Not a pooled connection: those do not wait for a table of the feed that is locked for a moment.
        let mut connection = pool::connect(&config.options("reads")?, deadline.at_most(config.connect_limit)).await?;
        let described = deadline.limit(describe::tables(&mut connection)).await;
        let mut tables = described.map_err(|_| Error::Deadline)??;
        let catalogue = Catalogue::new(tables.iter().map(|table| table.collection.clone()));
        for (table, collection) in tables.iter_mut().zip(catalogue.iter()) {
            table.collection.id = collection.id;
        }
        let tables: Vec<_> = tables.into_iter().map(Arc::new).collect();
        let ownership = pool::step(deadline, Ownership::read(&mut connection, &tables)).await?;
        let role = sqlx::query_as(
            "SELECT has_table_privilege('feed.outbox', 'INSERT'), current_setting('synchronous_commit') = 'off'",
        );
        let (logs, is_lossy) = pool::step(deadline, role.fetch_one(&mut connection)).await?;
        drop(deadline.limit(connection.close()).await);
        let reads = ReadPool::new(&config, tables.len())?;
        let ownership = RwLock::new(Arc::new(ownership));
        let batch_sizes = BatchSizes::new(tables.len());
        let shared = Arc::new(Shared { reads, batch_sizes, catalogue, tables, ownership, config: config.clone() });
        let tasks = TaskTracker::new();
        let core = Tasks::new();
        let writer = Writer::start(shared.clone(), &config, Role { logs, is_lossy }, &tasks, &core)?;
        Ok(Postgres { writer, health: Health::new(shared.clone()), shared, tasks, core })
    }

    /// The collections tracked when the store was opened.
    pub fn catalogue(&self) -> &Catalogue {
        &self.shared.catalogue
    }

    pub(super) fn keys_at_once(&self, collection: CollectionId) -> usize {
        self.shared.batch_sizes.keys_max(collection)
    }

    pub(super) async fn read(
        &self,
        shard: ShardId,
        collection: CollectionId,
        keys: &[Key],
        deadline: Deadline,
    ) -> Result<Fetched, Error> {
        self.shared.read(shard, collection, keys, deadline).await
    }

    pub(super) fn write(&self, write: Write, deadline: Deadline, answer: Completion<Result<Written, Error>>) {
        let collection = self.shared.catalogue.get(write.id.collection);
        match shard::shard_of(collection.key_kind, write.id.key.as_str(), collection.modulus) {
            Some(shard) => self.writer.write(write, ShardId(shard), deadline, answer),
            None => answer.complete(Err(Error::broken("compute the shard of a key"))),
        }
    }

    pub(super) fn is_writing(&self, id: &RecordId) -> bool {
        self.writer.is_writing(id)
    }

    pub(super) async fn scan(&self, collection: CollectionId, mut sink: impl FnMut(&[Key])) -> Result<(), Error> {
        let deadline = Deadline::after(self.shared.config.connect_limit);
        let mut connection = self.shared.connect("scan", deadline).await?;
        // No limit in the server: a large table takes its time. On this side each chunk has one, or a link that fell silent
        // would be waited for until the end of the process.
        let settings =
            format!("SET statement_timeout = 0; SET enable_seqscan = on; SET lock_timeout = {SCAN_LOCK_LIMIT_MS}");
        let limit = || Deadline::after(self.shared.config.statement_limit);
        pool::step(limit(), sqlx::raw_sql(AssertSqlSafe(settings)).execute(&mut connection)).await?;
        let ownership = self.shared.ownership.read().clone();
        for shard in ownership.shards(collection) {
            let Ok(statements) = ownership.find(collection, shard) else { continue };
            let rows = sqlx::query(statements.scan()).fetch(&mut connection);
            let keys = rows.and_then(async |row| Ok(Key::from_database(row.try_get::<&str, _>(0)?)));
            let mut chunks = std::pin::pin!(keys.try_chunks(SCAN_KEYS).map_err(|error| error.1));
            while let Some(keys) = pool::step(limit(), chunks.try_next()).await? {
                sink(&keys);
                tokio::task::yield_now().await;
            }
        }
        drop(limit().limit(connection.close()).await);
        Ok(())
    }

    pub(super) async fn estimate(&self, collection: CollectionId) -> Result<u64, Error> {
        let deadline = Deadline::after(self.shared.config.statement_limit);
        let mut connection = self.shared.reads.acquire_for_feed(deadline).await?;
        let query = sqlx::query_scalar::<_, i64>(
            "SELECT coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint FROM feed.shard_table s
               JOIN pg_class c ON c.oid = s.relation WHERE s.collection = $1",
        );
        let name = &self.shared.catalogue.get(collection).name;
        let estimate = pool::step(deadline, query.bind(name).fetch_one(connection.connection())).await?;
        connection.release();
        Ok(estimate.unsigned_abs())
    }

    pub(super) fn tasks(&self) -> &Tasks {
        &self.core
    }

    pub(super) fn tail(&self) -> Tail {
        Tail::new(self.shared.clone())
    }

    pub(super) async fn lead(&self) -> Result<Option<Lead>, Error> {
        self.shared.lead().await
    }

    pub(super) async fn health(&self, deadline: Deadline) -> Result<String, Error> {
        self.health.check(&self.tasks, deadline).await
    }

    pub(super) async fn close(&self) {
        let deadline = Deadline::after(CLOSE_LIMIT);
        self.writer.close(deadline).await;
        self.shared.reads.close(deadline).await;
        self.tasks.close();
        if deadline.limit(self.tasks.wait()).await.is_err() {
            tracing::warn!("writes were still under way when the store was closed");
        }
        self.health.close(deadline).await;
        for task in self.core.stop(deadline.left()).await {
            tracing::warn!(task, "did not end in time");
        }
    }
}

impl Shared {
    /// The statements of a shard; ownership is read anew once when it is not known here.
    async fn statements(
        &self,
        collection: CollectionId,
        shard: ShardId,
        deadline: Deadline,
    ) -> Result<Arc<Statements>, Error> {
        let known = self.ownership.read().find(collection, shard);
        match known {
            Err(Error::NotOwned { .. }) => {
                self.refresh_ownership(deadline).await?;
                self.ownership.read().find(collection, shard)
            }
            known => known,
        }
    }

    /// The statements of a shard, and those for all shards of its collection that are here.
    async fn writes(
        &self,
        collection: CollectionId,
        shard: ShardId,
        deadline: Deadline,
    ) -> Result<(Arc<Statements>, Arc<Statements>), Error> {
        let statements = self.statements(collection, shard, deadline).await?;
        let whole = self.ownership.read().whole(collection).unwrap_or_else(|| statements.clone());
        Ok((statements, whole))
    }

    /// Reads anew which shards are here. A lock on the feed's tables is waited for without a connection.
    async fn refresh_ownership(&self, deadline: Deadline) -> Result<(), Error> {
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(100));
        loop {
            let mut connection = self.reads.acquire_for_feed(deadline).await?;
            let read = deadline.limit(Ownership::read(connection.connection(), &self.tables)).await;
            match read.map_err(|_| Error::Deadline)? {
                Ok(ownership) => {
                    connection.release();
                    *self.ownership.write() = Arc::new(ownership);
                    return Ok(());
                }
                Err(error) if failure::is_held(&error) => connection.release(),
                Err(error) => return Err(failure::error(error)),
            }
            deadline.limit(sleep(backoff.next_wait())).await.map_err(|_| Error::Deadline)?;
        }
    }
}
