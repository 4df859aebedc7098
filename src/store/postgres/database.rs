//! One configured database: its connections, its writer, what it owns. Everything that can fail alone.

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use futures_util::future::join_all;
use parking_lot::{Mutex, RwLock};
use sqlx::{Connection as _, PgConnection};
use tokio_util::task::TaskTracker;

use super::{
    Config,
    describe::{self, Ownership, Table},
    feed::{self, Lead},
    operate::health::Health,
    owners::Owners,
    pool,
    read::{BatchSizes, Lists, ReadPool, scan},
    replication::{self, Connected, Connector, Counters, Servers, To},
    session,
    shared::Shared,
    write::{Role, Writer},
};
use crate::{
    completion::Completion,
    digest,
    record::{Catalogue, CollectionId, DatabaseId, Key, Lineage, Position, RecordId, ShardId},
    resilience::Deadline,
    shutdown::Tasks,
    store::{Error, Poll, Store, Write, Written},
};

/// One configured database.
pub struct Database {
    id: DatabaseId,
    config: Config,
    servers: Arc<Servers>,
    /// Set when it has been opened, once and for all.
    open: OnceLock<Open>,
    /// Why it is not open.
    trouble: Mutex<String>,
}

/// What an open database has.
struct Open {
    lineage: Lineage,
    shared: Arc<Shared>,
    writer: Writer,
    health: Health,
}

/// Tells databases apart: the server's identifier, and the database's in it.
pub(super) type Identity = (i64, i64);

/// The server's identifier, the database's, and that of the feed's first table.
pub(super) const IDENTITY: &str = "SELECT (SELECT system_identifier FROM pg_control_system()), oid::bigint, \
                                   'feed.meta'::regclass::oid::bigint FROM pg_database WHERE datname = current_database()";

/// A database that was looked at, and is not open yet.
pub(super) struct Described {
    pub(super) tables: Vec<Table>,
    pub(super) identity: Identity,
    /// Tells the feed's tables from those of a feed that was made anew.
    feed: i64,
    connection: PgConnection,
    role: Role,
}

/// Which database it is, and which tables are read there: nodes that know others, or other columns, share nothing with these.
pub(super) fn lineage((system_identifier, oid): Identity, feed: i64, tables: &[Table]) -> Lineage {
    let mut shapes: Vec<String> = tables.iter().map(Table::shape).collect();
    shapes.sort_unstable();
    let digest = digest::of(format!("{system_identifier} {oid} {feed} {}", shapes.join("\n")));
    Lineage(u32::from_str_radix(&digest[..8], 16).expect("a digest is hexadecimal"))
}

impl Database {
    /// A database that has not been asked yet.
    ///
    /// # Errors
    /// [`Error::Broken`] when a URL of the configuration is none.
    pub(super) fn new(id: DatabaseId, config: Config, counters: &Counters) -> Result<Self, Error> {
        let trouble = Mutex::new("it was not asked yet".to_owned());
        let servers = Arc::new(Servers::new(&config, counters)?);
        Ok(Database { id, config, servers, open: OnceLock::new(), trouble })
    }

    /// Connects and reads what is tracked there.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database does not answer, [`Error::Broken`] when it was not migrated,
    /// [`Error::Forbidden`] when the role may not read it.
    pub(super) async fn describe(&self, deadline: Deadline) -> Result<Described, Error> {
        let named = |error| match (error, session::role(&self.config.url)) {
            (Error::Forbidden { what, .. }, Ok(role)) => Error::Forbidden { what, role },
            (error, _) => error,
        };
        self.look_around(deadline).await.map_err(named)
    }

