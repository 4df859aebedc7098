//! Records and answers as the server sends them.

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, Error as _},
};
use serde_json::value::RawValue;

use super::Error;
use freshet_wire::record::Stamp;

/// One state of a record.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[non_exhaustive]
pub struct Record {
    /// The key in its canonical text.
    pub key: String,
    /// The version within the stamp's generation; 0 for an absence without a remembered deletion.
    pub version: u64,
    /// What orders the key's states; send it back as `if_stamp`, `min_stamp` or `since`.
    #[serde(deserialize_with = "stamp", serialize_with = "stamp_text")]
    pub stamp: Stamp,
    /// The value's exact JSON text; `None` when there is no such record.
    pub value: Option<Box<RawValue>>,
    /// How long its freshness has been unproven, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale_ms: Option<u64>,
    /// The store lost history: forget what you had of this key.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reset: bool,
}

impl Record {
    /// The value as a type of the program's, which may borrow from it; `None` when there is no such record.
    ///
    /// # Errors
    /// What serde says of a value that is no such type.
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<Option<T>, serde_json::Error> {
        self.value.as_deref().map(|value| serde_json::from_str(value.get())).transpose()
    }

    /// Whether it is a deletion that the store does not remember.
    pub(super) fn is_forgotten(&self) -> bool {
        self.version == 0 && self.value.is_none()
    }
}

/// What a write came to.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[non_exhaustive]
pub struct Written {
    /// The key in its canonical text.
    pub key: String,
    /// The version the write got.
    pub version: u64,
    /// The stamp the write got.
    #[serde(deserialize_with = "stamp", serialize_with = "stamp_text")]
    pub stamp: Stamp,
    /// The record's new value, if a patch asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Box<RawValue>>,
}

/// What a collection consists of.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[non_exhaustive]
pub struct Description {
    /// Its name.
    pub collection: String,
    /// The column that holds the key.
    pub key_column: String,
    /// That column's type: `text`, `uuid`, `int2`, `int4` or `int8`.
    pub key_type: String,
    /// Every column of a value, in the table's order.
    pub columns: Vec<Column>,
}

/// A column of a collection.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[non_exhaustive]
pub struct Column {
    /// Its name, which is the member's in a value.
    pub name: String,
    /// How it is written.
    pub kind: ColumnKind,
    /// Its type as PostgreSQL names it, without length or precision; empty where an older server does not say.
    #[serde(default)]
    pub r#type: String,
    /// Whether it may be NULL; `true` where an older server does not say.
    #[serde(default = "unsaid")]
    pub nullable: bool,
}

fn unsaid() -> bool {
    true
}

/// How a column is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ColumnKind {
    /// As a scalar: the database makes its own type of a string or a number.
    Plain,
    /// As any JSON, whose text is kept.
    Json,
    /// As any JSON, which the database normalises.
    Jsonb,
    /// Not at all: the database fills it.
    Generated,
}

/// Reads an answer.
pub(super) fn read<T: DeserializeOwned>(raw: &RawValue) -> Result<T, Error> {
    serde_json::from_str(raw.get()).map_err(Error::Answer)
}

/// Reads the answer of `get_many`.
pub(super) fn read_list(raw: &RawValue) -> Result<Vec<Record>, Error> {
    #[derive(Deserialize)]
    struct List {
        records: Vec<Record>,
    }
    read::<List>(raw).map(|list| list.records)
}

fn stamp<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Stamp, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

fn stamp_text<S: Serializer>(stamp: &Stamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(stamp)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use std::time::Duration;

    use freshet_wire::{protocol::codec, record::State};

    #[test]
    fn a_record_reads_what_the_codec_writes() {
        let state = State { stamp: Stamp::new(2, 9), value: Some(Bytes::from_static(b"{\"n\": 1.10}")) };
        let mut text = Vec::new();
        codec::record(&mut text, "a\"b", &state, Some(Duration::from_millis(7)), true);
        let record: Record = serde_json::from_slice(&text).expect("a record");
        assert_eq!((&*record.key, record.stamp, record.version), ("a\"b", state.stamp, 9));
        assert_eq!(record.value.as_deref().map(RawValue::get), Some("{\"n\": 1.10}"));
        assert_eq!((record.stale_ms, record.reset), (Some(7), true));
        assert_eq!(serde_json::to_vec(&record).expect("JSON"), text);
        text.clear();
        codec::record(&mut text, "a", &State::absent(Stamp::new(1, 0)), None, false);
        let absent: Record = serde_json::from_slice(&text).expect("a record");
        assert!(absent.value.is_none() && !absent.reset);
    }

    #[test]
    fn a_value_becomes_a_type_of_the_program() {
        #[derive(Debug, PartialEq, Deserialize)]
        struct Product<'a> {
            name: &'a str,
            stock: i64,
        }
        let record = |value: &str| -> Record {
            serde_json::from_str(&format!(r#"{{"key":"a","version":1,"stamp":"1.1","value":{value}}}"#))
                .expect("a record")
        };
        let heart = record(r#"{"name":"HEART","stock":41}"#);
        assert_eq!(heart.parse().expect("a product"), Some(Product { name: "HEART", stock: 41 }));
        assert_eq!(record("null").parse::<Product<'_>>().expect("no product"), None);
        let error = record(r#"{"name":"HEART"}"#).parse::<Product<'_>>().expect_err("no product").to_string();
        assert!(error.contains("missing field `stock`"), "{error}");
    }
}
