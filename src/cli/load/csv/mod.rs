//! Rows from CSV: a header, then a line of fields for each row.
//!
//! A field becomes a string, of which the database makes the column's own type, or what stands in it where the column
//! holds JSON. So every type that the database can read from text can be loaded, exactly.
//!
//! # Source
//! RFC 4180; NULL is told as by PostgreSQL's COPY.

mod header;
mod trail;

use std::io::{self, BufRead};

use csv::{ByteRecord, ReaderBuilder};

use self::{header::Header, trail::Trailed};
use super::row::Row;
use crate::{
    cli::{
        Error,
        input::{Input, Sink},
    },
    client::Description,
};

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

impl Dialect {
    fn columns(&self) -> Vec<&str> {
        self.description.columns.iter().map(|column| column.name.as_str()).chain([self.key_column.as_str()]).collect()
    }
}

/// The rows of `path`.
///
/// # Errors
/// [`Error::Input`] when the file cannot be opened.
pub(super) fn open(path: &str, dialect: Dialect) -> Result<Input<Row>, Error> {
    Input::open(path, move |source, send| split(source, &dialect, send))
}

fn split(source: Box<dyn BufRead + Send>, dialect: &Dialect, send: Sink<'_, Row>) -> io::Result<()> {
    let (source, trail) = Trailed::new(source);
    let mut reader =
        ReaderBuilder::new().has_headers(false).flexible(true).delimiter(dialect.delimiter).from_reader(source);
    let mut record = ByteRecord::new();
    let mut header = None;
    loop {
        trail.borrow_mut().begin_row();
        let begins = reader.position().byte();
        let read = reader.read_byte_record(&mut record);
        let line = trail.borrow_mut().line_at(begins);
        if !read.map_err(|error| broken(line, error))? {
            return match header {
                Some(_) => Ok(()),
                None => Err(invalid("it is empty; its first line must name the columns".into())),
            };
        }
        // Only the end of the source ends such a row.
        if trail.borrow().has_open_quote(reader.position().byte(), dialect.delimiter) {
            return Err(invalid(format!(
                "the row that begins in line {line} ends with the file: a quote in it is left open\n  close it, or write it twice \
                 where it belongs to the text"
            )));
        }
        match &header {
            None => {
                let read = Header::read(&record, dialect);
                header = Some(read.map_err(|text| invalid(format!("line {line}: {text}")))?);
            }
            Some(header) => {
                if !send(Row { line, content: header.content(&record, line) }) {
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

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Cursor};

    use serde_json::json;

    use super::{trail::ROW_BYTES_MAX, *};
    use crate::cli::load::row::Content;

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
        let suggested = |text: &[u8], part: &str| {
            let said = read(text);
            assert!(said.contains(part), "{said}");
        };
        suggested(b"sku;price\na;1\n", "--delimiter ';'");
        suggested(b"sku\tprice\na\t1\n", "--delimiter '\\t'");
        suggested(b"sku,Price\n", "is \"price\" meant?");
        suggested(b"sku,pirce\n", "is \"price\" meant?");
        assert_eq!(read(b"sku,sku\n"), "line 1: the header names the column \"sku\" twice");
        assert_eq!(read(b""), "it is empty; its first line must name the columns");
    }

    #[test]
    fn a_quote_that_the_file_leaves_open_is_named_by_its_line() {
        for text in ["sku,price\na,1\nb,\"2\nc,3\n", "sku,price\na,1\n\"b,2", "sku,price\na,1\nb,\"2\"\"\n"] {
            let error = rows(text.as_bytes(), &dialect(b',', "")).expect_err("refused");
            assert!(error.contains("line") && error.contains("a quote in it is left open"), "{error}");
        }
        for text in ["sku,price\nb,5\" pipe", "sku,price\nb,\"a\nb\"", "sku,price\nb,\"\""] {
            assert_eq!(rows(text.as_bytes(), &dialect(b',', "")).expect("rows").len(), 1, "{text}");
        }
    }

    #[test]
    fn an_open_quote_ends_with_the_line_it_began_in() {
        let mut text = b"sku,price\na,1\nb,\"".to_vec();
        text.resize(text.len() + ROW_BYTES_MAX as usize + 100_000, b'x');
        let error = rows(&text, &dialect(b',', "")).expect_err("refused");
        assert!(error.starts_with("the row that begins in line 3 does not end within"), "{error}");
    }
}
