//! A list over all databases: each is asked for its part, and the parts are merged.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;

use super::Postgres;
use crate::{
    record::{CollectionId, DatabaseId, ShardId},
    resilience::Deadline,
    store::{
        Error,
        list::{Range, Stretch},
    },
};

impl Postgres {
    /// A part of a collection, of all its shards. No snapshot: the databases are read one beside the other.
    ///
    /// # Errors
    /// [`Error::InDatabase`] for the first that did not give its part, [`Error::NotOwned`] and [`Error::Disputed`].
    ///
    /// # Cancel safety
    /// Dropping the future closes the connections under way.
    pub(in crate::store) async fn list(
        &self,
        collection: CollectionId,
        range: &Range,
        deadline: Deadline,
    ) -> Result<Stretch, Error> {
        let owners = self.owners_of(collection, deadline).await?;
        let parts = owners.iter().map(async |(id, shards)| {
            let database = self.database(*id);
            let part = async { database.shared()?.list(collection, shards, range, deadline).await };
            part.await.map_err(|error| error.in_database(database.name()))
        });
        let parts = try_join_all(parts).await?;
        Ok(Stretch::merge(self.catalogue.get(collection).key_kind, parts, range))
    }

    /// The databases that have shards of the collection, each with these.
    async fn owners_of(
        &self,
        collection: CollectionId,
        deadline: Deadline,
    ) -> Result<BTreeMap<DatabaseId, Vec<ShardId>>, Error> {
        let mut owners: BTreeMap<DatabaseId, Vec<ShardId>> = BTreeMap::new();
        for shard in (0..self.catalogue.get(collection).modulus).map(ShardId) {
            let owner = match self.owner(shard) {
                Ok(owner) => owner,
                Err(_) => self.ask_for_owner(shard, deadline).await.map_err(|error| self.blame(error))?,
            };
            owners.entry(owner).or_default().push(shard);
        }
        Ok(owners)
    }

    /// A shard without an owner is likely to be on a database that this node has not met yet.
    fn blame(&self, error: Error) -> Error {
        let away = self.databases.iter().find_map(|database| Some((database, database.shared().err()?)));
        match away {
            Some((database, trouble)) if matches!(error, Error::NotOwned { .. }) => {
                trouble.in_database(database.name())
            }
            _ => error,
        }
    }
}
