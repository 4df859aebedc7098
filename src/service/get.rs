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
    pub fn answer_local<R>(
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

    /// Answers a plain read that [`Self::answer_local`] could not, mostly without a task; see [`Tiers::answer_miss`].
    /// `answer` must not block.
    ///
    /// [`Tiers::answer_miss`]: crate::tiers::Tiers::answer_miss
    pub fn answer_miss(&self, id: RecordId, answer: impl FnOnce(Result<Answer, Error>) + Send + Sync + 'static) {
        self.tiers.answer_miss(id, self.deadline(), move |result| answer(result.map_err(Error::from)));
    }
}
