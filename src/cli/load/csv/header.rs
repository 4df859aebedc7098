//! What the first line's names stand for, and so what becomes of the fields below them.

use std::collections::HashSet;

use csv::ByteRecord;
use serde_json::value::RawValue;

use super::Dialect;
use crate::{
    cli::load::row::{Content, Rejection},
    client::ColumnKind,
    record::patch::quoted,
};

/// How alike two names must be, by Jaro and Winkler, for one to be meant by the other.
const LIKENESS_MIN: f64 = 0.8;

/// The fields of every row, in order.
pub(super) struct Header<'a> {
    dialect: &'a Dialect,
    fields: Vec<Field>,
}

/// What becomes of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    name: String,
    is_key: bool,
    /// How the column is written; `None` for a field that is not.
    kind: Option<ColumnKind>,
}

impl<'a> Header<'a> {
    /// Reads the first line.
    ///
    /// # Errors
    /// What is wrong with it, in words, and what would fit.
    pub(super) fn read(record: &ByteRecord, dialect: &'a Dialect) -> Result<Self, String> {
        let columns = &dialect.description.columns;
        let known = || columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
        let mut seen = HashSet::new();
        let mut fields = Vec::new();
        for name in record {
            let name = std::str::from_utf8(name).map_err(|_| "the header is no UTF-8".to_owned())?;
            let is_key = name == dialect.key_column;
            let kind = columns.iter().find(|column| column.name == name).map(|column| column.kind);
            if !seen.insert(name.to_owned()) {
                return Err(format!("the header names the column {name:?} twice"));
            }
            if kind.is_none() && !is_key {
                let collection = &dialect.description.collection;
                let meant = delimiter(name, &dialect.columns())
                    .filter(|_| record.len() == 1)
                    .map(|delimiter| format!("the header is one field; --delimiter '{delimiter}' makes more of it"))
                    .or_else(|| alike(name, &dialect.columns()).map(|column| format!("is {column:?} meant?")))
                    .map_or_else(String::new, |meant| format!("\n  {meant}"));
                return Err(format!("{collection} has no column {name:?}; it has {}{meant}", known()));
            }
            let kind = kind.filter(|kind| *kind != ColumnKind::Generated);
            fields.push(Field { name: name.to_owned(), is_key, kind });
        }
        match fields.iter().any(|field| field.is_key) {
            true => Ok(Header { dialect, fields }),
            false => Err(format!("no column {:?} to hold the key; --key-column names another", dialect.key_column)),
        }
    }

    /// Understands the row that begins in `line`.
    ///
    /// # Errors
    /// [`Rejection`], naming the column where it is one field's fault.
    pub(super) fn content(&self, record: &ByteRecord, line: u64) -> Result<Content, Rejection> {
        let Header { dialect, fields } = self;
        let texts: Vec<_> = record.iter().map(String::from_utf8_lossy).collect();
        let reject = |column: Option<&str>, reason: String| {
            let members =
                fields.iter().zip(&texts).map(|(field, text)| format!("{}:{}", quoted(&field.name), quoted(text)));
            let row = format!("{{{}}}", members.collect::<Vec<_>>().join(","));
            Rejection::new(line, column, reason, &row)
        };
        if texts.len() != fields.len() {
            return Err(reject(None, format!("has {} fields where the header has {}", texts.len(), fields.len())));
        }
        let (mut key, mut members) = (None, Vec::with_capacity(fields.len()));
        for ((field, text), bytes) in fields.iter().zip(&texts).zip(record) {
            let refused = |reason: String| reject(Some(&field.name), reason);
            if std::str::from_utf8(bytes).is_err() {
                return Err(refused("no UTF-8".into()));
            }
            let is_null = **text == *dialect.null;
            if field.is_key {
                key = (!is_null).then(|| text.clone().into_owned());
            }
            let Some(kind) = field.kind else { continue };
            let value = if is_null { "null".into() } else { value(kind, text).map_err(refused)? };
            members.push(format!("{}:{value}", quoted(&field.name)));
        }
        let key = key.ok_or_else(|| reject(Some(&dialect.key_column), "a key cannot be NULL".into()))?;
        Ok(Content { key, value: format!("{{{}}}", members.join(",")) })
    }
}

/// What separates the names in a header that was read as one field.
fn delimiter(header: &str, columns: &[&str]) -> Option<&'static str> {
    let is_separated = |by: &&str| {
        header.contains(*by) && header.split(*by).any(|name| columns.contains(&name.trim().trim_matches('"')))
    };
    [(",", ","), (";", ";"), ("\t", "\\t"), ("|", "|")]
        .into_iter()
        .find(|(by, _)| is_separated(by))
        .map(|(_, shown)| shown)
}

/// The column that was most likely meant.
fn alike<'c>(name: &str, columns: &[&'c str]) -> Option<&'c str> {
    let likeness = |column: &str| strsim::jaro_winkler(&name.trim().to_lowercase(), &column.to_lowercase());
    let best = columns.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) >= LIKENESS_MIN).then_some(best)
}

/// A field's text as JSON.
fn value(kind: ColumnKind, text: &str) -> Result<String, String> {
    match kind {
        ColumnKind::Json | ColumnKind::Jsonb => {
            serde_json::from_str::<&RawValue>(text).map_err(|error| format!("no JSON: {error}"))?;
            Ok(text.to_owned())
        }
        _ => Ok(quoted(text)),
    }
}
