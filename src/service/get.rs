//! Reads one record.

use crate::{
    record::{RecordId, RecordRef},
    tiers::{Answer, Wish},
};

use super::{Error, Service};

impl Service {
    /// Answers from this process's cache without waiting, if it can. `key` is taken as it came: a text that is not
    /// canonical is simply not found here.
    pub fn get_now(&self, collection: &str, key: &str) -> Option<Answer> {
        let collection = self.catalogue().find(collection)?.id;
        self.tiers.get_local(RecordRef { collection, key }, &Wish::default())
    }

    /// Reads one record through the tiers; absence is an answer.
    ///
    /// # Errors
    /// [`Error::Store`] when nothing could answer in time.
    ///
    /// # Cancel safety
    /// Dropping the future drops this caller only.
    pub async fn get(&self, id: &RecordId, wish: &Wish) -> Result<Answer, Error> {
        Ok(self.tiers.get(id, wish, self.deadline()).await?)
    }
}
