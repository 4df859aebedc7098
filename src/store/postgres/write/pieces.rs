//! What of a group goes into one statement.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    iter,
    sync::Arc,
};

use crate::{
    record::{CollectionId, RecordId, ShardId},
    store::postgres::{
        pool::Pooled,
        statement::Statements,
        write::{
            feed::Feed,
            group::{Group, Placed},
            script::{Argument, Elements, Script},
            shape::{Kind, Shape},
            state::State,
        },
    },
};

/// Shards from which on one statement that names the table costs less than one for each partition: its fixed costs are those
/// of about twelve, what a row takes beyond them a third.
const SPANNED_SHARDS_MIN: usize = 12;

/// The writes of one statement.
pub struct Piece {
    pub statements: Arc<Statements>,
    pub shape: Shape,
    /// By their places in the group.
    pub writes: Vec<usize>,
    pub has_savepoint: bool,
}

impl Piece {
    /// A piece without a savepoint.
    pub fn new(statements: Arc<Statements>, shape: &Shape, writes: Vec<usize>) -> Self {
        let shape = Shape { is_single: writes.len() == 1, ..shape.clone() };
        Piece { statements, shape, writes, has_savepoint: false }
    }
}

/// The places of a piece's statements in a script.
pub struct Said {
    pub writes: usize,
    pub tombstones: Option<usize>,
    /// The place behind the last.
    pub end: usize,
}

impl Group<'_> {
    /// The statements for all that is pending: the first write of each key, then the second of each, and so on.
    pub fn pieces(&self) -> VecDeque<Piece> {
        type Place<'s> = (usize, CollectionId, ShardId, bool, &'s Shape);
        let plain = self.plain();
        let is_plain: HashSet<usize> = plain.iter().flat_map(|piece| piece.writes.iter().copied()).collect();
        let mut waves: HashMap<&RecordId, usize> = HashMap::new();
        let mut pieces: BTreeMap<Place<'_>, Vec<usize>> = BTreeMap::new();
        for (at, (placed, state)) in self.writes.iter().zip(&self.states).enumerate() {
            let State::Pending(row) = state else { continue };
            let wave = waves.entry(&placed.write.id).and_modify(|wave| *wave += 1).or_default();
            if is_plain.contains(&at) || (self.mode.is_stepwise && *wave > 0) {
                continue;
            }
            let place = (*wave, placed.write.id.collection, placed.shard, row.is_suspect, &row.shape);
            pieces.entry(place).or_default().push(at);
        }
        let mut all = VecDeque::from(plain);
        for ((_, _, _, is_suspect, shape), writes) in pieces {
            let statements = &self.writes[writes[0]].statements;
            // Each suspect is a statement of its own.
            let parts = if is_suspect { writes.into_iter().map(|at| vec![at]).collect() } else { vec![writes] };
            all.extend(parts.into_iter().map(|writes| Piece {
                has_savepoint: is_suspect || self.mode.is_careful,
                ..Piece::new(statements.clone(), shape, writes)
            }));
        }
        all
    }

    /// The plain statements, of keys that are written once in the group, as they do not tell why a row was not written: one
    /// for all shards of a shape where they are many, else one for each, if it updates.
    fn plain(&self) -> Vec<Piece> {
        if !self.mode.is_plain || self.mode.is_careful {
            return Vec::new();
        }
        let mut times: HashMap<&RecordId, usize> = HashMap::with_capacity(self.writes.len());
        self.writes.iter().for_each(|placed| *times.entry(&placed.write.id).or_default() += 1);
        let mut shapes: BTreeMap<(CollectionId, &Shape), BTreeMap<ShardId, Vec<usize>>> = BTreeMap::new();
        for (at, (placed, state)) in self.writes.iter().zip(&self.states).enumerate() {
            let State::Pending(row) = state else { continue };
            if row.shape.kind != Kind::Delete && !row.is_suspect && times[&placed.write.id] == 1 {
                let shards = shapes.entry((placed.write.id.collection, &row.shape)).or_default();
                shards.entry(placed.shard).or_default().push(at);
            }
        }
        let mut pieces = Vec::with_capacity(shapes.len());
        for ((_, shape), shards) in shapes {
            let shape = Shape { is_plain: true, ..shape.clone() };
            let piece = |statements: &Arc<Statements>, writes| Piece::new(statements.clone(), &shape, writes);
            let first = shards.values().next().map(|writes| &self.writes[writes[0]]);
            match first.filter(|first| shards.len() >= SPANNED_SHARDS_MIN && first.whole.table().is_uniform) {
                Some(first) => pieces.push(piece(&first.whole, shards.into_values().flatten().collect())),
                None if shape.kind == Kind::Insert => {}
                None => {
                    pieces.extend(shards.into_values().map(|writes| piece(&self.writes[writes[0]].statements, writes)));
                }
            }
        }
        pieces
    }

    /// Adds a piece's statements to the script.
    pub fn say(&self, script: &mut Script, pooled: &Pooled, feed: &Feed, piece: &Piece) -> Said {
        if piece.has_savepoint {
            script.say("SAVEPOINT piece");
        }
        let writes = script.execute(pooled, &piece.statements.write(&piece.shape), self.arguments(piece));
        let tombstones = self.needs_tombstones(piece).then(|| {
            let mut keys = Elements::default();
            piece.writes.iter().for_each(|&at| keys.push(Some(self.writes[at].write.id.key.as_str())));
            feed.read_tombstones(script, pooled, &piece.statements.table().collection.name, keys)
        });
        if piece.has_savepoint {
            script.say("RELEASE SAVEPOINT piece");
        }
        Said { writes, tombstones, end: script.len() }
    }

    /// Whether a statement's answer is not whole without the tombstones behind it: a deletion's version is its tombstone's, and
    /// an insert on the condition of a deletion holds only where that one is the newest still.
    fn needs_tombstones(&self, piece: &Piece) -> bool {
        match piece.shape.kind {
            Kind::Delete => true,
            Kind::Insert => piece.writes.iter().any(|&at| self.asked_tombstone(&self.writes[at]).is_some()),
            Kind::Replace | Kind::Patch => false,
        }
    }

    /// What a piece's statement is given: keys, the versions asked for, values.
    fn arguments(&self, piece: &Piece) -> Vec<Argument> {
        let mut columns: Vec<Elements> = Vec::new();
        for &at in &piece.writes {
            let State::Pending(row) = &self.states[at] else { continue };
            let placed = &self.writes[at];
            let asked = self.asked(placed).map(|version| version.to_string());
            let asked = piece.shape.asks.then_some(asked.as_deref());
            let values = iter::once(Some(placed.write.id.key.as_str())).chain(asked).chain(row.values());
            if piece.shape.is_single {
                return values.map(Argument::from).collect();
            }
            columns.resize_with(values.size_hint().0, Elements::default);
            values.zip(&mut columns).for_each(|(value, column)| column.push(value));
        }
        columns.into_iter().map(Argument::from).collect()
    }

    /// The version that a row must have; one that none has where the generation asked for is over.
    pub fn asked(&self, placed: &Placed) -> Option<i64> {
        let stamp = placed.write.if_stamp?;
        let known = self.generations.get(&placed.shard);
        let is_over = stamp.version > 0 && known.is_some_and(|&known| known != stamp.generation);
        Some(if is_over { -1 } else { stamp.version.cast_signed() })
    }

    /// The version that the newest tombstone must have of a record that is absent, where one is asked for.
    pub fn asked_tombstone(&self, placed: &Placed) -> Option<i64> {
        self.asked(placed).filter(|asked| *asked != 0)
    }
}
