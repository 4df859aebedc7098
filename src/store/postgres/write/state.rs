//! What is known of a write while its group is under way, and how it is read from what statements return.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use sqlx::{Row as _, postgres::PgRow};

use crate::{
    record::{PatchError, Stamp},
    store::{
        Error, Operation,
        postgres::write::{
            group::{Group, Mode, Placed},
            outcome::{Aborted, Outcome},
            pieces::Piece,
            row::{self, Row, Step},
            shape::Kind,
            sql::{fault, result},
        },
    },
};

/// What is known of a write so far.
pub enum State {
    /// It is to be carried out.
    Pending(Row),
    /// Carried out, with the record's new state.
    Written { version: u64, value: Option<Bytes>, kind: Kind },
    /// Answered without a change: the version of what stands, or of the tombstone.
    Unchanged { version: u64 },
    /// It asked for another stamp than the record has.
    Conflict { version: u64 },
    /// Its idempotency key was met before.
    Repeated { stamp: Stamp, is_same: bool },
    /// It is refused.
    Failed(Outcome),
    /// Another transaction holds its row.
    Held,
    /// Another transaction holds its partition, or inserts its key.
    Locked,
}

impl Group<'_> {
    /// Reads what a piece's statements returned.
    pub fn take(&mut self, piece: &Piece, rows: &[PgRow], tombstones: &[PgRow]) -> Result<(), sqlx::Error> {
        let by_key: HashMap<&str, usize> =
            piece.writes.iter().map(|&at| (self.writes[at].write.id.key.as_str(), at)).collect();
        let mut seen = HashSet::new();
        let mut states = Vec::with_capacity(piece.writes.len());
        for row in rows {
            let number: Option<i64> = row.try_get(result::NUMBER)?;
            let at = match number.and_then(|number| usize::try_from(number - 1).ok()) {
                Some(place) => piece.writes.get(place).copied(),
                None => by_key.get(row.try_get::<&str, _>(result::KEY)?).copied(),
            };
            let Some(at) = at else { continue };
            seen.insert(at);
            states.push((at, self.judge(at, piece, row, tombstones)?));
        }
        for &at in piece.writes.iter().filter(|at| !seen.contains(at)) {
            // Its row came in between, or changed between the statement's snapshot and the lock; or the statement is a
            // plain update, which does not tell why.
            states.push((at, pending(&self.writes[at], Step::Change, self.mode)));
        }
        for (at, state) in states {
            self.states[at] = state;
        }
        Ok(())
    }

    fn judge(&self, at: usize, piece: &Piece, row: &PgRow, tombstones: &[PgRow]) -> Result<State, sqlx::Error> {
        let was = row.try_get::<Option<i64>, _>(result::WAS)?.unwrap_or(0).unsigned_abs();
        let placed = &self.writes[at];
        if let Some(version) = row.try_get::<Option<i64>, _>(result::VERSION)? {
            let kind = piece.shape.kind;
            if kind == Kind::Delete {
                let number: i64 = row.try_get(result::NUMBER)?;
                let is_its = |row: &&PgRow| row.try_get::<i64, _>(0).is_ok_and(|its| its == number);
                let tombstone = tombstones.iter().find(is_its).map(read_tombstone).transpose()?;
                return Ok(State::Written { version: tombstone.map_or(0, |(_, version)| version), value: None, kind });
            }
            let value: Option<&str> = row.try_get(result::VALUE)?;
            let value = value.map(|text| Bytes::copy_from_slice(text.as_bytes()));
            return Ok(State::Written { version: version.unsigned_abs(), value, kind });
        }
        let fault: Option<&str> = row.try_get(result::FAULT)?;
        Ok(match fault.unwrap_or(fault::HELD) {
            fault::STAMP => State::Conflict { version: was },
            fault::HELD => State::Held,
            fault::ABSENT => self.absent(placed, was),
            fault => State::Failed(Outcome::Done(Err(explain(placed, fault)))),
        })
    }

    /// Refuses a round that inserted a record on the condition of a deletion which is not the newest: between the look at the
    /// record, in an earlier statement, and the insert it came and went. The insert holds the key, so the `tombstones` read
    /// behind it are the last word. (`tests/it/write_path/conditions.rs`)
    pub fn check_tombstones(&self, piece: &Piece, tombstones: &[PgRow]) -> Result<(), Aborted> {
        if piece.shape.kind != Kind::Insert {
            return Ok(());
        }
        for row in tombstones {
            let (number, newest) = read_tombstone(row).map_err(|_| Aborted::Lost)?;
            let Some(&at) = number.checked_sub(1).and_then(|place| piece.writes.get(place)) else { continue };
            let asked = self.asked_tombstone(&self.writes[at]);
            let is_inserted = matches!(self.states[at], State::Written { kind: Kind::Insert, .. });
            if is_inserted && asked.is_some_and(|asked| asked != newest.cast_signed()) {
                return Err(Aborted::Superseded);
            }
        }
        Ok(())
    }

    /// What a write of a record comes to that is not there, but may have a tombstone.
    fn absent(&self, placed: &Placed, tombstone: u64) -> State {
        if self.asked_tombstone(placed).is_some_and(|asked| asked != tombstone.cast_signed()) {
            return State::Conflict { version: tombstone };
        }
        match placed.write.operation {
            Operation::Delete => State::Unchanged { version: tombstone },
            _ => pending(placed, Step::Insert, self.mode),
        }
    }
}

/// A row of [`Feed::read_tombstones`](super::feed::Feed::read_tombstones): the key's number, and the version of its newest
/// tombstone, or 0.
fn read_tombstone(row: &PgRow) -> Result<(usize, u64), sqlx::Error> {
    let number = usize::try_from(row.try_get::<i64, _>(0)?).unwrap_or_default();
    Ok((number, row.try_get::<Option<i64>, _>(1)?.unwrap_or(0).unsigned_abs()))
}

/// The state in which a write begins.
pub fn first_try(placed: &Placed, mode: Mode) -> State {
    pending(placed, if placed.write.inserts_first() { Step::Insert } else { Step::Change }, mode)
}

/// The state in which a write is to be carried out.
pub fn pending(placed: &Placed, step: Step, mode: Mode) -> State {
    match Row::new(&placed.write, placed.statements.table(), step, mode.waits) {
        Ok(row) => State::Pending(row),
        Err(error) => State::Failed(Outcome::Done(Err(error))),
    }
}

/// A statement's reason for leaving a row out, in PostgreSQL's words.
fn explain(placed: &Placed, reason: &str) -> Error {
    let table = placed.statements.table();
    if let Some(constraint) = reason.strip_prefix(fault::CHECK) {
        return row::violated(table, constraint);
    }
    if let Some(column) = reason.strip_prefix(fault::NULL) {
        return row::null(table, column);
    }
    let column = reason.strip_prefix(fault::NO_NUMBER).unwrap_or(reason).to_owned();
    PatchError::NotANumber { column }.into()
}
