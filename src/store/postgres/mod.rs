//! Records in PostgreSQL. The only module that knows SQL.
//!
//! Promises: reads and writes name the partition and carry the position of their own snapshot; a connection whose
//! statement did not end well is closed, never lent again; every statement has a limit in the server and one here.
//! Leaves what to cache, and when a read is too old to use, to `tiers`.

mod agreement;
mod breaker;
mod config;
mod database;
pub mod describe;
mod failure;
mod feed;
mod identity;
mod joining;
mod listing;
mod operate;
mod owners;
pub mod placement;
pub mod pool;
mod read;
mod replication;
pub mod server;
pub mod session;
pub mod shard_range;
mod shared;
mod statement;
mod write;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

pub use config::Config;
pub use database::Tail;
pub use feed::Lead;
pub use operate::{comparison, inspect, migrate, rights, rows, servers, survey};
pub use replication::{Counters, Role, ServerState};
pub use session::Login;
pub(crate) use shared::Shared;

use self::{database::Database, joining::Joining, owners::Owners};
use super::{Error, Fetched, Write, Written};
use crate::{
    completion::Completion,
    record::{Catalogue, CollectionId, DatabaseId, Key, Position, RecordId, ShardId},
    resilience::Deadline,
    shutdown::Tasks,
};

/// How long a database may take to say what it owns, when a request waits for it.
const ASK_LIMIT: Duration = Duration::from_secs(1);
/// How long a drain waits for statements under way.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// The store over PostgreSQL databases, each of which owns some of the shards. Cheap to clone.
#[derive(Clone)]
pub struct Postgres {
    databases: Arc<[Arc<Database>]>,
    catalogue: Catalogue,
    owners: Arc<Owners>,
    tasks: TaskTracker,
    /// Those without which nothing is written.
    core: Tasks,
}

impl Postgres {
    /// Connects to every database and reads what is tracked and owned there. One that answers is enough: the others, and those
    /// that describe their collections otherwise than most, are tried again until they can be opened.
    ///
    /// # Errors
    /// When no database can be opened, what the first of them said: [`Error::Unavailable`] when it does not answer,
    /// [`Error::Broken`] when it was not migrated. [`Error::Broken`] as well when two entries name one database.
    pub async fn open(configs: Vec<Config>, counters: &Counters, deadline: Deadline) -> Result<Self, Error> {
        let databases = (0..).map(DatabaseId).zip(configs);
        let databases: Result<Arc<[_]>, _> =
            databases.map(|(id, config)| Database::new(id, config, counters).map(Arc::new)).collect();
        let databases = databases?;
        let (joining, found) = Joining::begin(&databases, deadline).await?;
        join_all(found.into_iter().map(|(database, described)| joining.join(database, described, deadline))).await;
        for database in databases.iter().filter(|database| database.shared().is_err()) {
            let (database, joining) = (database.clone(), joining.clone());
            joining.core.clone().spawn("databases", |stop| joining.wait_for(database, stop));
        }
        let Joining { catalogue, owners, tasks, core, .. } = joining;
        Ok(Postgres { databases, catalogue, owners, tasks, core })
    }

