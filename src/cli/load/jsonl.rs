//! Rows from JSON lines.

use serde_json::value::RawValue;

use super::row::{Content, Rejection, Row};
use crate::{
    cli::{
        Error,
        input::Input,
        lines::{self, Line},
    },
    protocol::json,
    record::patch::Members,
};

/// The rows of `path`, whose member `key_column` holds the key.
///
/// # Errors
/// [`Error::Input`] when the file cannot be opened.
pub(super) fn open(path: &str, key_column: String) -> Result<Input<Row>, Error> {
    Input::open(path, move |source, send| lines::split(source, &mut |line| send(row(line, &key_column))))
}

fn row(Line { number, text }: Line, key_column: &str) -> Row {
    let content = match text {
        Ok(text) => match key(&text, key_column) {
            Ok(key) => Ok(Content { key, value: text }),
            Err((column, reason)) => Err(Rejection::new(number, column, reason, &text)),
        },
        Err(reason) => Err(Rejection::new(number, None, reason, "null")),
    };
    Row { line: number, content }
}

fn key<'a>(text: &str, column: &'a str) -> Result<String, (Option<&'a str>, String)> {
    let members = Members::parse(text).map_err(|error| (None, format!("no JSON object: {error}")))?;
    let refused = |reason: &str| (Some(column), reason.to_owned());
    let raw = members
        .get(column)
        .ok_or_else(|| (None, format!("no member {column:?} to hold the key; --key-column names another")))?;
    key_text(raw).ok_or_else(|| refused("a key is a string or an integer"))
}

/// The key a member's JSON text stands for.
fn key_text(raw: &str) -> Option<String> {
    let digits = raw.strip_prefix('-').unwrap_or(raw);
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(raw.to_owned());
    }
    let raw: &RawValue = serde_json::from_str(raw).ok()?;
    json::text(raw).map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_a_key_or_a_reason() {
        let read = |text: &str| {
            let row = row(Line { number: 7, text: Ok(text.into()) }, "sku");
            row.content.map(|content| content.key).map_err(|rejection| rejection.text())
        };
        assert_eq!(read(r#"{"n":1,"sku":"a\u0062"}"#), Ok("ab".into()));
        assert_eq!(read(r#"{"sku":-12}"#), Ok("-12".into()));
        assert_eq!(read(r#"{"sku":1.5}"#), Err("line 7, column sku: a key is a string or an integer".into()));
        assert!(read(r#"{"x":1}"#).expect_err("no key").contains("--key-column"));
        assert!(read("nope").expect_err("no JSON").starts_with("line 7: no JSON object: "));
    }
}
