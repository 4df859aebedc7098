//! Changed records whose watchers are owed their states, and which of them are read next.
//!
//! A statement reads many records of one shard, the oldest first, and the shard whose oldest record has waited longest
//! comes first. Each shard has one statement under way at most, and all together have few: clients read on the same
//! connections. A shard that could not be read is suspect: it rests for a while, and then only one statement at a time
//! tries the suspects, so that a lock on a partition, or on all of a table, leaves the rest to those that answer.
//!
//! A record costs the same however many are owed: it enters and leaves a queue of its shard once for each read.

use std::{
    collections::{BTreeMap, HashMap, VecDeque, hash_map::Entry},
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;

use crate::{
    record::{CollectionId, Key, RecordId, ShardId},
    resilience::Backoff,
    tiers::Grant,
};

/// Statements under way at once; suspects are one of them. As many as one collection may have of the default `read_connections`.
const READS_AT_ONCE: usize = 6;
const SUSPECTS_AT_ONCE: usize = 1;
/// After so many failures in a row every shard of a collection is suspect: the whole table may be locked.
const COLLECTION_FAILURES: u32 = 3;
/// How long a shard rests that could not be read.
const REST: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));

/// A shard of a collection.
pub(super) type PartitionId = (CollectionId, ShardId);

/// The records that are owed.
pub(super) struct Owed {
    partitions: HashMap<PartitionId, Partition, RandomState>,
    /// The shards that may be read, by the age of their oldest record.
    ready: BTreeMap<u64, PartitionId>,
    /// How often in a row reads of a collection have failed.
    failures: HashMap<CollectionId, u32, RandomState>,
    /// The age of the next record, counted.
    next: u64,
    reading: usize,
    suspects: usize,
}

/// The owed records of one shard.
struct Partition {
    /// In the order in which they came to be owed; each is in `owed`, and once.
    queue: VecDeque<(u64, Key)>,
    owed: HashMap<Key, Owing, RandomState>,
    state: State,
    rest: Backoff,
    is_suspect: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// In `ready`, if anything is owed.
    Idle,
    Reading {
        suspect: bool,
    },
    Resting,
}

impl Default for Partition {
    fn default() -> Self {
        Partition {
            queue: VecDeque::new(),
            owed: HashMap::default(),
            state: State::Idle,
            rest: REST,
            is_suspect: false,
        }
    }
}

/// What one statement is to read.
pub(super) struct Batch {
    pub(super) partition: PartitionId,
    pub(super) records: Vec<Record>,
    /// The shard, or its collection, did not answer last time.
    pub(super) is_suspect: bool,
}

/// A record that is owed.
pub(super) struct Record {
    pub(super) key: Key,
    age: u64,
    pub(super) owing: Owing,
}

/// What is remembered with a record that is owed.
pub(super) struct Owing {
    /// It was not changed before this.
    pub(super) since: Instant,
    /// It is read for all nodes.
    pub(super) grant: Option<Grant>,
}

impl Owing {
    /// A record for which no lease was granted.
    pub(super) fn since(since: Instant) -> Self {
        Owing { since, grant: None }
    }

    /// The same record, owed anew: a lease that was granted meanwhile has ended the one before.
    fn join(&mut self, later: Owing) {
        self.since = self.since.min(later.since);
        self.grant = later.grant.or(self.grant.take());
    }
}

impl Owed {
    pub(super) fn new() -> Self {
        Owed {
            partitions: HashMap::default(),
            ready: BTreeMap::new(),
            failures: HashMap::default(),
            next: 0,
            reading: 0,
            suspects: 0,
        }
    }

    /// Owes a record; one that is owed already keeps its place.
    pub(super) fn add(&mut self, shard: ShardId, id: RecordId, owing: Owing) {
        let (age, partition_id) = (self.next, (id.collection, shard));
        let partition = self.partitions.entry(partition_id).or_default();
        match partition.owed.entry(id.key) {
            Entry::Occupied(mut owed) => return owed.get_mut().join(owing),
            Entry::Vacant(free) => {
                partition.queue.push_back((age, free.key().clone()));
                free.insert(owing);
            }
        }
        self.next += 1;
        if partition.queue.len() == 1 && partition.state == State::Idle {
            self.ready.insert(age, partition_id);
        }
    }