    /// The collections tracked when the store was opened.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    pub(super) fn databases(&self) -> usize {
        self.databases.len()
    }

    pub(super) fn database(&self, id: DatabaseId) -> &Arc<Database> {
        &self.databases[id.index()]
    }

    pub(super) fn owner(&self, shard: ShardId) -> Result<DatabaseId, Error> {
        self.owners.owner(shard)
    }

    pub(super) fn servers(&self, id: DatabaseId) -> Vec<ServerState> {
        self.database(id).servers().states()
    }

    pub(super) fn login(&self, id: DatabaseId) -> Login {
        self.database(id).servers().primary().0.login()
    }

    pub(super) fn primary_term(&self, id: DatabaseId) -> watch::Receiver<u64> {
        self.database(id).servers().term()
    }

    pub(super) fn owned(&self, database: DatabaseId) -> Vec<ShardId> {
        self.owners.owned(database)
    }

    pub(super) fn admit(&self, shard: ShardId) -> Result<(), Error> {
        match self.owner(shard) {
            Ok(owner) => self.database(owner).shared()?.servers.breaker.admit(Instant::now()),
            // The databases are asked for the owner first.
            Err(_) => Ok(()),
        }
    }

    pub(super) fn check_silence(&self, shard: ShardId) -> Result<(), Error> {
        let owner = self.owner(shard)?;
        self.database(owner).shared()?.servers.breaker.check(Instant::now())
    }

    pub(super) async fn read(
        &self,
        shard: ShardId,
        collection: CollectionId,
        keys: &[Key],
        deadline: Deadline,
    ) -> Result<Fetched, Error> {
        let owner = match self.owner(shard) {
            Ok(owner) => owner,
            Err(_) => self.ask_for_owner(shard, deadline).await?,
        };
        self.database(owner).shared()?.read(shard, collection, keys, deadline).await
    }

    /// The newest mark that a replica of the shard's owner shows; `None` where none may be asked.
    pub(super) fn replica_mark(&self, shard: ShardId) -> Option<Position> {
        let owner = self.owner(shard).ok()?;
        self.database(owner).servers().replica_mark()
    }

    pub(super) async fn read_replica(
        &self,
        shard: ShardId,
        collection: CollectionId,
        keys: &[Key],
        needed: Position,
        deadline: Deadline,
    ) -> Result<Fetched, Error> {
        let owner = self.owner(shard)?;
        self.database(owner).shared()?.read_replica(shard, collection, keys, needed, deadline).await
    }

    pub(super) async fn read_each(
        &self,
        shard: ShardId,
        collection: CollectionId,
        key: &Key,
        deadline: Deadline,
    ) -> Result<Vec<Result<Fetched, String>>, Error> {
        let owner = self.owner(shard)?;
        Ok(self.database(owner).shared()?.read_each(shard, collection, key, deadline).await)
    }

    pub(super) fn write(&self, write: Write, deadline: Deadline, answer: Completion<Result<Written, Error>>) {
        let Some(shard) = self.catalogue.shard_of(write.id.as_ref()) else {
            return answer.complete(Err(Error::broken("compute the shard of a key")));
        };
        if let Ok(owner) = self.owner(shard) {
            return self.database(owner).write(write, shard, deadline, answer);
        }
        let store = self.clone();
        self.tasks.spawn(async move {
            match store.ask_for_owner(shard, deadline).await {
                Ok(owner) => store.database(owner).write(write, shard, deadline, answer),
                Err(error) => answer.complete(Err(error)),
            }
        });
    }

    /// The owner of a shard that has none here, or more than one, once the databases have been asked again.
    async fn ask_for_owner(&self, shard: ShardId, deadline: Deadline) -> Result<DatabaseId, Error> {
        let asked = async {
            let limit = deadline.at_most(ASK_LIMIT);
            join_all(self.databases.iter().map(|database| database.refresh_ownership(limit))).await;
        };
        // One that is away has nothing new to say.
        let _ = deadline.limit(self.owners.ask_again(asked)).await;
        self.owner(shard)
    }

    pub(super) fn is_writing(&self, id: &RecordId) -> bool {
        let owner = self.catalogue.shard_of(id.as_ref()).and_then(|shard| self.owner(shard).ok());
        owner.is_some_and(|owner| self.database(owner).is_writing(id))
    }

    pub(super) fn tasks(&self) -> &Tasks {
        &self.core
    }

    pub(super) async fn health(&self, id: DatabaseId, deadline: Deadline) -> Result<String, Error> {
        self.database(id).health(&self.tasks, deadline).await
    }

    pub(super) async fn close(&self) {
        let deadline = Deadline::after(CLOSE_LIMIT);
        join_all(self.databases.iter().map(|database| database.close(deadline))).await;
        self.tasks.close();
        if deadline.limit(self.tasks.wait()).await.is_err() {
            tracing::warn!("writes were still under way when the store was closed");
        }
        join_all(self.databases.iter().map(|database| database.close_health(deadline))).await;
        for task in self.core.stop(deadline.left()).await {
            tracing::warn!(task, "did not end in time");
        }
    }
}
