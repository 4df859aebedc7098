//! Everything the memory store holds, behind its one lock.

use std::time::Duration;

use bytes::Bytes;
use foldhash::HashMap;
use tokio::time::Instant;

use crate::{
    record::{Change, Key, Position, RecordId, Stamp, State},
    store::{Error, Row, Write, Written},
};

use super::{index, log::Log, tokens::Tokens};

/// Shards never move.
pub(super) const EPOCH: u64 = 1;
/// How often polls raise the position. Several polls may share one, as they do between PostgreSQL's marks.
const MARK_EVERY: Duration = Duration::from_millis(20);

/// Rows, tombstones, log and counters. Whoever holds the lock sees one snapshot of all of them.
pub(super) struct Contents {
    tables: Vec<Rows>,
    log: Log,
    tokens: Tokens,
    generation: u32,
    /// The newest version given out: one counter for all records, so the log's order is the commits'.
    version: u64,
    position: Position,
    marked: Instant,
}

#[derive(Default)]
struct Rows {
    live: HashMap<Key, (u64, Bytes)>,
    /// Kept as long as the log holds the deletion: a reader that lacks it is told to read everything anew.
    tombstones: HashMap<Key, u64>,
}

impl Contents {
    pub(super) fn new(tables: usize, log_changes_max: usize, generation: u32) -> Self {
        Contents {
            tables: (0..tables).map(|_| Rows::default()).collect(),
            log: Log::new(log_changes_max),
            tokens: Tokens::default(),
            generation,
            version: 0,
            position: Position(1),
            marked: Instant::now(),
        }
    }

    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// The generation of every version here.
    pub(super) fn generation(&self) -> u32 {
        self.generation
    }

    /// The record as it stands.
    pub(super) fn row(&self, table: usize, key: &Key) -> Row {
        let rows = &self.tables[table];
        let (version, value) = match rows.live.get(key) {
            Some((version, value)) => (*version, Some(value.clone())),
            None => (rows.tombstones.get(key).copied().unwrap_or(0), None),
        };
        Row { version, value }
    }

    pub(super) fn keys(&self, table: usize) -> Vec<Key> {
        self.tables[table].live.keys().cloned().collect()
    }

    /// The records whose keys are `wanted`, in no order.
    pub(super) fn records(&self, table: usize, wanted: impl Fn(&Key) -> bool) -> Vec<(Key, State)> {
        let live = self.tables[table].live.iter().filter(|(key, _)| wanted(key));
        let state =
            |version, value: &Bytes| State { stamp: Stamp::new(self.generation, version), value: Some(value.clone()) };
        live.map(|(key, (version, value))| (key.clone(), state(*version, value))).collect()
    }

    pub(super) fn len(&self, table: usize) -> usize {
        self.tables[table].live.len()
    }

    /// The answer of the write that came with this token before, if one did.
    ///
    /// # Errors
    /// [`Error::TokenReused`].
    pub(super) fn repeated(&mut self, write: &Write) -> Result<Option<Written>, Error> {
        let Some(token) = &write.token else { return Ok(None) };
        let Some(stamp) = self.tokens.find(&write.id, token)? else { return Ok(None) };
        let now = self.state(&write.id);
        let installed = (now.stamp == stamp).then_some((now.value, self.position));
        Ok(Some(Written { stamp, installed }))
    }

    /// Makes `value` the record's state, under a new version if that changes anything, and remembers the token.
    pub(super) fn commit(&mut self, write: &Write, value: Option<Bytes>) -> Written {
        let current = self.state(&write.id);
        let stamp = if current.value == value { current.stamp } else { self.replace(&write.id, value.clone()) };
        if let Some(token) = &write.token {
            self.tokens.remember(&write.id, token, stamp);
        }
        Written { stamp, installed: Some((value, self.position)) }
    }

    pub(super) fn state(&self, id: &RecordId) -> State {
        self.row(index(id.collection), &id.key).state(self.generation)
    }

    fn replace(&mut self, id: &RecordId, value: Option<Bytes>) -> Stamp {
        self.version += 1;
        let (version, key, deleted) = (self.version, id.key.clone(), value.is_none());
        let rows = &mut self.tables[index(id.collection)];
        match value {
            Some(value) => {
                rows.tombstones.remove(&key);
                rows.live.insert(key.clone(), (version, value));
            }
            None => {
                rows.live.remove(&key);
                rows.tombstones.insert(key.clone(), version);
            }
        }
        if let Some(dropped) = self.log.push(Change { collection: id.collection, key, version, deleted }) {
            self.bury(&dropped);
        }
        Stamp::new(self.generation, version)
    }

    fn bury(&mut self, dropped: &Change) {
        let tombstones = &mut self.tables[index(dropped.collection)].tombstones;
        if dropped.deleted && tombstones.get(&dropped.key) == Some(&dropped.version) {
            tombstones.remove(&dropped.key);
        }
    }

    /// The newest version given out; the place of a tail that has taken everything.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// What a tail at `place` has to take; `None` when it has fallen behind the log.
    pub(super) fn since(&self, place: u64) -> Option<Vec<Change>> {
        self.log.since(place)
    }

    /// The position of a poll taken now, raised when the last raise is some time ago, or at once for a reader that
    /// `starts` here: what was read before must not pass for read after its start.
    pub(super) fn mark(&mut self, starts: bool) -> Position {
        let now = Instant::now();
        if starts || now.duration_since(self.marked) >= MARK_EVERY {
            self.position.0 += 1;
            self.marked = now;
        }
        self.position
    }
}
