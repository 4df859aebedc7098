//! The SQL that names one partition: built once for each, prepared by each connection that uses it.

use std::{collections::HashMap, sync::Arc};

use parking_lot::RwLock;
use sqlx::AssertSqlSafe;

use crate::{
    record::{Column, ShardId},
    store::postgres::{
        describe::Table,
        write::{script::Prepared, shape::Shape, sql},
    },
};

/// The newest mark a statement's snapshot shows.
const MARK: &str = "(SELECT n FROM feed.mark ORDER BY n DESC LIMIT 1)";
/// The same on a replica, and nothing on one that has been promoted: a session outlives that.
const REPLICA_MARK: &str =
    "(CASE WHEN pg_is_in_recovery() THEN coalesce((SELECT n FROM feed.mark ORDER BY n DESC LIMIT 1), 0) END)";

/// The statements for one shard of one collection, or for all its shards; those that write are made for each shape of rows.
///
/// Their plans may have been made while a table was empty, when reading all of it was cheapest, and are kept until it is
/// analysed. So each row is looked up by a sub-select with a LIMIT, which no plan can turn into a join over the whole.
#[derive(Debug)]
pub struct Statements {
    /// Keys -> position, epoch, generation, and a row for each key: (its number from 1 on, version, value), from one
    /// snapshot.
    read: Arc<str>,
    read_replica: Arc<str>,
    scan: Arc<str>,
    relation: String,
    table: Arc<Table>,
    shapes: RwLock<HashMap<Shape, Arc<Prepared>>>,
}

impl Statements {
    /// The statements for `relation`, the quoted name of a partition (or of a plain table) of `table`.
    pub fn new(table: &Arc<Table>, relation: &str, shard: ShardId) -> Self {
        let collection = &table.collection;
        let key = identifier(&collection.key_column);
        let version = identifier(&table.version_column);
        let kind = collection.key_kind.name();
        let value = value_of("p", &collection.columns);
        let tombstone = format!(
            "(SELECT t.version FROM feed.tomb t WHERE t.collection = {} AND t.key = k.key ORDER BY t.version DESC LIMIT 1)",
            literal(&collection.name)
        );
        let read = |mark: &str| -> Arc<str> {
            format!(
                "SELECT {mark}, s.epoch, s.gen, k.number, CASE WHEN p.{key} IS NULL THEN {tombstone} ELSE p.{version} END, \
                 CASE WHEN p.{key} IS NOT NULL THEN {value}::text END \
                 FROM feed.shard_state s CROSS JOIN unnest($1::text[]) WITH ORDINALITY k (key, number) \
                 LEFT JOIN LATERAL (SELECT * FROM {relation} WHERE {key} = k.key::{kind} LIMIT 1) p ON true WHERE s.shard = {}",
                shard.0
            )
            .into()
        };
        Statements {
            read: read(MARK),
            read_replica: read(REPLICA_MARK),
            scan: format!("SELECT {key}::text FROM {relation}").into(),
            relation: relation.to_owned(),
            table: table.clone(),
            shapes: RwLock::default(),
        }
    }

    /// The table whose partition it is.
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// The statement that writes rows of one shape.
    pub fn write(&self, shape: &Shape) -> Arc<Prepared> {
        if let Some(known) = self.shapes.read().get(shape) {
            return known.clone();
        }
        let made = sql::build(&self.table, &self.relation, shape);
        self.shapes
            .write()
            .entry(shape.clone())
            .or_insert_with(|| Arc::new(Prepared::new(&made.types, &made.body)))
            .clone()
    }

    /// The partition's quoted name, schema included.
    pub fn relation(&self) -> &str {
        &self.relation
    }

    /// The partition's name as error messages show it.
    pub fn table_name(&self) -> &str {
        self.relation.rsplit('.').next().unwrap_or_default().trim_matches('"')
    }

    /// Reads rows by key.
    pub fn read(&self) -> AssertSqlSafe<Arc<str>> {
        AssertSqlSafe(self.read.clone())
    }

    /// Reads rows by key on a replica: without a position where that is none any more.
    pub fn read_replica(&self) -> AssertSqlSafe<Arc<str>> {
        AssertSqlSafe(self.read_replica.clone())
    }

    /// Reads every key.
    pub fn scan(&self) -> AssertSqlSafe<Arc<str>> {
        AssertSqlSafe(self.scan.clone())
    }

    /// Converts one column of one JSON object, to find out which one the database refuses.
    pub fn probe(&self, column: &str) -> AssertSqlSafe<String> {
        let name = literal(column);
        AssertSqlSafe(format!(
            "SELECT (json_populate_record(NULL::{}, json_build_object({name}, $1::json -> {name}))).{} IS NULL",
            self.relation,
            identifier(column)
        ))
    }
}

/// The row `alias` as JSON text. A sub-select, so that a `json` column is carried over verbatim and the version
/// column stays out.
pub fn value_of(alias: &str, columns: &[Column]) -> String {
    let names: Vec<_> = columns.iter().map(|column| format!("{alias}.{}", identifier(&column.name))).collect();
    format!("(SELECT row_to_json(v) FROM (SELECT {}) v)", names.join(", "))
}

/// `name` as SQL quotes it.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `text` as a string of SQL, whatever `standard_conforming_strings` is.
pub fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if text.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_quoted() {
        assert_eq!(identifier("a\"; DROP"), "\"a\"\"; DROP\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\'"), "E'a\\\\'''");
    }
}
