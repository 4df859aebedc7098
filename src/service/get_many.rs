//! Reads several records of one collection.

use std::borrow::Cow;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::{
    record::RecordId,
    tiers::{Answer, Wish},
};

use super::{Error, Service};

impl Service {
    /// Reads `keys` in the order given; misses share statements.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond the limit of keys; otherwise the first error met.
    ///
    /// # Cancel safety
    /// Dropping the future drops this caller only.
    pub async fn get_many(
        &self,
        collection: &str,
        keys: &[Cow<'_, str>],
        wish: &Wish,
    ) -> Result<Vec<(RecordId, Answer)>, Error> {
        let limit = self.config.keys_max;
        if keys.len() > limit {
            return Err(Error::TooLarge { what: "keys of one get_many", len: keys.len(), limit });
        }
        let collection = self.collection(collection)?;
        let ids: Result<Vec<RecordId>, Error> =
            keys.iter().map(|key| Ok(RecordId::new(collection.id, collection.key(key)?))).collect();
        let deadline = self.deadline();
        stream::iter(ids?)
            .map(|id| async move { Ok((self.tiers.get(&id, wish, deadline).await?, id)) })
            .buffered(limit)
            .map_ok(|(answer, id)| (id, answer))
            .try_collect()
            .await
    }
}
