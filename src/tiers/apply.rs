//! How changes reach the tiers: newer wins, and nothing else does.

use std::time::Instant;

use crate::{
    record::{Change, Position, RecordId, ShardId, Stamp, State},
    store::Proof,
};

use super::{Tiers, batch::Loaded};

impl Tiers {
    /// Takes note of a change whose state is not at hand: the key's floor rises, and an older entry goes. `seen` is the
    /// newest mark that the poll showed which reported it.
    pub fn note(&self, change: &Change, seen: Position) {
        let id = RecordId::new(change.collection, change.key.clone());
        let stamp = Stamp::new(self.generation_of(&id), change.version);
        // The floor first, the entry second: a fill in between is refused or overwritten.
        self.inner.view.floors.raise(&id, stamp, !change.deleted, seen);
        self.take_note(&id, stamp, change.deleted);
    }

    /// Takes note of changes of a backlog, all of which were visible before `moment` in a snapshot that showed mark `seen`.
    /// The base rises in place of their floors.
    pub fn note_backlog(&self, changes: &[Change], seen: Position, moment: Instant) {
        // The base first, the entries second: a fill in between began before `moment` and is refused, or shows them.
        self.inner.view.raise_base(seen, moment);
        for change in changes {
            let id = RecordId::new(change.collection, change.key.clone());
            self.take_note(&id, Stamp::new(self.generation_of(&id), change.version), change.deleted);
        }
        self.inner.view.freshness.meet_page();
    }

    fn take_note(&self, id: &RecordId, stamp: Stamp, deleted: bool) {
        self.inner.local.remove_older(id, stamp);
        if deleted {
            self.inner.filters.count_deletion(id.collection);
        } else {
            self.inner.filters.add(id);
        }
    }

    /// Whether L1 holds `id` at an older stamp than `version`, or its floor is lower: the change is news here.
    pub fn is_news(&self, id: &RecordId, version: u64) -> bool {
        self.inner.view.floors.get(id).is_none_or(|floor| floor.version < version)
    }

    /// Whether L1 holds the record: keeping it current is worth a read.
    pub fn holds(&self, id: &RecordId) -> bool {
        self.inner.local.contains(&id.as_ref())
    }

    /// Puts a state that was read at a known position where it belongs, and returns the newest known state; `None` when
    /// the one offered is older than what this node knew, and must not be served.
    ///
    /// # Source
    /// docs/coherence.md, section 4, `install`.
    pub fn install(&self, id: &RecordId, loaded: &Loaded) -> Option<State> {
        let _standing = self.inner.standings.hold(loaded.begun)?;
        if !self.meet_generation(loaded.shard, loaded.state.stamp.generation) {
            return None;
        }
        if loaded.state.value.is_some() {
            self.inner.filters.add(id);
        }
        let floors = &self.inner.view.floors;
        let stands = self.inner.local.install(id, || floors.admit(id, &loaded.state, loaded.position, loaded.begun));
        if stands.is_none() {
            self.inner.stale_reads.inc();
        }
        stands
    }

    /// [`Self::install`] of a state that this node has committed and is about to answer with. Where it may not be kept, its
    /// stamp is the key's floor all the same: an older state would be a step back from that answer.
    pub fn install_written(&self, id: &RecordId, loaded: &Loaded) -> Option<State> {
        let stands = self.install(id, loaded);
        if stands.is_none() {
            let (stamp, live) = (loaded.state.stamp, loaded.state.value.is_some());
            self.inner.view.floors.raise(id, stamp, live, self.applied().max(loaded.position));
            self.inner.local.remove_older(id, stamp);
            if live {
                // The floor may go before the feed brings the write; from then on the filter must not deny the key.
                self.inner.filters.add(id);
            }
        }
        stands
    }

    /// Every change visible at the proof's position, and before its moment, has been applied.
    pub fn advance(&self, proof: Proof) {
        self.inner.view.advance(proof);
    }

    /// History was lost: everything cached goes, and only what is read from `position` on is accepted. The
    /// generations that hold there, where they have changed, hold at once: a change that is noted under an older one
    /// would let reads pass that are older than the change.
    pub fn reset(&self, position: Position, generations: Option<&[(ShardId, u32)]>) {
        self.inner.standings.reset(generations.unwrap_or_default(), || {
            self.inner.view.floors.reset(position);
            self.inner.local.clear();
            self.inner.filters.invalidate();
        });
    }

