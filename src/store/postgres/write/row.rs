//! One write as a row of a statement: its shape, and the values it gives.

use std::borrow::Cow;

use crate::{
    record::patch::Members,
    store::{
        DataType, Error, Operation, Write,
        memory::{check_strings, input},
        postgres::{
            describe::{Passing, Table, TableColumn},
            write::shape::{Kind, Shape, Source},
        },
    },
};

/// Whether a write looks for its row, or inserts one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It changes the row that stands.
    Change,
    /// The row is absent, or likely absent.
    Insert,
}

/// A write's part in a statement of its shape.
#[derive(Clone, Debug)]
pub struct Row {
    pub shape: Shape,
    /// In the order of the shape's columns; value first, amount second.
    values: Vec<Option<String>>,
    /// Whether the database may well refuse a value, and with it the statement.
    pub is_suspect: bool,
}

impl Row {
    /// What `write` is in `step`. `asks` says whether it depends on the version of a row that stands, `waits` whether a
    /// held row is waited for.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] for what no row can hold.
    pub fn new(write: &Write, table: &Table, step: Step, waits: bool) -> Result<Self, Error> {
        let asks = step == Step::Change && write.if_stamp.is_some();
        let kind = match (&write.operation, step) {
            (Operation::Delete, _) => Kind::Delete,
            (_, Step::Insert) => Kind::Insert,
            (Operation::Put(_), Step::Change) => Kind::Replace,
            (Operation::Patch(_), Step::Change) => Kind::Patch,
        };
        let waits = waits && kind != Kind::Insert;
        let shape = Shape { kind, columns: Vec::new(), asks, waits, is_plain: false, is_single: false };
        let mut row = Row { shape, values: Vec::new(), is_suspect: false };
        if let Some(members) = match &write.operation {
            Operation::Delete => None,
            Operation::Put(members) => Some(members),
            Operation::Patch(patch) => Some(&patch.merge),
        } {
            row.fill(write, table, members)?;
            if matches!(write.operation, Operation::Put(_)) && table.is_judged {
                row.require(table)?;
            }
        }
        Ok(row)
    }

    fn fill(&mut self, write: &Write, table: &Table, members: &Members) -> Result<(), Error> {
        for (place, column) in table.columns.iter().enumerate().filter(|(_, column)| table.is_settable(column)) {
            let given = members.get(&column.name);
            let amount = match &write.operation {
                Operation::Patch(patch) => patch.increment.get(&column.name),
                _ => None,
            };
            let is_object = |text: &str| text.starts_with('{') && matches!(&*column.sql, "json" | "jsonb");
            let source = match (given, amount) {
                (None, None) => continue,
                (Some(text), None) if matches!(write.operation, Operation::Patch(_)) && is_object(text) => {
                    Source::Merged
                }
                (Some(_), None) => Source::Given,
                (None, Some(_)) => Source::Added,
                (Some(_), Some(_)) => Source::GivenAndAdded,
            };
            self.shape.columns.push((place, source));
            if let Some(text) = given {
                let value = self.value(column, text)?;
                self.values.push(value.map(Cow::into_owned));
            }
            if let Some(amount) = amount {
                let is_whole = amount.fractional_digit_count() <= 0;
                self.is_suspect |= !(column.sql == "numeric" || is_whole && is_integer(&column.sql));
                self.values.push(Some(amount.to_plain_string()));
            }
        }
        Ok(())
    }

    /// The text that a column's type reads for JSON `text`.
    fn value<'t>(&mut self, column: &TableColumn, text: &'t str) -> Result<Option<Cow<'t, str>>, Error> {
        let refused = |message: String| Error::invalid(&column.name, message);
        if text == "null" {
            return Ok(None);
        }
        if column.passing == Passing::Json || matches!(column.data_type, Some(DataType::Json | DataType::Jsonb)) {
            check_strings(text).map_err(refused)?;
            return Ok(Some(text.into()));
        }
        let value = input(text).map_err(refused)?;
        // What this process takes for no value of the type is the database's to refuse, in its own words.
        self.is_suspect |= column.data_type.is_some_and(|known| known.print(text).is_err());
        Ok(Some(value))
    }

    /// A column that may not be null, has no default and is not given can be in no row.
    fn require(&self, table: &Table) -> Result<(), Error> {
        let is_given = |place: usize| self.shape.columns.iter().any(|(given, _)| *given == place);
        let mut missing = table.columns.iter().enumerate().filter(|(place, column)| {
            column.not_null && !column.has_default && table.is_settable(column) && !is_given(*place)
        });
        missing.next().map_or(Ok(()), |(_, column)| Err(null(table, &column.name)))
    }

    /// Its values, in the order of its statement's parameters.
    pub fn values(&self) -> impl ExactSizeIterator<Item = Option<&str>> {
        self.values.iter().map(Option::as_deref)
    }
}

fn is_integer(sql: &str) -> bool {
    matches!(sql, "smallint" | "integer" | "bigint")
}

/// A column is NULL that may not be, in PostgreSQL's words.
pub fn null(table: &Table, column: &str) -> Error {
    let message = format!(
        "null value in column \"{column}\" of relation \"{}\" violates not-null constraint",
        table.collection.name
    );
    Error::invalid(column, message)
}

/// A CHECK is violated, in PostgreSQL's words.
pub fn violated(table: &Table, constraint: &str) -> Error {
    let columns = table.checks.iter().find(|check| check.name == constraint).map(|check| check.columns.as_slice());
    let column = match columns {
        Some(&[place]) => Some(table.columns[place].name.clone()),
        _ => None,
    };
    let message =
        format!("new row for relation \"{}\" violates check constraint \"{constraint}\"", table.collection.name);
    Error::InvalidValue { message, column, constraint: Some(constraint.to_owned()) }
}
