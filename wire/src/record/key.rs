//! A record's key: text on the wire, one of five column types in the database.

use std::{
    borrow::Borrow,
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use equivalent::Equivalent;

use super::CollectionId;

/// The longest key, in bytes of UTF-8. An index entry of PostgreSQL holds 2,704 bytes (nbtree, `BTMaxItemSize`);
/// this stays well below it and keeps a watched key cheap.
pub const KEY_BYTES_MAX: usize = 1024;

/// The type of a collection's key column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// `text` or `varchar`.
    Text,
    /// `uuid`, canonical in lower case with hyphens.
    Uuid,
    /// `smallint`.
    Int2,
    /// `integer`.
    Int4,
    /// `bigint`.
    Int8,
}

impl KeyKind {
    /// The kind's name as `feed.collection.key_kind` has it, which is also a type name PostgreSQL knows.
    pub const fn name(self) -> &'static str {
        match self {
            KeyKind::Text => "text",
            KeyKind::Uuid => "uuid",
            KeyKind::Int2 => "int2",
            KeyKind::Int4 => "int4",
            KeyKind::Int8 => "int8",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [KeyKind::Text, KeyKind::Uuid, KeyKind::Int2, KeyKind::Int4, KeyKind::Int8]
            .into_iter()
            .find(|kind| kind.name() == name)
    }

    /// How two keys of the kind are ordered: texts by their bytes, which is by code points; integers by value; uuids by their
    /// bytes, which is by their text.
    pub fn order(self, one: &Key, other: &Key) -> Ordering {
        let number = |key: &Key| key.as_str().parse::<i64>().ok();
        match self {
            KeyKind::Text | KeyKind::Uuid => one.as_str().cmp(other.as_str()),
            KeyKind::Int2 | KeyKind::Int4 | KeyKind::Int8 => number(one).cmp(&number(other)),
        }
    }

    fn check_integer(self, text: &str) -> Result<i64, KeyError> {
        let (least, most) = match self {
            KeyKind::Int2 => (i64::from(i16::MIN), i64::from(i16::MAX)),
            KeyKind::Int4 => (i64::from(i32::MIN), i64::from(i32::MAX)),
            _ => (i64::MIN, i64::MAX),
        };
        text.parse::<i64>()
            .ok()
            .filter(|n| (least..=most).contains(n))
            .ok_or(KeyError::WrongKind { expected: self.name(), got: shown(text) })
    }
}

/// A valid key in canonical text: equal keys are equal texts. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// Reads `text` as a key of `kind` and puts it into the form PostgreSQL prints.
    ///
    /// # Errors
    /// [`KeyError`] says what is wrong with the text.
    pub fn parse(kind: KeyKind, text: &str) -> Result<Self, KeyError> {
        match text {
            "" => return Err(KeyError::Empty),
            _ if text.len() > KEY_BYTES_MAX => return Err(KeyError::TooLong { bytes: text.len() }),
            _ if text.contains('\0') => return Err(KeyError::Nul),
            _ => {}
        }
        match kind {
            KeyKind::Text => Ok(Key(text.into())),
            KeyKind::Uuid => uuid::Uuid::try_parse(text)
                .map(|id| Key(id.hyphenated().to_string().into()))
                .map_err(|_| KeyError::WrongKind { expected: "uuid", got: shown(text) }),
            integer => integer.check_integer(text).map(|n| Key(n.to_string().into())),
        }
    }

    /// Takes a text that the database itself produced with `::text`.
    pub fn from_database(text: impl Into<Arc<str>>) -> Self {
        Key(text.into())
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Why a text is no key of the collection.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// No characters at all.
    #[error("a key must not be empty")]
    Empty,
    /// More than [`KEY_BYTES_MAX`].
    #[error("a key has at most {KEY_BYTES_MAX} bytes; this one has {bytes}")]
    TooLong {
        /// The length that was offered.
        bytes: usize,
    },
    /// PostgreSQL's text cannot hold U+0000.
    #[error("a key must not contain the character NUL")]
    Nul,
    /// Not of the key column's type, or outside its range.
    #[error("the collection's keys are {expected}; {got} is none")]
    WrongKind {
        /// The key column's type.
        expected: &'static str,
        /// The head of what was offered, quoted.
        got: String,
    },
}

fn shown(text: &str) -> String {
    let head: String = text.chars().take(40).collect();
    if head.len() < text.len() { format!("{head:?}...") } else { format!("{head:?}") }
}

/// A record's name across the whole service: collection and key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordId {
    /// The collection.
    pub collection: CollectionId,
    /// The key within it.
    pub key: Key,
}

impl RecordId {
    /// Names the record `key` of `collection`.
    pub fn new(collection: CollectionId, key: Key) -> Self {
        RecordId { collection, key }
    }

    /// The same name, borrowed.
    pub fn as_ref(&self) -> RecordRef<'_> {
        RecordRef { collection: self.collection, key: self.key.as_str() }
    }
}

impl Hash for RecordId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_ref().hash(state);
    }
}

/// A [`RecordId`] that borrows its key, to look records up without allocating.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordRef<'a> {
    /// The collection.
    pub collection: CollectionId,
    /// The key's canonical text.
    pub key: &'a str,
}

impl Equivalent<RecordId> for RecordRef<'_> {
    fn equivalent(&self, id: &RecordId) -> bool {
        self.collection == id.collection && self.key == id.key.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_canonical() {
        let uuid = Key::parse(KeyKind::Uuid, "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11").expect("a uuid");
        assert_eq!(uuid.as_str(), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
        assert_eq!(Key::parse(KeyKind::Int8, "+0042").expect("a number").as_str(), "42");
        assert_eq!(Key::parse(KeyKind::Text, "../'\n\"").expect("text is opaque").as_str(), "../'\n\"");
    }

    #[test]
    fn keys_are_ordered_as_the_database_orders_them() {
        let sorted = |kind: KeyKind, keys: &[&str]| {
            let mut keys: Vec<_> = keys.iter().map(|key| Key::from_database(*key)).collect();
            keys.sort_by(|one, other| kind.order(one, other));
            keys.iter().map(Key::to_string).collect::<Vec<_>>()
        };
        assert_eq!(sorted(KeyKind::Int8, &["10", "9", "-2", "-10"]), ["-10", "-2", "9", "10"]);
        assert_eq!(
            sorted(KeyKind::Text, &["\u{1f600}", "\u{ffee}", "b", "B", "a"]),
            ["B", "a", "b", "\u{ffee}", "\u{1f600}"]
        );
    }

    #[test]
    fn hostile_keys_are_named() {
        assert_eq!(Key::parse(KeyKind::Text, ""), Err(KeyError::Empty));
        assert_eq!(Key::parse(KeyKind::Text, "a\0b"), Err(KeyError::Nul));
        let long = "x".repeat(10 * 1024);
        assert_eq!(Key::parse(KeyKind::Text, &long), Err(KeyError::TooLong { bytes: 10_240 }));
        for (kind, text) in
            [(KeyKind::Int2, "32768"), (KeyKind::Int4, "1e3"), (KeyKind::Uuid, "x"), (KeyKind::Int8, " 1")]
        {
            assert!(matches!(Key::parse(kind, text), Err(KeyError::WrongKind { .. })), "{text:?} was taken");
        }
    }
}
