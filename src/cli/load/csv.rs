//! Rows from CSV: a header, then a line of fields for each row.
//!
//! A field becomes a string, of which the database makes the column's own type, or what stands in it where the column
//! holds JSON. So every type that the database can read from text can be loaded, exactly.
//!
//! # Source
//! RFC 4180; NULL is told as by PostgreSQL's COPY.

use std::{
    cell::RefCell,
    collections::HashSet,
    io::{self, BufRead, Read},
    rc::Rc,
};

use csv::{ByteRecord, ReaderBuilder};
use serde_json::value::RawValue;

use super::row::{Content, Rejection, Row};
use crate::{
    cli::{
        Error,
        input::{Input, Sink},
    },
    client::{ColumnKind, Description},
    record::patch::quoted,
};

/// The longest row, in bytes. One that does not end within it has an open quote, most likely.
const ROW_BYTES_MAX: u64 = 16 << 20;

/// How the fields are to be understood.
#[derive(Clone, Debug)]
pub(super) struct Dialect {
    /// What the server says of the collection.
    pub(super) description: Description,
    pub(super) key_column: String,
    pub(super) delimiter: u8,
    /// The text of a field that stands for NULL.
    pub(super) null: String,
}

/// The rows of `path`.
///
/// # Errors
/// [`Error::Input`] when the file cannot be opened.
pub(super) fn open(path: &str, dialect: Dialect) -> Result<Input<Row>, Error> {
    Input::open(path, move |source, send| split(source, &dialect, send))
}

/// What becomes of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    name: String,
    is_key: bool,
    /// How the column is written; `None` for a field that is not.
    kind: Option<ColumnKind>,
}

fn split(source: Box<dyn BufRead + Send>, dialect: &Dialect, send: Sink<'_, Row>) -> io::Result<()> {
    let trail = Rc::new(RefCell::new(Trail::new()));
    let source = Trailed { source, trail: trail.clone() };
    let mut reader =
        ReaderBuilder::new().has_headers(false).flexible(true).delimiter(dialect.delimiter).from_reader(source);
    let mut record = ByteRecord::new();
    let mut fields = None;
    loop {
        trail.borrow_mut().left = ROW_BYTES_MAX;
        let begins = reader.position().byte();
        let read = reader.read_byte_record(&mut record);
        let line = trail.borrow_mut().line_at(begins);
        if !read.map_err(|error| broken(line, error))? {
            return match fields {
                Some(_) => Ok(()),
                None => Err(invalid("it is empty; its first line must name the columns".into())),
            };
        }
        match &fields {
            None => fields = Some(header(&record, dialect).map_err(|text| invalid(format!("line {line}: {text}")))?),
            Some(fields) => {
                if !send(Row { line, content: content(&record, line, fields, dialect) }) {
                    return Ok(());
                }
            }
        }
    }
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn broken(line: u64, error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            invalid(format!("the row that begins in line {line} {error}"))
        }
        csv::ErrorKind::Io(error) => error,
        kind => invalid(format!("line {line}: {kind:?}")),
    }
}

/// What the header's names stand for.
fn header(record: &ByteRecord, dialect: &Dialect) -> Result<Vec<Field>, String> {
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
            return Err(format!("{collection} has no column {name:?}; it has {}", known()));
        }
        let kind = kind.filter(|kind| *kind != ColumnKind::Generated);
        fields.push(Field { name: name.to_owned(), is_key, kind });
    }
    match fields.iter().any(|field| field.is_key) {
        true => Ok(fields),
        false => Err(format!("no column {:?} to hold the key; --key-column names another", dialect.key_column)),
    }
}