    /// Whether a state of `generation` may be used. A generation above the known one drops what is cached first.
    fn meet_generation(&self, shard: ShardId, generation: u32) -> bool {
        self.inner.standings.meet(shard, generation, || {
            self.inner.local.clear();
            self.inner.filters.invalidate();
            self.inner.reset.notify_one();
        })
    }

    /// The generation known for the record's shard.
    pub(super) fn generation_of(&self, id: &RecordId) -> u32 {
        self.inner.store.shard_of(id).map_or(1, |shard| self.inner.standings.generation(shard))
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread, time::Duration};

    use bytes::Bytes;

    use super::*;
    use crate::{
        record::{CollectionId, Key},
        store::{Memory, Store, memory::Schema},
        telemetry::Telemetry,
        tiers::Config,
    };

    fn tiers() -> Tiers {
        let schema = r#"{"name": "counters", "key": "id", "columns": [{"name": "id", "type": "text"}]}"#;
        let schema: Schema = serde_json::from_str(schema).expect("a schema");
        let store = Store::Memory(Arc::new(Memory::new(vec![schema], 4).expect("a store")));
        Tiers::new(&Config::default(), store, &Telemetry::new())
    }

    fn id() -> RecordId {
        RecordId::new(CollectionId(0), Key::from_database("a"))
    }

    /// What a statement that began at `begun` found.
    fn loaded(version: u64, position: u64, begun: Instant) -> Loaded {
        let state = State { stamp: Stamp::new(1, version), value: Some(Bytes::from_static(b"{}")) };
        Loaded { state, position: Position(position), shard: ShardId(0), begun }
    }

    /// A moment after every one before.
    fn later() -> Instant {
        thread::sleep(Duration::from_millis(1));
        Instant::now()
    }

    #[test]
    fn a_statement_counts_for_the_time_it_began_in_whenever_it_was_asked_for() {
        let (tiers, before) = (tiers(), later());
        tiers.reset(Position(5), None);
        // Its position may be as good as that of the reset: marks are written now and then.
        assert_eq!(tiers.install(&id(), &loaded(1, 5, before)), None);
        assert!(tiers.install(&id(), &loaded(1, 5, later())).is_some());
    }

    #[test]
    fn a_write_that_may_not_be_kept_is_a_floor_all_the_same() {
        let (tiers, before) = (tiers(), later());
        tiers.reset(Position(5), None);
        assert!(tiers.install(&id(), &loaded(6, 5, later())).is_some());
        // Begun before the reset, or below the base; committed either way, and answered.
        assert_eq!(tiers.install_written(&id(), &loaded(7, 5, before)), None);
        assert!(!tiers.holds(&id()), "what is older than an answer is not kept");
        assert_eq!(tiers.install(&id(), &loaded(6, 6, later())), None, "an older state is a step back");
        assert!(tiers.install(&id(), &loaded(7, 6, later())).is_some());
    }

    #[tokio::test]
    async fn a_write_that_may_not_be_kept_is_known_to_the_filter() {
        let (tiers, before) = (tiers(), later());
        tiers.build_filters().await;
        assert!(tiers.filters().denies(id().as_ref()));
        tiers.note_backlog(&[], Position(3), later());
        assert_eq!(tiers.install_written(&id(), &loaded(7, 3, before)), None);
        assert!(!tiers.filters().denies(id().as_ref()), "its floor may go before the feed brings it");
    }

    #[test]
    fn a_fill_from_before_a_backlog_is_refused_and_older_entries_go() {
        let (tiers, before) = (tiers(), later());
        assert!(tiers.install(&id(), &loaded(6, 1, before)).is_some());
        let change = Change { collection: CollectionId(0), key: id().key, version: 7, deleted: false };
        tiers.note_backlog(&[change], Position(3), later());
        assert!(!tiers.holds(&id()));
        assert_eq!(tiers.install(&id(), &loaded(6, 4, before)), None);
        assert!(tiers.install(&id(), &loaded(7, 3, later())).is_some());
    }
}
