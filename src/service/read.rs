//! Reads: one record, or several of one collection.

use std::{
    borrow::Cow,
    collections::{HashMap, hash_map},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::{
    protocol::codec::RECORD_HEAD_BYTES_MAX,
    record::{Key, RecordId, RecordRef},
    resilience::Deadline,
    store,
    tiers::{Answer, ReadOptions, entry::Entry},
};

use super::{Charge, Error, Service};

/// Records in the order asked; one that was asked for more than once is here once.
pub struct Records {
    each: Vec<(RecordId, Answer)>,
    /// Which of them is meant, for each key asked for.
    order: Vec<usize>,
}

impl Records {
    /// The records in the order asked, repeated where they were asked for again.
    pub fn iter(&self) -> impl Iterator<Item = (&RecordId, &Answer)> {
        self.order.iter().filter_map(|&at| self.each.get(at)).map(|(id, answer)| (id, answer))
    }
}

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
        Ok(self.read(id, options, self.deadline()).await?)
    }

    /// Answers a plain read that [`Self::answer_local`] could not, mostly without a task; see [`Tiers::answer_miss`].
    /// `answer` must not block.
    ///
    /// [`Tiers::answer_miss`]: crate::tiers::Tiers::answer_miss
    pub fn answer_miss(&self, id: RecordId, answer: impl FnOnce(Result<Answer, Error>) + Send + Sync + 'static) {
        let failures = self.failures.clone();
        self.tiers.answer_miss(id, self.deadline(), move |result| {
            failures.note(&result);
            answer(result.map_err(Error::from));
        });
    }

    async fn read(&self, id: &RecordId, options: &ReadOptions, deadline: Deadline) -> Result<Answer, store::Error> {
        let read = self.tiers.get(id, options, deadline).await;
        self.failures.note(&read);
        read
    }

    /// Reads `keys`; misses share statements. What the records will take in an answer is charged as each arrives.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond the limit of keys; otherwise the first error met, those of [`Charge::take`] among them.
    /// Nothing stays charged then.
    ///
    /// # Cancel safety
    /// Dropping the future drops this caller only; what was charged stays so until the charge is dropped.
    pub async fn get_many(
        &self,
        collection: &str,
        keys: &[Cow<'_, str>],
        options: &ReadOptions,
        charge: &Charge,
    ) -> Result<Records, Error> {
        let limit = self.config.keys_max;
        if keys.len() > limit {
            return Err(Error::TooLarge { what: "keys of one get_many", len: keys.len(), limit });
        }
        let (ids, order) = self.distinct(collection, keys)?;
        let mut times = vec![0; ids.len()];
        order.iter().for_each(|&at| times[at] += 1);
        let deadline = self.deadline();
        let charged = AtomicUsize::new(0);
        let read = stream::iter(ids.into_iter().zip(times))
            .map(async |(id, times): (RecordId, usize)| {
                let answer = self.read(&id, options, deadline).await?;
                let bytes = times * answer_bytes(&id.key, &answer);
                charge.take(bytes)?;
                charged.fetch_add(bytes, Ordering::Relaxed);
                Ok::<_, Error>((id, answer))
            })
            .buffered(limit.max(1))
            .try_collect()
            .await;
        match read {
            Ok(each) => Ok(Records { each, order }),
            Err(error) => {
                charge.give_back(charged.into_inner());
                Err(error)
            }
        }
    }

    /// The records that `keys` name, each once, and which of them each key means.
    fn distinct(&self, collection: &str, keys: &[Cow<'_, str>]) -> Result<(Vec<RecordId>, Vec<usize>), Error> {
        let collection = self.collection(collection)?;
        let mut places = HashMap::with_capacity(keys.len());
        let (mut ids, mut order) = (Vec::with_capacity(keys.len()), Vec::with_capacity(keys.len()));
        for key in keys {
            let key = collection.key(key)?;
            order.push(match places.entry(key) {
                hash_map::Entry::Occupied(known) => *known.get(),
                hash_map::Entry::Vacant(place) => {
                    ids.push(RecordId::new(collection.id, place.key().clone()));
                    *place.insert(ids.len() - 1)
                }
            });
        }
        Ok((ids, order))
    }
}

/// What a record takes in an answer, at most, unless its key is full of characters that JSON escapes.
pub fn answer_bytes(key: &Key, answer: &Answer) -> usize {
    RECORD_HEAD_BYTES_MAX + key.as_str().len() + answer.state.value.as_ref().map_or(0, bytes::Bytes::len)
}