    /// Takes out what is to be read now, at most `keys_max` records of a collection; `None` while enough is in flight, or
    /// nothing can be read.
    pub(super) fn next(&mut self, keys_max: impl FnOnce(CollectionId) -> usize) -> Option<Batch> {
        if self.reading >= READS_AT_ONCE {
            return None;
        }
        let may_try = self.suspects < SUSPECTS_AT_ONCE;
        let (age, id) = self.ready.iter().find(|(_, id)| may_try || !self.is_suspect(**id))?;
        let (age, id) = (*age, *id);
        let suspect = self.is_suspect(id);
        self.ready.remove(&age);
        let partition = self.partitions.get_mut(&id)?;
        let count = partition.queue.len().min(keys_max(id.0));
        let records = partition.queue.drain(..count).filter_map(|(age, key)| {
            let owing = partition.owed.remove(&key)?;
            Some(Record { key, age, owing })
        });
        let records = records.collect();
        partition.state = State::Reading { suspect };
        self.reading += 1;
        self.suspects += usize::from(suspect);
        Some(Batch { partition: id, records, is_suspect: suspect })
    }

    /// Ends a read of a shard that was answered. `again` are the records that have to be read once more.
    pub(super) fn answered(&mut self, id: PartitionId, again: Vec<Record>) {
        self.failures.remove(&id.0);
        self.end(id, again);
        if let Some(partition) = self.partitions.get_mut(&id) {
            (partition.is_suspect, partition.rest, partition.state) = (false, REST, State::Idle);
        }
        self.make_ready(id);
    }

    /// Ends a read of a shard that was not answered, and owes its records again; returns how long it rests, until
    /// [`Self::rested`].
    pub(super) fn failed(&mut self, id: PartitionId, again: Vec<Record>) -> Duration {
        *self.failures.entry(id.0).or_default() += 1;
        self.end(id, again);
        let partition = self.partitions.entry(id).or_default();
        (partition.is_suspect, partition.state) = (true, State::Resting);
        partition.rest.next_wait()
    }

    /// A shard that failed may be tried again.
    pub(super) fn rested(&mut self, id: PartitionId) {
        if let Some(partition) = self.partitions.get_mut(&id) {
            partition.state = State::Idle;
        }
        self.make_ready(id);
    }

    fn is_suspect(&self, id: PartitionId) -> bool {
        self.partitions.get(&id).is_some_and(|partition| partition.is_suspect)
            || self.failures.get(&id.0).is_some_and(|failures| *failures >= COLLECTION_FAILURES)
    }

    /// Gives a read's place to the next, and puts its records back to where they were: at the front, in their order.
    fn end(&mut self, id: PartitionId, again: Vec<Record>) {
        let partition = self.partitions.entry(id).or_default();
        if let State::Reading { suspect } = partition.state {
            self.reading -= 1;
            self.suspects -= usize::from(suspect);
        }
        for Record { key, age, mut owing } in again.into_iter().rev() {
            match partition.owed.entry(key) {
                // It was owed anew meanwhile, and keeps its new place.
                Entry::Occupied(mut owed) => {
                    std::mem::swap(owed.get_mut(), &mut owing);
                    owed.get_mut().join(owing);
                }
                Entry::Vacant(free) => {
                    partition.queue.push_front((age, free.key().clone()));
                    free.insert(owing);
                }
            }
        }
    }

