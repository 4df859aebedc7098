//! A checked schema at work: it turns members into a row's JSON text.

use std::{cmp::Ordering, str::FromStr};

use bigdecimal::BigDecimal;
use bytes::Bytes;

use crate::{
    record::{
        Collection, CollectionId, Column, KeyKind,
        patch::{Members, quoted},
    },
    store::Error,
};

use super::{
    datatype::DataType,
    schema::{ColumnSchema, Schema, SchemaError},
};

/// A collection's columns with their rules, checked.
#[derive(Debug)]
pub(super) struct Table {
    name: String,
    columns: Vec<Rule>,
    /// Places in `columns` that have a check, in the order PostgreSQL takes them: by constraint name.
    checks: Vec<usize>,
}

#[derive(Debug)]
struct Rule {
    name: String,
    /// The name as a JSON string with its colon.
    label: String,
    data_type: DataType,
    nullable: bool,
    default: Option<String>,
    min: Option<i64>,
    constraint: String,
}

impl Table {
    /// A table of `schema`, which has passed [`check_set`](super::schema::check_set).
    ///
    /// # Errors
    /// [`SchemaError::BadDefault`].
    pub(super) fn new(schema: &Schema) -> Result<Self, SchemaError> {
        let rules = schema.columns.iter().map(|column| Rule::new(&schema.name, column));
        let columns = rules.collect::<Result<Vec<_>, _>>()?;
        let mut checks: Vec<_> = (0..columns.len()).filter(|&at| columns[at].min.is_some()).collect();
        checks.sort_by_key(|&at| &columns[at].constraint);
        Ok(Table { name: schema.name.clone(), columns, checks })
    }

    /// The row `members` make, compact, in column order; a column left out takes its default.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] with the first rule broken, in PostgreSQL's order: types, then not-null, both by
    /// column, then checks by name.
    pub(super) fn row(&self, members: &Members) -> Result<Bytes, Error> {
        let print = |column: &Rule| column.print(members);
        let values = self.columns.iter().map(print).collect::<Result<Vec<_>, _>>()?;
        for (column, value) in self.columns.iter().zip(&values) {
            if value.is_none() && !column.nullable {
                return Err(self.not_null(column));
            }
        }
        for &at in &self.checks {
            if values[at].as_deref().is_some_and(|value| self.columns[at].is_broken_by(value)) {
                return Err(self.check_violation(&self.columns[at]));
            }
        }
        Ok(self.text(&values).into())
    }

    fn text(&self, values: &[Option<String>]) -> String {
        let mut text = String::from("{");
        for (column, value) in self.columns.iter().zip(values) {
            if text.len() > 1 {
                text.push(',');
            }
            text.push_str(&column.label);
            text.push_str(value.as_deref().unwrap_or("null"));
        }
        text.push('}');
        text
    }

    fn not_null(&self, column: &Rule) -> Error {
        let (name, table) = (&column.name, &self.name);
        Error::invalid(
            name,
            format!("null value in column \"{name}\" of relation \"{table}\" violates not-null constraint"),
        )
    }

    fn check_violation(&self, column: &Rule) -> Error {
        let (table, constraint) = (&self.name, column.constraint.clone());
        Error::InvalidValue {
            message: format!("new row for relation \"{table}\" violates check constraint \"{constraint}\""),
            column: Some(column.name.clone()),
            constraint: Some(constraint),
        }
    }
}

impl Rule {
    fn new(table: &str, column: &ColumnSchema) -> Result<Self, SchemaError> {
        let refused =
            |message| SchemaError::BadDefault { collection: table.to_owned(), column: column.name.clone(), message };
        let default = match column.default.as_deref().map(str::trim) {
            None => None,
            Some(json) => {
                serde_json::from_str::<serde::de::IgnoredAny>(json)
                    .map_err(|_| refused(format!("{json} is no JSON text; a string needs its own quotes")))?;
                column.data_type.print(json).map_err(refused)?
            }
        };
        Ok(Rule {
            name: column.name.clone(),
            label: format!("{}:", quoted(&column.name)),
            data_type: column.data_type,
            nullable: column.nullable,
            default,
            min: column.min,
            constraint: column.constraint.clone().unwrap_or_else(|| format!("{table}_{}_check", column.name)),
        })
    }

    fn print(&self, members: &Members) -> Result<Option<String>, Error> {
        match members.get(&self.name) {
            None => Ok(self.default.clone()),
            Some(json) => self.data_type.print(json).map_err(|message| Error::invalid(&self.name, message)),
        }
    }

    /// NaN is above every number, as in PostgreSQL.
    fn is_broken_by(&self, value: &str) -> bool {
        let Some(min) = self.min else { return false };
        match value.trim_matches('"') {
            "NaN" | "Infinity" => false,
            "-Infinity" => true,
            number => match self.data_type {
                DataType::Float8 => {
                    number.parse::<f64>().is_ok_and(|n| n.partial_cmp(&(min as f64)) == Some(Ordering::Less))
                }
                _ => BigDecimal::from_str(number).is_ok_and(|n| n < min),
            },
        }
    }
}

