//! How changes reach the tiers: newer wins, and nothing else does.

use std::{collections::BTreeMap, time::Instant};

use crate::{
    record::{Change, DatabaseId, Position, RecordId, RecordRef, ShardId, Stamp, State},
    store::{Error, Origin, Proof},
};

use super::{Tiers, batch::Loaded, view::View};

impl Tiers {
    /// Takes note of a change of `database` whose state is not at hand: the key's floor rises, and an older entry goes. `seen`
    /// is the newest mark that the poll showed which reported it. True if it was news: the floor was lower.
    pub fn note(&self, database: DatabaseId, change: &Change, seen: Position) -> bool {
        let id = RecordId::new(change.collection, change.key.clone());
        let stamp = Stamp::new(self.generation_of(id.as_ref()), change.version);
        // The floor first, the entry second: a fill in between is refused or overwritten.
        let is_news = self.inner.views.of(database).floors.raise(&id, stamp, !change.deleted, seen);
        self.take_note(database, &id, stamp, change.deleted);
        is_news
    }

    /// Takes note of changes of a backlog of `database`, all of which were visible before `moment` in a snapshot that showed
    /// mark `seen`. The base rises in place of their floors.
    pub fn note_backlog(&self, database: DatabaseId, changes: &[Change], seen: Position, moment: Instant) {
        let view = self.inner.views.of(database);
        // The base first, the entries second: a fill in between began before `moment` and is refused, or shows them.
        view.raise_base(seen, moment);
        for change in changes {
            let id = RecordId::new(change.collection, change.key.clone());
            let stamp = Stamp::new(self.generation_of(id.as_ref()), change.version);
            self.take_note(database, &id, stamp, change.deleted);
        }
        view.freshness.meet_page();
    }

    /// Takes note of a change that a keeper tells of: an older entry goes, and the filter lets the key pass. False where the
    /// change is of another generation than the one known here, and means nothing.
    pub fn meet_hint(&self, id: &RecordId, stamp: Stamp, deleted: bool) -> bool {
        let is_known = stamp.generation == self.generation_of(id.as_ref());
        if is_known {
            self.inner.local.remove_older(id, stamp);
            if !deleted && let Some(view) = self.view_of(id.as_ref()) {
                view.filters.add(id);
            }
        }
        is_known
    }

