//! Reads of changed records that are watched or cached: Redis is asked first, because another node may have read them since the
//! change, and then the primary.
//!
//! Requests to Redis and statements have bounds of their own. A slow Redis takes no statement's place, and a locked table does not
//! hold up records that Redis has.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use prometheus::IntCounter;
use tokio::time::sleep;

use crate::{
    hub::Hub,
    record::{DatabaseId, Key, RecordId},
    resilience::Deadline,
    store::{Error, Store},
    tiers::{Found, Loaded, Tiers},
};

use super::{
    owed::{Batch, Owed, Owing, PartitionId, Record},
    sought::Sought,
};

/// The longest a statement may take, and one for a shard that did not answer the last.
const READ_LIMIT: Duration = Duration::from_secs(2);
const SUSPECT_LIMIT: Duration = Duration::from_secs(5);

/// The reads of one database's follower.
pub(super) struct Reads {
    database: DatabaseId,
    store: Store,
    tiers: Tiers,
    hub: Hub,
    /// Records that Redis is asked for.
    sought: Sought,
    /// Records that the primary is asked for.
    owed: Owed,
    /// Requests, statements, pauses and rests.
    in_flight: FuturesUnordered<BoxFuture<'static, Event>>,
    statements: IntCounter,
}

/// The end of something under way.
pub(super) enum Event {
    /// Redis was asked for records of a slice, and this was found of each.
    Looked(u32, Vec<(RecordId, Found)>),
    /// Records that other nodes were reading have paused.
    Paused(Vec<RecordId>),
    /// A statement has ended: the states, in the order of the batch.
    Read(Batch, Result<Vec<Loaded>, Error>),
    /// A shard that did not answer has rested.
    Rested(PartitionId),
}

impl Reads {
    pub(super) fn new(database: DatabaseId, store: Store, tiers: Tiers, hub: Hub, statements: IntCounter) -> Self {
        Reads {
            database,
            store,
            tiers,
            hub,
            sought: Sought::default(),
            owed: Owed::new(),
            in_flight: FuturesUnordered::new(),
            statements,
        }
    }

    /// Has a record read that was not changed before `since`.
    pub(super) fn owe(&mut self, id: RecordId, since: Instant) {
        let Ok(shard) = self.store.shard_of(id.as_ref()) else {
            // A key without a shard is in no table.
            return self.settle(&id);
        };
        match self.tiers.slice_to_ask(self.database, shard) {
            Some(slice) => self.sought.add(slice, id, since),
            None => self.owed.add(shard, id, Owing::since(since)),
        }
    }

    /// The record's watchers have the change that they were owed.
    pub(super) fn settle(&self, id: &RecordId) {
        self.hub.settle(id.as_ref(), self.tiers.freshness_of(self.database).fresh());
    }

    /// Begins what there is room for, and waits until something has come to its end; `None` while nothing is under way.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn next(&mut self) -> Option<Event> {
        self.begin();
        self.in_flight.next().await
    }

    fn begin(&mut self) {
        while let Some((slice, ids)) = self.sought.next() {
            let (tiers, queue) = (self.tiers.clone(), (self.database, slice));
            self.in_flight.push(Box::pin(async move {
                let found = tiers.find_changed(queue, &ids).await;
                Event::Looked(slice, ids.into_iter().zip(found).collect())
            }));
        }
        while let Some(batch) = self.owed.next(|collection| self.store.keys_at_once(self.database, collection)) {
            self.statements.inc();
            let (tiers, (collection, shard)) = (self.tiers.clone(), batch.partition);
            self.in_flight.push(Box::pin(async move {
                let keys: Vec<Key> = batch.records.iter().map(|record| record.key.clone()).collect();
                let limit = if batch.is_suspect { SUSPECT_LIMIT } else { READ_LIMIT };
                let read = tiers.read_changed(shard, collection, &keys, Deadline::after(limit)).await;
                Event::Read(batch, read)
            }));
        }
    }

    /// Passes on the states that were read, and has the other records read elsewhere, or later.
    pub(super) fn meet(&mut self, event: Event) {
        match event {
            Event::Looked(slice, found) => {
                self.sought.answered(slice);
                self.meet_found(found);
            }
            Event::Paused(ids) => ids.into_iter().for_each(|id| self.sought.paused(id)),
            Event::Read(batch, read) => self.meet_read(batch, read),
            Event::Rested(partition) => self.owed.rested(partition),
        }
    }

    fn meet_found(&mut self, found: Vec<(RecordId, Found)>) {
        let mut paused: BTreeMap<Duration, Vec<RecordId>> = BTreeMap::new();
        for (id, found) in found {
            let grant = match found {
                Found::Elsewhere => match self.sought.pause(&id, &Tiers::PAUSES) {
                    Some(pause) => {
                        paused.entry(pause).or_default().push(id);
                        continue;
                    }
                    None => None,
                },
                Found::State(loaded) => {
                    // A refused state was overtaken by a change, which the primary shows.
                    if let Some(since) = self.sought.end(&id)
                        && !self.pass_on(&id, &loaded, since)
                    {
                        self.owed.add(loaded.shard, id, Owing::since(since));
                    }
                    continue;
                }
                Found::Primary(grant) => grant,
            };
            if let (Some(since), Ok(shard)) = (self.sought.end(&id), self.store.shard_of(id.as_ref())) {
                self.owed.add(shard, id, Owing { since, grant });
            }
        }
        for (pause, ids) in paused {
            self.in_flight.push(Box::pin(async move {
                sleep(pause).await;
                Event::Paused(ids)
            }));
        }
    }

    fn meet_read(&mut self, batch: Batch, read: Result<Vec<Loaded>, Error>) {
        let Batch { partition, records, .. } = batch;
        let id = |record: &Record| RecordId::new(partition.0, record.key.clone());
        match read {
            Ok(read) => {
                let again = records.into_iter().zip(&read).filter_map(|(mut record, loaded)| {
                    let id = id(&record);
                    self.end_lease(&mut record, &id, Some(loaded));
                    (!self.pass_on(&id, loaded, record.owing.since)).then_some(record)
                });
                let again = again.collect();
                self.owed.answered(partition, again);
            }
            Err(error) => {
                let mut records = records;
                records.iter_mut().for_each(|record| self.end_lease(record, &id(record), None));
                self.meet_failure(partition, records, &error);
            }
        }
    }

    fn meet_failure(&mut self, partition: PartitionId, records: Vec<Record>, error: &Error) {
        // Another node serves the shard; its watchers ask there.
        if let Error::NotOwned { .. } = error {
            records.iter().for_each(|record| self.settle(&RecordId::new(partition.0, record.key.clone())));
            return self.owed.answered(partition, vec![]);
        }
        let rest = self.owed.failed(partition, records);
        self.in_flight.push(Box::pin(async move {
            sleep(rest).await;
            Event::Rested(partition)
        }));
    }

    fn end_lease(&self, record: &mut Record, id: &RecordId, loaded: Option<&Loaded>) {
        if let Some(grant) = record.owing.grant.take() {
            self.tiers.end_lease(grant, id, loaded);
        }
    }

    /// Gives a state to the tiers and the watchers. False if it was overtaken: the change that did it is still to come, or was read
    /// by somebody else.
    fn pass_on(&self, id: &RecordId, loaded: &Loaded, since: Instant) -> bool {
        let Some(state) = self.tiers.install(id, loaded) else { return false };
        self.hub.publish(id, &state, since);
        self.settle(id);
        true
    }
}