fn content(record: &ByteRecord, line: u64, fields: &[Field], dialect: &Dialect) -> Result<Content, Rejection> {
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

/// The bytes that were read and belong to no row before the last one. The reader's own count of lines is off after
/// blank lines and where lines end with CRLF.
struct Trail {
    bytes: Vec<u8>,
    /// Where in the source they begin, and in which line.
    offset: u64,
    line: u64,
    /// How many more may be read for one row.
    left: u64,
}

impl Trail {
    fn new() -> Self {
        Trail { bytes: Vec::new(), offset: 0, line: 1, left: ROW_BYTES_MAX }
    }

    /// The line of the row that begins at `offset`, or behind line ends that stand there. What is before it is let go.
    fn line_at(&mut self, offset: u64) -> u64 {
        let from = usize::try_from(offset - self.offset).unwrap_or(usize::MAX).min(self.bytes.len());
        let ends = self.bytes[from..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let passed = self.bytes.drain(..from + ends);
        self.line += passed.filter(|byte| *byte == b'\n').count() as u64;
        self.offset += (from + ends) as u64;
        self.line
    }
}

/// A source whose bytes leave a trail.
struct Trailed<R> {
    source: R,
    trail: Rc<RefCell<Trail>>,
}

impl<R: Read> Read for Trailed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut trail = self.trail.borrow_mut();
        if trail.left == 0 {
            return Err(invalid(format!("does not end within {ROW_BYTES_MAX} bytes: is a quote left open?")));
        }
        let read = self.source.read(into)?;
        trail.left = trail.left.saturating_sub(read as u64);
        trail.bytes.extend_from_slice(&into[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Cursor};

    use serde_json::json;

    use super::*;

    fn dialect(delimiter: u8, null: &str) -> Dialect {
        let description = json!({"collection": "products", "key_column": "sku", "key_type": "text", "columns": [
            {"name": "sku", "kind": "plain"}, {"name": "price", "kind": "plain"},
            {"name": "attributes", "kind": "json"}, {"name": "total", "kind": "generated"}]});
        let description = serde_json::from_value(description).expect("a description");
        Dialect { description, key_column: "sku".into(), delimiter, null: null.into() }
    }

    fn rows(text: &[u8], dialect: &Dialect) -> Result<Vec<String>, String> {
        let mut rows = Vec::new();
        let source = Box::new(BufReader::new(Cursor::new(text.to_vec())));
        let shown = |row: Row| match row.content {
            Ok(Content { key, value }) => format!("{} {key} {value}", row.line),
            Err(rejection) => format!("{} | {}", rejection.text(), rejection.row),
        };
        split(source, dialect, &mut |row| {
            rows.push(shown(row));
            true
        })
        .map(|()| rows)
        .map_err(|error| error.to_string())
    }

    #[test]
    fn fields_become_what_their_columns_hold() {
        let text =
            b"\xef\xbb\xbfsku,price,attributes,total\r\na,2.50,\"{\"\"b\"\": [1]}\",9\r\n\r\n\"x,\"\"y\",,null,\r\n";
        assert_eq!(
            rows(text, &dialect(b',', "")).expect("rows"),
            [
                r#"2 a {"sku":"a","price":"2.50","attributes":{"b": [1]}}"#,
                r#"4 x,"y {"sku":"x,\"y","price":null,"attributes":null}"#,
            ]
        );
    }

    #[test]
    fn lines_are_counted_through_quoted_newlines() {
        let text = b"sku;price\na;\"one\ntwo\"\nb;\"\"\n\nc;\\N\nd\n";
        assert_eq!(
            rows(text, &dialect(b';', "\\N")).expect("rows"),
            [
                r#"2 a {"sku":"a","price":"one\ntwo"}"#,
                r#"4 b {"sku":"b","price":""}"#,
                r#"6 c {"sku":"c","price":null}"#,
                r#"line 7: has 1 fields where the header has 2 | {"sku":"d"}"#,
            ]
        );
    }

    #[test]
    fn a_field_that_cannot_be_is_named_by_line_and_column() {
        let text = b"sku,attributes\na,{\nb,\xff\n,{}\n";
        let rows = rows(text, &dialect(b',', "")).expect("rows");
        assert!(rows[0].starts_with("line 2, column attributes: no JSON: "), "{}", rows[0]);
        assert!(rows[0].ends_with(r#"| {"sku":"a","attributes":"{"}"#), "{}", rows[0]);
        assert!(rows[1].starts_with("line 3, column attributes: no UTF-8"), "{}", rows[1]);
        assert!(rows[2].starts_with("line 4, column sku: a key cannot be NULL"), "{}", rows[2]);
    }

    #[test]
    fn a_header_that_does_not_fit_says_what_would() {
        let read = |text: &[u8]| rows(text, &dialect(b',', "")).expect_err("refused");
        assert_eq!(
            read(b"sku,colour\n"),
            "line 1: products has no column \"colour\"; it has sku, price, attributes, total"
        );
        assert_eq!(read(b"price\n"), "line 1: no column \"sku\" to hold the key; --key-column names another");
        assert_eq!(read(b"sku,sku\n"), "line 1: the header names the column \"sku\" twice");
        assert_eq!(read(b""), "it is empty; its first line must name the columns");
    }

    #[test]
    fn an_open_quote_ends_with_the_line_it_began_in() {
        let mut text = b"sku,price\na,1\nb,\"".to_vec();
        text.resize(text.len() + ROW_BYTES_MAX as usize + 100_000, b'x');
        let error = rows(&text, &dialect(b',', "")).expect_err("refused");
        assert!(error.starts_with("the row that begins in line 3 does not end within"), "{error}");
    }
}
