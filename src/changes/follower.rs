//! Every node's reader of the change feed of a database.
//!
//! One loop takes whatever comes first: a poll, a read of changed records, the end of a pause. None waits for another: while
//! a poll is out, or its connection has fallen silent, reads come in and reach their watchers, and the other way round.

use std::time::{Duration, Instant};

use prometheus::{IntCounter, IntGauge};
use tokio::{
    sync::mpsc,
    time::{Instant as Timer, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    hub::Hub,
    record::{Change, DatabaseId, Key, RecordId},
    resilience::Backoff,
    shared::Hint,
    store::{Error, Poll, Store},
    tiers::Tiers,
};

use super::{counters::Counters, hinted::Hinted, pace::Pace, reads::Reads};

/// Changes applied before the follower yields to other tasks. Chosen, not measured.
const STEP: usize = 128;

/// Tails the outbox; lowers no floor, loses no change.
///
/// Changes are thin: the outbox says which record reached which version, and nothing of its value. A bulk load of a million
/// rows makes a node raise floors, or its base, and no more.
///
/// A change whose record nobody watches and L1 does not hold costs no read: its floor rises and that is all. The
/// order makes this safe. The floor rises before the watchers are looked up, and a watcher registers before it reads;
/// so either it is found here, or its read comes after the floor and shows the change itself.
pub struct Follower {
    database: DatabaseId,
    store: Store,
    tiers: Tiers,
    hub: Hub,
    /// Changed records whose watchers are owed their states.
    reads: Reads,
    /// Changed records that this node was writing when the poll showed it: the writes' answers most likely bring the states.
    expected: Vec<Expected>,
    backoff: Backoff,
    pace: Pace,
    /// What keepers tell, and whether they do.
    hints: mpsc::Receiver<Hint>,
    hinted: Hinted,
    is_first: bool,
    is_failing: bool,
    changes: IntCounter,
    resyncs: IntCounter,
    position: IntGauge,
    told: IntGauge,
}

/// A change that is most likely this node's own.
struct Expected {
    id: RecordId,
    version: u64,
    /// The record was not changed before this.
    since: Instant,
}

impl Follower {
    /// A follower of `database` that keeps `tiers` current and tells `hub`.
    pub fn new(database: DatabaseId, store: Store, tiers: Tiers, hub: Hub, counters: &Counters) -> Self {
        let name = [store.name(database)];
        let fresh = tiers.freshness_of(database).fresh();
        Follower {
            database,
            changes: counters.changes.with_label_values(&name),
            resyncs: counters.resyncs.with_label_values(&name),
            position: counters.position.with_label_values(&name),
            told: counters.told.with_label_values(&name),
            reads: Reads::new(
                database,
                store.clone(),
                tiers.clone(),
                hub.clone(),
                counters.statements.with_label_values(&name),
            ),
            store,
            tiers,
            hub,
            expected: Vec::new(),
            backoff: Backoff::new(Duration::from_millis(50), Duration::from_secs(1)),
            pace: Pace::new(Instant::now()).within(fresh),
            hints: mpsc::channel(1).1,
            hinted: Hinted::new(0),
            is_first: true,
            is_failing: false,
        }
    }

    /// The same, told of changes by the keepers of `slices` slices.
    #[must_use]
    pub fn told(self, hints: mpsc::Receiver<Hint>, slices: usize) -> Self {
        Follower { hints, hinted: Hinted::new(slices), ..self }
    }

    /// Follows until `stop`. An outage of the database is waited out; the place in the feed is kept.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut tail = self.store.tail(self.database);
        let mut due = Timer::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.tiers.reset_met(self.database) => self.owe_watched(),
                Some(event) = self.reads.next() => self.reads.meet(event),
                Some(hint) = self.hints.recv() => if self.meet_hint(&hint) { due = Timer::now() },
                polled = async {
                    sleep_until(due).await;
                    tail.poll().await
                } => due = Timer::now() + self.polled(polled).await,
            }
        }
    }

    /// Applies a poll; returns how long to wait for the next.
    async fn polled(&mut self, polled: Result<Poll, Error>) -> Duration {
        self.owe_missed();
        match polled {
            Ok(poll) => {
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!(database = self.store.name(self.database), "the change feed answers again");
                    self.backoff.reset();
                }
                let is_used = self.pace.is_used(self.tiers.answered(), self.hub.has_watchers(), Instant::now());
                let is_told = self.hinted.is_told(Instant::now());
                self.told.set(is_told.into());
                let pause = match is_told {
                    true => self.pace.while_told(),
                    false => self.pace.after(is_used, !poll.changes.is_empty()),
                };
                // With more at hand there is nothing to wait for.
                let pause = if poll.proof.is_some() { pause } else { Duration::ZERO };
                self.take(poll).await;
                pause
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(
                        %error, database = self.store.name(self.database),
                        "the change feed does not answer; cached records will be marked as stale"
                    );
                }
                self.backoff.next_wait()
            }
        }
    }

    /// Applies a poll in steps and yields to other tasks between them. The proof comes last: until then no reader takes what
    /// is cached for newer than it is.
    async fn take(&mut self, poll: Poll) {
        let is_first = std::mem::take(&mut self.is_first);
        if is_first || !poll.complete {
            self.start_over(&poll, is_first);
        }
        for changes in poll.changes.chunks(STEP) {
            match poll.backlog {
                Some(moment) => self.apply_backlog(changes, &poll, moment),
                None => changes.iter().for_each(|change| self.apply(change, &poll)),
            }
            self.changes.inc_by(changes.len() as u64);
            tokio::task::yield_now().await;
        }
        self.tiers.freshness_of(self.database).meet_mark(poll.position);
        if let Some(proof) = poll.proof {
            self.tiers.advance(self.database, proof);
            self.position.set(i64::try_from(proof.position.0).unwrap_or(i64::MAX));
        }
    }

    fn start_over(&mut self, poll: &Poll, is_first: bool) {
        self.tiers.reset(self.database, poll.position, poll.generations.as_deref());
        self.owe_watched();
        if !is_first {
            self.resyncs.inc();
            tracing::warn!(
                database = self.store.name(self.database),
                "the feed's history was lost; every cached and watched record of it is read anew"
            );
        }
    }

    fn apply(&mut self, change: &Change, poll: &Poll) {
        let id = RecordId::new(change.collection, change.key.clone());
        let held = self.tiers.holds(&id);
        // Noted even if it is no news: its floor must stay for as long as a replica may not show the change.
        let is_news = self.tiers.note(self.database, change, poll.position);
        let has_passed = !is_news && self.hub.has_seen(id.as_ref(), change.version);
        if has_passed || (!held && !self.hub.is_watched(id.as_ref())) {
            return;
        }
        self.hub.owe(&id, poll.since);
        if self.store.is_writing(&id) {
            self.expected.push(Expected { id, version: change.version, since: poll.since });
        } else {
            self.reads.owe(id, poll.since);
        }
    }

    /// Looks sooner at what a keeper tells of: an older entry goes, and a watched record is read. It raises no floor and proves
    /// nothing; that is for polls. True if the next poll should come at once.
    ///
    /// # Source
    /// docs/coherence.md, section 5c.
    fn meet_hint(&mut self, hint: &Hint) -> bool {
        let proven = self.tiers.freshness_of(self.database).proven();
        let since = proven.unwrap_or_else(Instant::now);
        // For the time to the screen, which counts from the commit; what is owed counts from what is proven.
        let committed = self.hinted.told_before(hint.slice).map_or(since, |told| told.max(since));
        for told in &hint.changes {
            let Some(collection) = self.store.catalogue().find(&told.collection) else { continue };
            let id = RecordId::new(collection.id, Key::from_database(told.key.as_str()));
            let held = self.tiers.holds(&id);
            let is_known = self.tiers.meet_hint(&id, told.stamp, told.deleted);
            let is_wanted = (held && !self.tiers.holds(&id)) || !self.hub.has_seen(id.as_ref(), told.stamp.version);
            // A write of this node brings its own state.
            if is_known && is_wanted && !self.store.is_writing(&id) {
                self.hub.owe(&id, since);
                self.reads.owe(id, committed);
            }
        }
        self.hinted.meet(hint, Instant::now())
    }

    /// Of a backlog only what somebody watches is read: to keep all the rest current that was cached would be to read much of
    /// a table, while the changes of others wait.
    fn apply_backlog(&mut self, changes: &[Change], poll: &Poll, moment: Instant) {
        self.tiers.note_backlog(self.database, changes, poll.position, moment);
        for change in changes {
            let id = RecordId::new(change.collection, change.key.clone());
            if !self.hub.has_seen(id.as_ref(), change.version) {
                self.hub.owe(&id, poll.since);
                self.reads.owe(id, poll.since);
            }
        }
    }

    /// Reads what no write's answer has brought since the last poll.
    fn owe_missed(&mut self) {
        for Expected { id, version, since } in std::mem::take(&mut self.expected) {
            // An entry below the change's floor is gone, so one that stands is not older.
            if !self.tiers.holds(&id) || !self.hub.has_seen(id.as_ref(), version) {
                self.reads.owe(id, since);
            } else {
                self.reads.settle(&id);
            }
        }
    }

    /// It is not known what changed in this database, nor when: every watched record of it is owed. What its watchers have is
    /// proven as far as the last certificate.
    fn owe_watched(&mut self) {
        let now = Instant::now();
        let proven = self.tiers.freshness_of(self.database).proven().unwrap_or(now);
        for id in self.hub.watched() {
            if let Ok(shard) = self.store.shard_of(id.as_ref())
                && self.store.owner(shard).ok() == Some(self.database)
            {
                self.hub.owe(&id, proven);
                self.reads.owe(id, now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::{
        record::{CollectionId, Position, ShardId, Stamp, State},
        store::{Memory, Origin, Proof, memory::Schema},
        telemetry::Telemetry,
        tiers::{Config, Loaded, Window},
    };

    const DATABASE: DatabaseId = DatabaseId(0);

    fn loaded(version: u64, position: u64, origin: Origin) -> Loaded {
        let state = State { stamp: Stamp::new(1, version), value: Some(Bytes::from_static(b"{}")) };
        let (position, shard, begun) = (Position(position), ShardId(0), Instant::now());
        Loaded { state, database: DATABASE, position, origin, shard, begun }
    }

    #[tokio::test]
    async fn a_change_that_is_no_news_keeps_replicas_from_going_back_behind_it() {
        let schema = r#"{"name": "counters", "key": "id", "columns": [{"name": "id", "type": "text"}]}"#;
        let schema: Schema = serde_json::from_str(schema).expect("a schema");
        let store = Store::Memory(Arc::new(Memory::new(vec![schema], 1).expect("a store")));
        let telemetry = Telemetry::new();
        let tiers = Tiers::new(&Config { window: Window(10), ..Config::default() }, store.clone(), None, &telemetry);
        let counters = Counters::new(&telemetry);
        let mut follower = Follower::new(DATABASE, store, tiers.clone(), Hub::new(&telemetry), &counters);
        let advance = |n| tiers.advance(DATABASE, Proof { position: Position(n), begun: Instant::now() });
        let id = RecordId::new(CollectionId(0), Key::from_database("a"));
        tiers.reset(DATABASE, Position(0), None);
        advance(100);
        // A write of this node took its place at mark 1 and was committed late; then the feed reports it.
        assert!(tiers.install_written(&id, &loaded(7, 1, Origin::Primary)).is_some());
        let change = Change { collection: id.collection, key: id.key.clone(), version: 7, deleted: false };
        let (position, since) = (Position(105), Instant::now());
        let poll =
            Poll { position, since, changes: vec![], proof: None, backlog: None, generations: None, complete: true };
        follower.apply(&change, &poll);
        (101..=115).for_each(advance);
        assert_eq!(tiers.install(&id, &loaded(6, 106, Origin::Replica)), None, "mark 106 may lack it");
        assert!(tiers.install(&id, &loaded(7, 107, Origin::Replica)).is_some());
    }
}