    async fn look_around(&self, deadline: Deadline) -> Result<Described, Error> {
        self.servers.find_primary().await?;
        let limit = deadline.at_most(self.config.connect_limit);
        feed::lead::settle_identity(&self.servers, limit, deadline).await?;
        // Not a pooled connection: those do not wait for a table of the feed that is locked for a moment.
        let Connected { mut connection, .. } =
            Connector::new(&self.servers, To::Primary, "reads").connect(limit).await?;
        let tables = deadline.limit(describe::tables(&mut connection)).await.map_err(|_| Error::Deadline)??;
        let role = sqlx::query_as(
            "SELECT has_table_privilege('feed.outbox', 'INSERT'), current_setting('synchronous_commit') = 'off'",
        );
        let (logs, is_lossy) = pool::step(deadline, role.fetch_one(&mut connection)).await?;
        let identity = sqlx::query_as(IDENTITY);
        let (system_identifier, oid, feed) = pool::step(deadline, identity.fetch_one(&mut connection)).await?;
        let identity = (system_identifier, oid);
        Ok(Described { tables, identity, feed, connection, role: Role { logs, is_lossy } })
    }

    /// Begins to serve what was described. The tasks without which nothing is written run in `core`, and what they start in
    /// `tasks`.
    ///
    /// # Errors
    /// As for [`describe`](Self::describe).
    pub(super) async fn open(
        &self,
        described: Described,
        catalogue: &Catalogue,
        owners: &Arc<Owners>,
        (core, tasks): (&Tasks, &TaskTracker),
        deadline: Deadline,
    ) -> Result<(), Error> {
        let Described { tables, identity, feed, mut connection, role } = described;
        let lineage = lineage(identity, feed, &tables);
        let number = |mut table: Table| {
            table.collection.id = catalogue.find(&table.collection.name)?.id;
            Some(Arc::new(table))
        };
        let mut tables: Vec<_> = tables.into_iter().filter_map(number).collect();
        tables.sort_unstable_by_key(|table| table.collection.id);
        let ownership = pool::step(deadline, Ownership::read(&mut connection, &tables)).await?;
        drop(deadline.limit(connection.close()).await);
        let owned = ownership.owned();
        let shared = Arc::new(Shared {
            id: self.id,
            reads: ReadPool::new(&self.config, &self.servers, To::Primary, tables.len()),
            replica_reads: (0..self.servers.len())
                .map(|at| ReadPool::new(&self.config, &self.servers, To::Replica(at), tables.len()))
                .collect(),
            lists: Lists::new(&self.config, &self.servers),
            batch_sizes: BatchSizes::new(tables.len()),
            catalogue: catalogue.clone(),
            tables,
            ownership: RwLock::new(Arc::new(ownership)),
            owners: owners.clone(),
            config: self.config.clone(),
            servers: self.servers.clone(),
        });
        let writer = Writer::start(shared.clone(), &self.config, role, tasks, core);
        let health = Health::new(shared.clone());
        let (servers, idle) = (self.servers.clone(), (shared.clone(), writer.clone(), health.clone()));
        let forget = move || {
            let (shared, writer, health) = &idle;
            shared.reads.forget_idle();
            shared.replica_reads.iter().for_each(ReadPool::forget_idle);
            shared.lists.forget_idle();
            writer.forget_idle();
            health.forget_idle();
        };
        core.spawn("replicas", |stop| replication::watch(servers, forget, stop));
        // Opened by one task only.
        drop(self.open.set(Open { lineage, shared, writer, health }));
        owners.report(self.id, owned);
        Ok(())
    }

    pub(in crate::store) fn name(&self) -> &str {
        &self.config.name
    }

    pub(in crate::store) fn lineage(&self) -> Option<Lineage> {
        self.open.get().map(|open| open.lineage)
    }

    fn opened(&self) -> Result<&Open, Error> {
        self.open.get().ok_or_else(|| Error::Unavailable { reason: self.trouble.lock().clone() })
    }

    /// It cannot be opened now, for `reason`; says so in the log when that is news.
    pub(super) fn set_trouble(&self, reason: String) {
        let mut trouble = self.trouble.lock();
        if *trouble != reason {
            tracing::error!(database = self.name(), reason, "the database is not served until it can be opened");
            *trouble = reason;
        }
    }

    pub(super) fn servers(&self) -> &Arc<Servers> {
        &self.servers
    }

    pub(super) fn shared(&self) -> Result<&Arc<Shared>, Error> {
        self.opened().map(|open| &open.shared)
    }

