//! Many statements in one round trip.
//!
//! PostgreSQL's simple query protocol carries any number of statements in one message and stops at the first that fails.
//! Each EXECUTEs what was prepared on the connection, so nothing is planned anew. The protocol has no parameters: values
//! are written as literals, and only [`Argument`] writes them. `tests/it/write_path/values.rs` sends hostile ones.
//!
//! sqlx alone sends one statement a round trip. Weighed and measured on PostgreSQL 15: PL/pgSQL functions for each
//! partition took 147 us a row in groups of 8 over 64 shards, because PL/pgSQL sets its expressions up anew in each
//! transaction; a plain update by a script takes 50 to 75. A statement that names the table costs 480 us and 20 us a row;
//! one that names a partition 65 us and 13 us a row, or 45 us for a single row, whose parameters are no arrays.
//!
//! # Source
//! PostgreSQL, "Simple Query" and "Multiple Statements in a Simple Query"; "Array Input and Output Syntax" for literals.

use std::mem;

use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Either, postgres::PgRow};

use crate::{
    digest,
    store::postgres::{pool::Pooled, statement::literal},
};

/// Statements prepared on one connection; with more it is given up, as each takes memory in the server.
const PREPARED_MAX: usize = 2_000;

/// A statement to be prepared, under a name that is its own whatever else is prepared.
#[derive(Debug)]
pub struct Prepared {
    name: String,
    prepare: String,
}

impl Prepared {
    /// A statement with parameters of these types.
    pub fn new(types: &str, body: &str) -> Self {
        let types = if types.is_empty() { String::new() } else { format!("({types}) ") };
        let text = format!("{types}AS {body}");
        let name = format!("freshet_{}", digest::of(&text));
        Prepared { prepare: format!("PREPARE {name} {text}"), name }
    }
}

/// What is given for a parameter, as a literal.
pub struct Argument(String);

impl From<Option<&str>> for Argument {
    /// One value; `None` is NULL.
    fn from(value: Option<&str>) -> Self {
        Argument(value.map_or_else(|| "NULL".to_owned(), literal))
    }
}

impl From<Elements> for Argument {
    fn from(Elements(text): Elements) -> Self {
        Argument(if text.is_empty() { "'{}'".into() } else { literal(&format!("{text}}}")) })
    }
}

/// The elements of one array.
#[derive(Clone, Debug, Default)]
pub struct Elements(String);

impl Elements {
    /// Adds one; `None` is NULL.
    pub fn push(&mut self, element: Option<&str>) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        let Some(element) = element else { return self.0.push_str("NULL") };
        self.0.push('"');
        for piece in element.split_inclusive(['"', '\\']) {
            match piece.as_bytes().last() {
                Some(b'"' | b'\\') => {
                    self.0.push_str(&piece[..piece.len() - 1]);
                    self.0.push('\\');
                    self.0.push_str(&piece[piece.len() - 1..]);
                }
                _ => self.0.push_str(piece),
            }
        }
        self.0.push('"');
    }
}

/// Statements to run one after the other.
#[derive(Default)]
pub struct Script {
    text: String,
    len: usize,
    /// What gets prepared, by its place.
    prepares: Vec<(usize, String)>,
}

/// What the statements returned, up to the one that failed, if any did.
pub struct Returned {
    /// The rows of each statement that was carried out.
    pub rows: Vec<Vec<PgRow>>,
    /// Why the next one was not.
    pub error: Option<sqlx::Error>,
}

impl Script {
    /// Adds a statement of fixed text; returns its place.
    pub fn say(&mut self, sql: &str) -> usize {
        if !self.text.is_empty() {
            self.text.push(';');
        }
        self.text.push_str(sql);
        self.len += 1;
        self.len - 1
    }

    /// Adds a call of a prepared statement, which is prepared first where it is not on this connection yet; returns the
    /// call's place.
    pub fn execute(&mut self, pooled: &Pooled, prepared: &Prepared, arguments: Vec<Argument>) -> usize {
        if !pooled.prepared.contains(&prepared.name) && !self.prepares.iter().any(|(_, name)| *name == prepared.name) {
            self.prepares.push((self.len, prepared.name.clone()));
            self.say(&prepared.prepare);
        }
        let arguments: Vec<String> = arguments.into_iter().map(|Argument(literal)| literal).collect();
        let arguments = if arguments.is_empty() { String::new() } else { format!("({})", arguments.join(",")) };
        self.say(&format!("EXECUTE {}{arguments}", prepared.name))
    }

    /// The number of statements so far; also the place of the next one.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Runs the statements in one round trip.
    ///
    /// # Cancel safety
    /// If the future is dropped, the connection's state is unknown: close the connection.
    pub async fn run(self, pooled: &mut Pooled) -> Returned {
        let mut returned = Returned { rows: Vec::with_capacity(self.len), error: None };
        let mut rows = Vec::new();
        {
            let mut answers = sqlx::raw_sql(AssertSqlSafe(self.text)).fetch_many(&mut pooled.connection);
            loop {
                match answers.try_next().await {
                    Ok(Some(Either::Right(row))) => rows.push(row),
                    Ok(Some(Either::Left(_))) => returned.rows.push(mem::take(&mut rows)),
                    Ok(None) => break,
                    Err(error) => {
                        returned.error = Some(error);
                        break;
                    }
                }
            }
        }
        let done = returned.rows.len();
        pooled.prepared.extend(self.prepares.into_iter().filter(|(place, _)| *place < done).map(|(_, name)| name));
        returned
    }
}

impl Pooled {
    /// Whether so much is prepared here that the connection had better be given up.
    pub fn is_worn(&self) -> bool {
        self.prepared.len() > PREPARED_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_end_only_where_they_should() {
        let mut elements = Elements::default();
        assert_eq!(Argument::from(elements.clone()).0, "'{}'");
        for element in [Some("a"), None, Some(""), Some("NULL"), Some(r#"{"it's": "a\b"}"#)] {
            elements.push(element);
        }
        assert_eq!(Argument::from(elements).0, r#"E'{"a",NULL,"","NULL","{\\"it''s\\": \\"a\\\\b\\"}"}'"#);
        assert_eq!(Argument::from(None).0, "NULL");
        assert_eq!(Argument::from(Some("NULL")).0, "'NULL'");
        assert_eq!(Argument::from(Some(r"it's a\b")).0, r"E'it''s a\\b'");
    }
}