    fn make_ready(&mut self, id: PartitionId) {
        let Some(partition) = self.partitions.get(&id) else { return };
        match partition.queue.front() {
            Some((age, _)) => drop(self.ready.insert(*age, id)),
            // Nothing is known of it that a new one would not have.
            None if !partition.is_suspect => drop(self.partitions.remove(&id)),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS_MAX: usize = 256;

    const A: CollectionId = CollectionId(0);
    const B: CollectionId = CollectionId(1);

    fn add(owed: &mut Owed, collection: CollectionId, shard: u32, key: impl ToString) {
        owed.add(
            ShardId(shard),
            RecordId::new(collection, Key::from_database(key.to_string())),
            Owing::since(Instant::now()),
        );
    }

    fn keys(batch: &Batch) -> Vec<&str> {
        batch.records.iter().map(|record| record.key.as_str()).collect()
    }

    #[test]
    fn the_shard_with_the_oldest_record_is_read_first_and_its_oldest_records_first() {
        let mut owed = Owed::new();
        for (shard, key) in [(7, "a"), (3, "b"), (7, "c"), (3, "b"), (7, "a")] {
            add(&mut owed, A, shard, key);
        }
        let (first, second) = (owed.next(|_| KEYS_MAX).expect("owed"), owed.next(|_| KEYS_MAX).expect("owed"));
        assert_eq!((first.partition, keys(&first)), ((A, ShardId(7)), vec!["a", "c"]));
        assert_eq!((second.partition, keys(&second)), ((A, ShardId(3)), vec!["b"]));
        assert!(owed.next(|_| KEYS_MAX).is_none());
    }

    #[test]
    fn a_shard_has_one_statement_under_way_and_what_was_overtaken_comes_before_what_came_later() {
        let mut owed = Owed::new();
        add(&mut owed, A, 1, "a");
        let batch = owed.next(|_| KEYS_MAX).expect("owed");
        add(&mut owed, A, 1, "b");
        assert!(owed.next(|_| KEYS_MAX).is_none(), "its shard is being read");
        owed.answered(batch.partition, batch.records);
        assert_eq!(keys(&owed.next(|_| KEYS_MAX).expect("owed")), ["a", "b"]);
    }

    #[test]
    fn a_locked_table_of_many_shards_leaves_slots_for_another() {
        let mut owed = Owed::new();
        (0..64).for_each(|shard| add(&mut owed, A, shard, shard));
        add(&mut owed, B, 0, "free");
        let stuck: Vec<_> = std::iter::from_fn(|| owed.next(|_| KEYS_MAX)).collect();
        assert_eq!(stuck.len(), READS_AT_ONCE);
        for batch in stuck {
            owed.failed(batch.partition, batch.records);
        }
        let next: Vec<_> = std::iter::from_fn(|| owed.next(|_| KEYS_MAX)).collect();
        let partitions: Vec<_> = next.iter().map(|batch| (batch.partition.0, batch.is_suspect)).collect();
        assert_eq!(partitions, [(A, true), (B, false)], "one suspect, and the rest for those that answer");
        // The lock is gone: one answer, and the others are read as ever.
        next.into_iter().for_each(|batch| owed.answered(batch.partition, vec![]));
        assert_eq!(
            std::iter::from_fn(|| owed.next(|_| KEYS_MAX)).filter(|batch| !batch.is_suspect).count(),
            READS_AT_ONCE
        );
    }

    #[test]
    fn a_locked_shard_rests_and_is_tried_again() {
        let mut owed = Owed::new();
        add(&mut owed, A, 1, "a");
        let batch = owed.next(|_| KEYS_MAX).expect("owed");
        let rest = owed.failed(batch.partition, batch.records);
        assert!(rest <= Duration::from_secs(1) && owed.next(|_| KEYS_MAX).is_none());
        owed.rested((A, ShardId(1)));
        let batch = owed.next(|_| KEYS_MAX).expect("owed still");
        assert!(batch.is_suspect && keys(&batch) == ["a"]);
        owed.answered(batch.partition, vec![]);
        assert!(owed.next(|_| KEYS_MAX).is_none() && owed.partitions.is_empty());
    }

    #[test]
    fn draining_takes_time_in_proportion_to_what_is_owed() {
        let drain = |records: u32| {
            let mut owed = Owed::new();
            (0..records).for_each(|n| add(&mut owed, A, n % 64, n));
            let begun = Instant::now();
            let mut drained = 0;
            while let Some(batch) = owed.next(|_| KEYS_MAX) {
                drained += batch.records.len();
                owed.answered(batch.partition, vec![]);
            }
            assert_eq!(drained, records as usize);
            begun.elapsed()
        };
        // In one of some tries, as others use the machine too; where it is in proportion to the square, it is a hundred times in all.
        assert!(
            (0..20).any(|_| drain(200_000) < drain(20_000) * 50),
            "ten times as many take more than 50 times as long"
        );
    }
}