    /// Reads anew which shards are here, unless the database is silent.
    pub(super) async fn refresh_ownership(&self, deadline: Deadline) -> Result<(), Error> {
        self.servers.breaker.check(Instant::now())?;
        self.shared()?.refresh_ownership(deadline).await
    }

    pub(super) fn write(
        &self,
        write: Write,
        shard: ShardId,
        deadline: Deadline,
        answer: Completion<Result<Written, Error>>,
    ) {
        let admitted = self.opened().and_then(|open| self.servers.breaker.admit(Instant::now()).map(|()| &open.writer));
        match admitted {
            Ok(writer) => writer.write(write, shard, deadline, answer),
            Err(error) => answer.complete(Err(error)),
        }
    }

    pub(super) fn is_writing(&self, id: &RecordId) -> bool {
        self.open.get().is_some_and(|open| open.writer.is_writing(id))
    }

    pub(in crate::store) fn keys_at_once(&self, collection: CollectionId) -> usize {
        self.shared().map_or(Store::KEYS_AT_ONCE_MAX, |shared| shared.batch_sizes.keys_max(collection))
    }

    /// Scans a replica that has caught up with what was known when the scan began, else the primary.
    pub(in crate::store) async fn scan(&self, collection: CollectionId, sink: impl FnMut(&[Key])) -> Result<(), Error> {
        scan::scan(self.shared()?, collection, sink).await
    }

    pub(in crate::store) async fn estimate(&self, collection: CollectionId) -> Result<u64, Error> {
        let shared = self.shared()?;
        let deadline = Deadline::after(self.config.statement_limit);
        let mut connection = shared.reads.acquire_for_feed(deadline).await?;
        let query = sqlx::query_scalar::<_, i64>(
            "SELECT coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint FROM feed.shard_table s
               JOIN pg_class c ON c.oid = s.relation WHERE s.collection = $1",
        );
        let name = &shared.catalogue.get(collection).name;
        let estimate = pool::step(deadline, query.bind(name).fetch_one(connection.connection())).await?;
        connection.release();
        Ok(estimate.unsigned_abs())
    }

    /// A reader of the change feed that starts with its first poll.
    pub(in crate::store) fn tail(self: &Arc<Self>, purpose: &'static str) -> Tail {
        Tail { database: self.clone(), purpose, tail: None }
    }

    /// A reader of the change feed that starts with what mark `mark` does not show; `None` where the mark is gone.
    pub(in crate::store) async fn tail_from(
        self: &Arc<Self>,
        purpose: &'static str,
        mark: Position,
    ) -> Result<Option<Tail>, Error> {
        let tail = feed::Tail::from_mark(self.shared()?.clone(), purpose, mark).await?;
        Ok(tail.map(|tail| Tail { database: self.clone(), purpose, tail: Some(tail) }))
    }

    pub(in crate::store) async fn lead(&self) -> Result<Option<Lead>, Error> {
        self.shared()?.lead().await
    }

    pub(super) async fn health(&self, tasks: &TaskTracker, deadline: Deadline) -> Result<String, Error> {
        self.opened()?.health.check(tasks, deadline).await
    }

    /// Waits for what is under way, and closes the connections of reads and writes.
    pub(super) async fn close(&self, deadline: Deadline) {
        if let Some(open) = self.open.get() {
            open.writer.close(deadline).await;
            open.shared.reads.close(deadline).await;
            join_all(open.shared.replica_reads.iter().map(|reads| reads.close(deadline))).await;
            open.shared.lists.close(deadline).await;
        }
    }

    /// Closes the connection of probes, which are tasks of the store.
    pub(super) async fn close_health(&self, deadline: Deadline) {
        if let Some(open) = self.open.get() {
            open.health.close(deadline).await;
        }
    }
}

/// A place in the outbox of a database that may not have been opened yet.
pub struct Tail {
    database: Arc<Database>,
    purpose: &'static str,
    tail: Option<feed::Tail>,
}

impl Tail {
    pub(in crate::store) async fn poll(&mut self) -> Result<Poll, Error> {
        let tail = match &mut self.tail {
            Some(tail) => tail,
            None => self.tail.insert(feed::Tail::new(self.database.shared()?.clone(), self.purpose)),
        };
        tail.poll().await
    }
}