    fn take_note(&self, database: DatabaseId, id: &RecordId, stamp: Stamp, deleted: bool) {
        self.inner.local.remove_older(id, stamp);
        let filters = self.filters(database);
        if deleted {
            filters.count_deletion(id.collection);
        } else {
            filters.add(id);
        }
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
        let view = self.inner.views.of(loaded.database);
        let (shard, generation) = (loaded.shard, loaded.state.stamp.generation);
        // Positions and generations of another database than the owner say nothing here.
        if self.inner.store.owner(shard).ok() != Some(loaded.database) {
            return None;
        }
        let _held = self.inner.standings.hold(shard, generation, loaded.begun, || self.start_over(view, shard))?;
        if loaded.state.value.is_some() {
            view.filters.add(id);
        }
        // A replica's read shows what its position says, whenever it began.
        let begun = Some(loaded.begun).filter(|_| loaded.origin == Origin::Primary);
        let admit = || view.floors.admit(id, &loaded.state, loaded.position, begun);
        let stands = self.inner.local.install(id, shard, admit);
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
            self.note_written(loaded.database, id, stamp, live, loaded.position);
        }
        stands
    }

    /// Takes note of a state that this node is about to answer a write with, and does not have: of a write that was repeated
    /// with its idempotency key, say. From `position` on, or from the last mark applied, reads have shown it or a later one.
    pub fn note_written(&self, database: DatabaseId, id: &RecordId, stamp: Stamp, live: bool, position: Position) {
        let view = self.inner.views.of(database);
        view.floors.raise(id, stamp, live, view.floors.applied().max(position));
        self.inner.local.remove_older(id, stamp);
        if live {
            // The floor may go before the feed brings the write; from then on the filter must not deny the key.
            view.filters.add(id);
        }
    }

    /// Every change of `database` visible at the proof's position, and before its moment, has been applied.
    pub fn advance(&self, database: DatabaseId, proof: Proof) {
        self.inner.views.advance(database, proof);
    }

    /// History of `database` was lost: everything cached of its shards goes, and only what is read from `position` on is
    /// accepted. The generations that hold there, where they have changed, hold at once: a change that is noted under an
    /// older one would let reads pass that are older than the change.
    pub fn reset(&self, database: DatabaseId, position: Position, generations: Option<&[(ShardId, u32)]>) {
        let view = self.inner.views.of(database);
        let owned = self.inner.store.owned(database).into_iter().map(|shard| (shard, None));
        let mut shards: BTreeMap<ShardId, Option<u32>> = owned.collect();
        // A shard that has come since may be reported before anybody has asked for it.
        shards.extend(generations.unwrap_or_default().iter().map(|&(shard, generation)| (shard, Some(generation))));
        // What another database owns, or says that it does, is not this one's to reset.
        let is_others = |shard| match self.inner.store.owner(shard) {
            Ok(owner) => owner != database,
            Err(error) => matches!(error, Error::Disputed { .. }),
        };
        let shards: Vec<_> = shards.into_iter().filter(|(shard, _)| !is_others(*shard)).collect();
        self.inner.standings.reset(&shards, || {
            view.floors.reset(position);
            view.freshness.forget_mark();
            self.inner.local.forget(shards.iter().map(|(shard, _)| *shard));
            view.filters.invalidate();
        });
    }

    /// A read has met a new generation of `shard`: what is cached of it goes first.
    fn start_over(&self, view: &View, shard: ShardId) {
        self.inner.local.forget([shard]);
        view.filters.invalidate();
        view.reset.notify_one();
    }

    /// The generation known for the record's shard.
    pub(super) fn generation_of(&self, record: RecordRef<'_>) -> u32 {
        self.inner.store.shard_of(record).map_or(1, |shard| self.inner.standings.generation(shard))
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

    const DATABASE: DatabaseId = DatabaseId(0);

    fn tiers() -> Tiers {
        let schema = r#"{"name": "counters", "key": "id", "columns": [{"name": "id", "type": "text"}]}"#;
        let schema: Schema = serde_json::from_str(schema).expect("a schema");
        let store = Store::Memory(Arc::new(Memory::new(vec![schema], 4).expect("a store")));
        Tiers::new(&Config::default(), store, None, &Telemetry::new())
    }

    fn id() -> RecordId {
        RecordId::new(CollectionId(0), Key::from_database("a"))
    }

    /// What a statement that began at `begun` found.
    fn loaded(version: u64, position: u64, begun: Instant) -> Loaded {
        let state = State { stamp: Stamp::new(1, version), value: Some(Bytes::from_static(b"{}")) };
        Loaded {
            state,
            database: DATABASE,
            position: Position(position),
            origin: Origin::Primary,
            shard: ShardId(0),
            begun,
        }
    }

    /// A moment after every one before.
    fn later() -> Instant {
        thread::sleep(Duration::from_millis(1));
        Instant::now()
    }

    #[test]
    fn a_statement_counts_for_the_time_it_began_in_whenever_it_was_asked_for() {
        let (tiers, before) = (tiers(), later());
        tiers.reset(DATABASE, Position(5), None);
        // Its position may be as good as that of the reset: marks are written now and then.
        assert_eq!(tiers.install(&id(), &loaded(1, 5, before)), None);
        assert!(tiers.install(&id(), &loaded(1, 5, later())).is_some());
    }

    #[test]
    fn a_write_that_may_not_be_kept_is_a_floor_all_the_same() {
        let (tiers, before) = (tiers(), later());
        tiers.reset(DATABASE, Position(5), None);
        assert!(tiers.install(&id(), &loaded(6, 5, later())).is_some());
        // Begun before the reset, or below the base; committed either way, and answered.
        assert_eq!(tiers.install_written(&id(), &loaded(7, 5, before)), None);
        assert!(!tiers.holds(&id()), "what is older than an answer is not kept");
        assert_eq!(tiers.install(&id(), &loaded(6, 6, later())), None, "an older state is a step back");
        assert!(tiers.install(&id(), &loaded(7, 6, later())).is_some());
    }

    #[test]
    fn a_repeated_write_whose_state_is_not_at_hand_is_a_floor() {
        let tiers = tiers();
        assert!(tiers.install(&id(), &loaded(6, 5, later())).is_some());
        tiers.note_written(DATABASE, &id(), Stamp::new(1, 7), true, Position::default());
        assert!(!tiers.holds(&id()), "the client has been told of a newer state");
        assert_eq!(tiers.install(&id(), &loaded(6, 6, later())), None);
        assert!(tiers.install(&id(), &loaded(7, 6, later())).is_some());
    }

    #[tokio::test]
    async fn a_write_that_may_not_be_kept_is_known_to_the_filter() {
        let (tiers, before) = (tiers(), later());
        tiers.build_filters(DATABASE).await;
        assert!(tiers.denies(id().as_ref()));
        tiers.note_backlog(DATABASE, &[], Position(3), later());
        assert_eq!(tiers.install_written(&id(), &loaded(7, 3, before)), None);
        assert!(!tiers.denies(id().as_ref()), "its floor may go before the feed brings it");
    }

    #[test]
    fn a_fill_from_before_a_backlog_is_refused_and_older_entries_go() {
        let (tiers, before) = (tiers(), later());
        assert!(tiers.install(&id(), &loaded(6, 1, before)).is_some());
        let change = Change { collection: CollectionId(0), key: id().key, version: 7, deleted: false };
        tiers.note_backlog(DATABASE, &[change], Position(3), later());
        assert!(!tiers.holds(&id()));
        assert_eq!(tiers.install(&id(), &loaded(6, 4, before)), None);
        assert!(tiers.install(&id(), &loaded(7, 3, later())).is_some());
    }
}
