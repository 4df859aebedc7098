//! A write as the store sees it, and the rules that do not depend on where rows are kept.

use bytes::Bytes;

use crate::record::{
    Collection, ColumnKind, Patch, Position, RecordId, Stamp, State,
    patch::{Members, quoted},
};

use super::Error;

/// One write of one record.
#[derive(Clone, Debug)]
pub struct Write {
    /// The record.
    pub id: RecordId,
    /// What is to happen to it.
    pub operation: Operation,
    /// The state it must be in for that; [`Stamp::ABSENT`]: it must not exist.
    pub if_stamp: Option<Stamp>,
    /// Makes a repeated write of this record happen once.
    pub token: Option<Token>,
    /// There is likely no such record yet. Only a hint: what it costs to be wrong is time.
    pub is_likely_new: bool,
}

/// What a write does.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Replaces the whole row; a column left out takes its default.
    Put(Members),
    /// Merges members and adds increments.
    Patch(Patch),
    /// Removes the row.
    Delete,
}

/// An idempotency key with a fingerprint of the request it came with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The client's key, unique within the record.
    pub key: String,
    /// Equal for equal requests.
    pub fingerprint: String,
}

/// A committed write.
#[derive(Clone, Debug)]
pub struct Written {
    /// The stamp the record has through this write; a tombstone's after a delete.
    pub stamp: Stamp,
    /// The state with the position it was read at; `None` when an idempotency key was met again and the state
    /// of then is not known now.
    pub installed: Option<(Option<Bytes>, Position)>,
}

/// What a write comes to, given the record as it stands under its lock.
#[derive(Clone, Debug)]
pub enum Resolved {
    /// The row shall have these members, the key among them.
    Upsert(Members),
    /// The row shall go.
    Delete,
    /// There is nothing to do: a delete of an absent record.
    Nothing,
}

impl Write {
    /// Whether to try an insert before the row is looked for: a put that no row stands against.
    pub fn inserts_first(&self) -> bool {
        let asks_for_none = self.if_stamp.is_none_or(|stamp| stamp.version == 0);
        self.is_likely_new && asks_for_none && matches!(self.operation, Operation::Put(_))
    }

    /// Checks what does not depend on the record as it stands: members name columns that may be written, and the key's is
    /// the key.
    ///
    /// # Errors
    /// [`Error::InvalidValue`], naming the column.
    pub fn check(&self, collection: &Collection) -> Result<(), Error> {
        match &self.operation {
            Operation::Delete => Ok(()),
            Operation::Put(members) => self.check_members(collection, members),
            Operation::Patch(patch) => {
                self.check_columns(collection, patch.increment.keys().map(String::as_str))?;
                patch.check_amounts()?;
                self.check_members(collection, &patch.merge)
            }
        }
    }

    /// Checks `if_stamp` against `current` and works out the row that shall result.
    ///
    /// # Errors
    /// [`Error::Conflict`] and [`Error::InvalidValue`], naming stamp or column.
    pub fn resolve(&self, collection: &Collection, current: &State) -> Result<Resolved, Error> {
        self.check_stamp(current)?;
        let members = match &self.operation {
            Operation::Delete if current.value.is_none() => return Ok(Resolved::Nothing),
            Operation::Delete => return Ok(Resolved::Delete),
            Operation::Put(members) => members.clone(),
            Operation::Patch(patch) => {
                let text = current.value.as_deref().map(std::str::from_utf8).transpose();
                let text = text.map_err(|_| Error::broken("read the record's value as UTF-8"))?;
                patch.apply(collection, text)?
            }
        };
        Ok(Resolved::Upsert(members.with(&collection.key_column, &quoted(self.id.key.as_str()))))
    }

    fn check_stamp(&self, current: &State) -> Result<(), Error> {
        let holds = match self.if_stamp {
            None => true,
            // Version 0 is an absence without a tombstone, whatever the generation it was seen in.
            Some(Stamp { version: 0, .. }) => current.value.is_none(),
            Some(stamp) => stamp == current.stamp,
        };
        if holds { Ok(()) } else { Err(Error::Conflict { current: current.stamp }) }
    }

    fn check_members(&self, collection: &Collection, members: &Members) -> Result<(), Error> {
        self.check_columns(collection, members.iter().map(|(name, _)| name))?;
        let Some(text) = members.get(&collection.key_column) else { return Ok(()) };
        let key = match serde_json::from_str::<serde_json::Value>(text) {
            Ok(serde_json::Value::String(key)) => collection.key(&key).ok(),
            Ok(serde_json::Value::Number(key)) => collection.key(&key.to_string()).ok(),
            _ => None,
        };
        if key.as_ref() == Some(&self.id.key) {
            return Ok(());
        }
        let message = format!("the value's \"{}\" is not the key it is written to", collection.key_column);
        Err(Error::invalid(&collection.key_column, message))
    }

    fn check_columns<'a>(&self, collection: &Collection, names: impl Iterator<Item = &'a str>) -> Result<(), Error> {
        for name in names {
            let message = match collection.column(name).map(|column| column.kind) {
                None => format!("\"{}\" has no column \"{name}\"", collection.name),
                Some(ColumnKind::Generated) => format!("column \"{name}\" is filled by the database"),
                Some(_) => continue,
            };
            return Err(Error::invalid(name, message));
        }
        Ok(())
    }
}
