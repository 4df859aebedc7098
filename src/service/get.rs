//! Reads one record.

use std::time::{Duration, Instant};

use crate::{
    record::{RecordId, RecordRef},
    tiers::{Answer, ReadOptions, entry::Entry},
};

use super::{Error, Service};

impl Service {
    /// Answers from this process's cache without waiting, if it can: `answer` is given the entry and, where it is not
    /// proven to be fresh, its age. `key` is taken as it came: a text that is not canonical is simply not found here.
    /// `now` is when the question was read.
    pub fn get_now<R>(
        &self,
        collection: &str,
        key: &str,
        now: Instant,
        answer: impl FnOnce(&Entry, Option<Duration>) -> R,
    ) -> Option<R> {
        let collection = self.catalogue().find(collection)?.id;
        self.tiers.answer_local(RecordRef { collection, key }, &ReadOptions::default(), now, answer)
    }

    /// Reads one record through the tiers; absence is an answer.
    ///
    /// # Errors
    /// [`Error::Store`] when nothing could answer in time.
    ///
    /// # Cancel safety
    /// Dropping the future drops this caller only.
    pub async fn get(&self, id: &RecordId, options: &ReadOptions) -> Result<Answer, Error> {
        Ok(self.tiers.get(id, options, self.deadline()).await?)
    }

    /// [`Self::get`] without wishes of a record that [`Self::get_now`] could not answer; what it comes to is handed to
    /// `answer`, which must not block.
    pub fn get_then(&self, id: RecordId, answer: impl FnOnce(Result<Answer, Error>) + Send + Sync + 'static) {
        self.tiers.get_then(id, self.deadline(), move |result| answer(result.map_err(Error::from)));
    }
}
