//! How changes reach the tiers: newer wins, and nothing else does.

use std::time::Instant;

use crate::{
    record::{Change, Position, RecordId, Stamp, State},
    store::{Loaded, ShardId},
};

use super::{Era, Tiers};

impl Tiers {
    /// Takes note of a change whose state is not at hand: the key's floor rises, and an older entry goes. `seen` is the
    /// newest mark that the poll showed which reported it.
    pub fn note(&self, change: &Change, seen: Position) {
        let id = RecordId::new(change.collection, change.key.clone());
        let stamp = Stamp::new(self.generation_of(&id), change.version);
        // The floor first, the entry second: a fill in between is refused or overwritten.
        self.inner.floors.raise(&id, stamp, !change.deleted, seen);
        self.inner.local.remove_older(&id, stamp);
        if change.deleted {
            self.inner.filters.count_deletion(id.collection);
        } else {
            self.inner.filters.add(&id);
        }
    }

    /// Whether L1 holds `id` at an older stamp than `version`, or its floor is lower: the change is news here.
    pub fn is_news(&self, id: &RecordId, version: u64) -> bool {
        self.inner.floors.get(id).is_none_or(|floor| floor.version < version)
    }

    /// Whether L1 holds the record: keeping it current is worth a read.
    pub fn holds(&self, id: &RecordId) -> bool {
        self.inner.local.contains(&id.as_ref())
    }

    /// The era in which a read or a write begins now.
    pub fn era(&self) -> Era {
        *self.inner.era.read()
    }

    /// Puts a state that was read at a known position, by a read begun in `era`, where it belongs, and returns the
    /// newest known state; `None` when the one offered is older than what this node knew, and must not be served.
    ///
    /// # Source
    /// coherence protocol, section 4, `install`.
    pub fn install(&self, id: &RecordId, loaded: &Loaded, era: Era) -> Option<State> {
        // Held to the end: a reset waits, and then drops what was installed here.
        let now = self.inner.era.read();
        if *now != era {
            return None;
        }
        if !self.meet_generation(loaded.shard, loaded.state.stamp.generation) {
            return None;
        }
        if loaded.state.value.is_some() {
            self.inner.filters.add(id);
        }
        let floors = &self.inner.floors;
        let stands = self.inner.local.install(id, || floors.admit(id, &loaded.state, loaded.position));
        if stands.is_none() {
            self.inner.stale_reads.inc();
        }
        stands
    }

    /// Every change visible at mark `position`, and before `begun`, has been applied.
    pub fn advance(&self, position: Position, begun: Instant) {
        self.inner.floors.advance(position);
        self.inner.freshness.prove(begun);
    }

    /// History was lost: everything cached goes, and only what is read from `position` on is accepted. The
    /// generations that hold there, where they have changed, hold at once: a change that is noted under an older one
    /// would let reads pass that are older than the change.
    pub fn reset(&self, position: Position, generations: Option<&[(ShardId, u32)]>) {
        let mut era = self.inner.era.write();
        era.0 += 1;
        for (shard, generation) in generations.unwrap_or_default() {
            self.inner.generations.write().insert(*shard, *generation);
        }
        self.inner.floors.reset(position);
        self.inner.local.clear();
        self.inner.filters.invalidate();
    }

    /// Whether a state of `generation` may be used. A generation above the known one drops what is cached first.
    fn meet_generation(&self, shard: ShardId, generation: u32) -> bool {
        if self.inner.generations.read().get(&shard) == Some(&generation) {
            return true;
        }
        let mut generations = self.inner.generations.write();
        // Looked at again: another read may have met a higher one since, and a generation only rises.
        let known = generations.get(&shard).copied();
        if known.is_some_and(|known| known > generation) {
            return false;
        }
        if known.is_some_and(|known| known < generation) {
            self.inner.local.clear();
            self.inner.filters.invalidate();
            self.inner.reset.notify_one();
        }
        generations.insert(shard, generation);
        true
    }

    /// The generation known for the record's shard.
    pub(super) fn generation_of(&self, id: &RecordId) -> u32 {
        let shard = self.inner.store.shard_of(id).ok();
        let generations = self.inner.generations.read();
        shard.and_then(|shard| generations.get(&shard).copied()).unwrap_or(1)
    }
}
