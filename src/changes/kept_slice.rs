//! One slice of a database in Redis, as its keeper knows it.
//!
//! # Source
//! docs/coherence.md, section 5b, rules 3, 4, 10 and 11.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::{
    record::{Change, DatabaseId, Position, RecordRef, ShardId, Stamp},
    resilience::Backoff,
    shared::{Cache, Chain, Changed, Error, Incarnation, SLOTS_AT_ONCE_MAX, Slice, Tail, ToldChange},
    store::{Poll, Store},
};

/// Where nothing changes the chain moves so often: each step costs Redis one operation.
const STEP: Duration = Duration::from_millis(250);
/// Changes of a poll that are told one by one, at the most: those of a bulk load would fill Redis.
const TOLD_MAX: usize = 1_024;
/// Between two attempts to keep a slice that Redis does not answer about.
const RETRY: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));

/// The generation of each shard of a database.
pub(super) type Generations = HashMap<ShardId, u32>;

/// A slice that this node keeps.
pub(super) struct KeptSlice {
    slice: Slice,
    number: u32,
    slices: u32,
    standing: Standing,
    retry: Backoff,
    /// Not tried before.
    due: Instant,
}

enum Standing {
    /// What its chain is has to be found out.
    Doubted,
    /// Its chain ended with this step, which was taken then.
    Known(Tail, Instant),
}

/// How a slice came to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// It goes on from the mark that it had applied.
    Resumed,
    /// Its slots count no more.
    Anew,
}

/// What became of a chain that was found.
enum Resumed {
    /// It goes on from this step.
    Tail(Tail),
    /// What has changed since cannot be told any more, or not at once.
    Gone,
    /// The database did not answer, or somebody else has moved it.
    Later,
}

/// A database, and where it is read.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) database: DatabaseId,
    pub(super) store: Store,
    pub(super) cache: Cache,
}

impl KeptSlice {
    /// The slice `number` of `slices`.
    pub(super) fn new(slice: Slice, number: u32, slices: u32) -> Self {
        KeptSlice { slice, number, slices, standing: Standing::Doubted, retry: RETRY, due: Instant::now() }
    }

    pub(super) fn is_known(&self) -> bool {
        matches!(self.standing, Standing::Known(..))
    }

    /// What was known of its chain is known no more.
    pub(super) fn doubt(&mut self) {
        self.standing = Standing::Doubted;
    }

    /// Applies the changes of a poll to it.
    pub(super) async fn apply(&mut self, source: &Source, poll: &Poll, generations: &Generations) {
        let Standing::Known(tail, moved) = self.standing else { return };
        let Some(changes) = self.changes(source, &poll.changes, generations) else { return self.doubt() };
        let applied = poll.proof.map(|proof| proof.position);
        if changes.is_empty() && (applied.is_none() || moved.elapsed() < STEP) {
            return;
        }
        self.standing = match self.advance(source, tail, applied, &changes).await {
            Ok(Some(tail)) => Standing::Known(tail, Instant::now()),
            Ok(None) | Err(_) => Standing::Doubted,
        };
    }

    /// Finds out what its chain is, and takes it up where it is, or begins another life of it at mark `newest`, which a poll has
    /// shown whose successors bring what comes after. `None` when that has to be tried again.
    pub(super) async fn claim(&mut self, source: &Source, newest: Position) -> Option<Claim> {
        if Instant::now() < self.due {
            return None;
        }
        match self.try_claim(source, newest).await {
            Ok(Some((tail, claim))) => {
                self.standing = Standing::Known(tail, Instant::now());
                self.retry.reset();
                Some(claim)
            }
            Ok(None) | Err(_) => {
                self.due = Instant::now() + self.retry.next_wait();
                None
            }
        }
    }

    async fn try_claim(&self, source: &Source, newest: Position) -> Result<Option<(Tail, Claim)>, Error> {
        let read = source.cache.chain(&self.slice).await?;
        if let Some(chain) = read.chain() {
            match self.resume(source, &chain).await? {
                Resumed::Tail(tail) => return Ok(Some((tail, Claim::Resumed))),
                Resumed::Later => return Ok(None),
                Resumed::Gone => {}
            }
        }
        let new = Chain { incarnation: Incarnation::random(), tail: Tail::random(), applied: newest };
        let is_ours = source.cache.claim(&self.slice, &read, new).await?;
        Ok(is_ours.then_some((new.tail, Claim::Anew)))
    }

    /// Applies what changed since the mark that the chain has applied.
    async fn resume(&self, source: &Source, chain: &Chain) -> Result<Resumed, Error> {
        let mut tail = match source.store.tail_from(source.database, chain.applied).await {
            Ok(Some(tail)) => tail,
            Ok(None) => return Ok(Resumed::Gone),
            Err(_) => return Ok(Resumed::Later),
        };
        let Ok(poll) = tail.poll().await else { return Ok(Resumed::Later) };
        let (true, Some(proof), Some(generations)) = (poll.complete, poll.proof, poll.generations) else {
            return Ok(Resumed::Gone);
        };
        let Some(changes) = self.changes(source, &poll.changes, &generations.into_iter().collect()) else {
            return Ok(Resumed::Gone);
        };
        let advanced = self.advance(source, chain.tail, Some(proof.position), &changes).await?;
        Ok(advanced.map_or(Resumed::Later, Resumed::Tail))
    }

    /// The changes of its own shards, as slots with the stamps that they must have. `None` where the generation of one is not
    /// known, as of a shard that has come since.
    fn changes(&self, source: &Source, changes: &[Change], generations: &Generations) -> Option<Vec<Changed>> {
        let own = changes.iter().filter_map(|change| {
            let record = RecordRef { collection: change.collection, key: change.key.as_str() };
            // A key without a shard is in no table.
            let shard = source.store.shard_of(record).ok().filter(|shard| shard.0 % self.slices == self.number)?;
            Some((change, shard))
        });
        own.map(|(change, shard)| {
            let collection = source.store.catalogue().get(change.collection).name.clone();
            let stamp = Stamp::new(*generations.get(&shard)?, change.version);
            let name = self.slice.slot(shard, &collection, &change.key);
            let key = change.key.as_str().to_owned();
            Some(Changed { name, told: ToldChange { collection, key, stamp, deleted: change.deleted } })
        })
        .collect()
    }

    /// Moves the chain on by as many steps as the changes take. `None` where somebody else has moved it.
    async fn advance(
        &self,
        source: &Source,
        mut tail: Tail,
        applied: Option<Position>,
        changes: &[Changed],
    ) -> Result<Option<Tail>, Error> {
        let (mut rest, is_told) = (changes, changes.len() <= TOLD_MAX);
        loop {
            let (chunk, after) = rest.split_at(rest.len().min(SLOTS_AT_ONCE_MAX));
            let (next, applied) = (Tail::random(), applied.filter(|_| after.is_empty()));
            if !source.cache.apply(&self.slice, tail, next, applied, chunk, is_told).await? {
                return Ok(None);
            }
            (tail, rest) = (next, after);
            if rest.is_empty() {
                return Ok(Some(tail));
            }
        }
    }
}
