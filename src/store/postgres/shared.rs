//! What reads, writes and the feed of one database have in common.

use std::{sync::Arc, time::Duration};

use parking_lot::RwLock;
use tokio::time::sleep;

use super::{
    Config,
    describe::{Ownership, Table},
    failure,
    owners::Owners,
    read::{BatchSizes, Lists, ReadPool},
    replication::Servers,
    statement::Statements,
};
use crate::{
    record::{Catalogue, CollectionId, DatabaseId, ShardId},
    resilience::{Backoff, Deadline},
    store::Error,
};

/// What every part of an open database knows of it.
pub(crate) struct Shared {
    pub(super) id: DatabaseId,
    pub(super) config: Config,
    /// The collections of all databases.
    pub(super) catalogue: Catalogue,
    pub(super) tables: Vec<Arc<Table>>,
    pub(super) ownership: RwLock<Arc<Ownership>>,
    /// To be told of what is found here.
    pub(super) owners: Arc<Owners>,
    pub(super) servers: Arc<Servers>,
    pub(super) reads: ReadPool,
    /// For each server, in case that it is a replica.
    pub(super) replica_reads: Box<[ReadPool]>,
    pub(super) lists: Lists,
    pub(super) batch_sizes: BatchSizes,
}

impl Shared {
    /// The statements of a shard; ownership is read anew once when it is not known here.
    pub(super) async fn statements(
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
    pub(super) async fn writes(
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
    pub(super) async fn refresh_ownership(&self, deadline: Deadline) -> Result<(), Error> {
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(100));
        loop {
            let mut connection = self.reads.acquire_for_feed(deadline).await?;
            let read = deadline.limit(Ownership::read(connection.connection(), &self.tables)).await;
            match read.map_err(|_| Error::Deadline)? {
                Ok(ownership) => {
                    connection.release();
                    self.owners.report(self.id, ownership.owned());
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
