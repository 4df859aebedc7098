//! A row of the source: what is to be written, or why it cannot be.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::{client::Refusal, record::patch::quoted};

/// A row and the line it begins in, counted from 1.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) line: u64,
    pub(super) content: Result<Content, Rejection>,
}

/// A row understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) key: String,
    /// The text of a JSON object.
    pub(super) value: String,
}

/// A row that is not written, as the file of rejected rows has it. `row` can be loaded again once it is mended.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Rejection {
    pub(super) line: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) column: Option<String>,
    pub(super) reason: String,
    pub(super) row: Box<RawValue>,
}

impl Rejection {
    /// A row that could not be understood. `row` is kept as a JSON object if it is one, else as a string.
    pub(super) fn new(line: u64, column: Option<&str>, reason: impl Into<String>, row: &str) -> Self {
        Rejection { line, column: column.map(str::to_owned), reason: reason.into(), row: raw(row) }
    }

    /// A row that the server refused for good.
    pub(super) fn refused(line: u64, row: &str, refusal: &Refusal) -> Self {
        let column = refusal.data.get("column").and_then(serde_json::Value::as_str);
        Rejection::new(line, column, refusal.to_string(), row)
    }

    /// Where, and why.
    pub(super) fn text(&self) -> String {
        match &self.column {
            Some(column) => format!("line {}, column {column}: {}", self.line, self.reason),
            None => format!("line {}: {}", self.line, self.reason),
        }
    }
}

fn raw(text: &str) -> Box<RawValue> {
    let own = RawValue::from_string(text.to_owned());
    own.or_else(|_| RawValue::from_string(quoted(text))).unwrap_or_else(|_| RawValue::NULL.to_owned())
}