/// The collection that `schema` describes, numbered later.
pub(super) fn collection(schema: &Schema, modulus: u32) -> Collection {
    let column = |c: &ColumnSchema| Column {
        name: c.name.clone(),
        kind: c.data_type.column_kind(),
        sql: c.data_type.sql_name().to_owned(),
        is_nullable: c.nullable,
    };
    let key = schema.columns.iter().find(|column| column.name == schema.key);
    Collection {
        id: CollectionId(0),
        name: schema.name.clone(),
        key_column: schema.key.clone(),
        key_kind: key.and_then(|column| column.data_type.key_kind()).unwrap_or(KeyKind::Text),
        modulus,
        columns: schema.columns.iter().map(column).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::schema::check_set, *};

    fn schema(columns: &str) -> Schema {
        toml::from_str(&format!("name = \"things\"\nkey = \"id\"\ncolumns = [{columns}]")).expect("a schema")
    }

    fn table(columns: &str) -> Result<Table, SchemaError> {
        let schema = schema(columns);
        check_set(std::slice::from_ref(&schema), 64)?;
        Table::new(&schema)
    }

    fn row(columns: &str, members: &str) -> Result<String, Error> {
        let members = Members::parse(members).expect("an object");
        let row = table(columns).expect("a table").row(&members)?;
        Ok(String::from_utf8(row.to_vec()).expect("text"))
    }

    const THINGS: &str = r#"{ name = "id", type = "text" }, { name = "n", type = "numeric", nullable = true, min = 1,
        constraint = "things_n_ok" }, { name = "price", type = "int8", min = 0, default = "0" },
        { name = "currency", type = "text", default = '"GBP"' }, { name = "doc", type = "json", default = "{}" }"#;

    #[test]
    fn a_row_is_compact_in_column_order_with_defaults() {
        assert_eq!(
            row(THINGS, r#"{"doc":{"a": 1.0},"id":"a"}"#).expect("a row"),
            r#"{"id":"a","n":null,"price":0,"currency":"GBP","doc":{"a": 1.0}}"#
        );
    }

    #[test]
    fn an_explicit_null_is_not_the_default() {
        let refused = row(THINGS, r#"{"id":"a","currency":null,"price":-1}"#);
        let Err(Error::InvalidValue { message, column, constraint }) = refused else { panic!("{refused:?}") };
        assert_eq!(message, "null value in column \"currency\" of relation \"things\" violates not-null constraint");
        assert_eq!((column.as_deref(), constraint), (Some("currency"), None));
    }

    #[test]
    fn checks_are_taken_in_the_order_of_their_names() {
        for (members, broken, at) in [
            (r#"{"id":"a","n":0,"price":-1}"#, "things_n_ok", "n"),
            (r#"{"id":"a","n":0.99}"#, "things_n_ok", "n"),
            (r#"{"id":"a","n":1,"price":-1}"#, "things_price_check", "price"),
        ] {
            let refused = row(THINGS, members);
            let Err(Error::InvalidValue { message, column, constraint }) = refused else { panic!("{refused:?}") };
            assert_eq!(message, format!("new row for relation \"things\" violates check constraint \"{broken}\""));
            assert_eq!((column.as_deref(), constraint.as_deref()), (Some(at), Some(broken)));
        }
        assert!(row(THINGS, r#"{"id":"a","n":"NaN","price":0}"#).is_ok());
    }

    #[test]
    fn a_bad_type_is_named_before_a_missing_value() {
        let refused = row(THINGS, r#"{"price":"x"}"#);
        let Err(Error::InvalidValue { message, column, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(message, "invalid input syntax for type bigint: \"x\"");
        assert_eq!(column.as_deref(), Some("price"));
    }

    #[test]
    fn bad_schemas_are_refused_by_name() {
        for (columns, says) in [
            (r#"{ name = "id", type = "text" }, { name = "id", type = "text" }"#, "has two columns \"id\""),
            (r#"{ name = "n", type = "text" }"#, "has no column \"id\" to be its key"),
            (r#"{ name = "id", type = "float8" }"#, "key \"id\" must be text, uuid, int2, int4 or int8"),
            (r#"{ name = "id", type = "text", nullable = true }"#, "key \"id\" must not be nullable"),
            (r#"{ name = "id", type = "text", min = 1 }"#, "column \"id\" has a min and holds no numbers"),
            (r#"{ name = "id", type = "int4", constraint = "x" }"#, "names a constraint and has no min"),
            (r#"{ name = "id", type = "int4", default = '"x"' }"#, "invalid input syntax for type integer: \"x\""),
            (r#"{ name = "id", type = "text", default = "GBP" }"#, "GBP is no JSON text"),
            (r#"{ name = "id", type = "text" }, { name = "", type = "text" }"#, "has an empty name"),
        ] {
            let error = table(columns).expect_err("a refusal").to_string();
            assert!(error.contains(says) && error.contains("\"things\""), "{error}");
        }
        let twice = [schema(THINGS), schema(THINGS)];
        assert_eq!(check_set(&twice, 1), Err(SchemaError::DuplicateCollection { collection: "things".into() }));
        assert_eq!(check_set(&twice[..1], 0), Err(SchemaError::NoShards));
    }

    #[test]
    fn unknown_fields_are_refused() {
        let text = "name = \"a\"\nkey = \"id\"\ncolumns = [{ name = \"id\", type = \"text\", unique = true }]";
        let error = toml::from_str::<Schema>(text).expect_err("a refusal").to_string();
        assert!(error.contains("unique"), "{error}");
    }
}
