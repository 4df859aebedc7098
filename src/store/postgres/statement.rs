//! The SQL that names one partition: built once for each, prepared by each connection that uses it.

use std::{fmt::Write as _, sync::Arc};

use sqlx::AssertSqlSafe;

use crate::{
    record::{Column, ColumnKind},
    store::{
        ShardId,
        postgres::{describe::Table, group::Others},
    },
};

/// The newest mark a statement's snapshot shows.
const MARK: &str = "(SELECT n FROM feed.mark ORDER BY n DESC LIMIT 1)";

/// How rows are locked.
#[derive(Clone, Copy, Debug)]
pub struct Lock {
    /// Rows that somebody else holds are waited for, and not passed by.
    pub waits: bool,
    /// Their values are read, too; otherwise those that stand are shown as `{}`.
    pub reads_values: bool,
}

impl Lock {
    /// In the order in which they are kept.
    const ALL: [Lock; 4] = [
        Lock { waits: false, reads_values: false },
        Lock { waits: true, reads_values: false },
        Lock { waits: false, reads_values: true },
        Lock { waits: true, reads_values: true },
    ];
}

/// The statements for one shard of one collection. Each takes its keys or rows as one text array.
///
/// Their plans may have been made while a table was empty, when reading all of it was cheapest, and are kept until it is
/// analysed. So each row is looked up by a sub-select with a LIMIT, which no plan can turn into a join over the whole.
#[derive(Debug)]
pub struct Statements {
    /// Keys -> position, epoch, generation, and a row for each key: (its number from 1 on, version, value), from one
    /// snapshot.
    read: Arc<str>,
    /// As `read`, with the rows locked in key order; rows that somebody else holds are told apart. One for each [`Lock`].
    locks: [Arc<str>; 4],
    delete: Arc<str>,
    /// Position, generation, and the version of the newest tombstone.
    head: Arc<str>,
    scan: Arc<str>,
    shard: ShardId,
    relation: String,
    key: String,
    key_name: String,
    columns: Vec<Column>,
    returning: String,
}

impl Statements {
    /// The statements for `relation`, the quoted name of a partition (or of a plain table) of `table`.
    pub fn new(table: &Table, relation: &str, shard: ShardId) -> Self {
        let collection = &table.collection;
        let key = identifier(&collection.key_column);
        let version = identifier(&table.version_column);
        let kind = collection.key_kind.name();
        let value = value_of("p", &collection.columns);
        let bare = format!("{key}, {version}");
        let tombstone = format!(
            "(SELECT t.version FROM feed.tomb t WHERE t.collection = {} AND t.key = k.key ORDER BY t.version DESC LIMIT 1)",
            literal(&collection.name)
        );
        let select = |rows: &str, value: &str, held: &str| {
            format!(
                "SELECT {MARK}, s.epoch, s.gen, k.number, CASE WHEN p.{key} IS NULL THEN {tombstone} ELSE p.{version} END, \
                 CASE WHEN p.{key} IS NOT NULL THEN {value}::text END, {held} \
                 FROM feed.shard_state s CROSS JOIN unnest($1::text[]) WITH ORDINALITY k (key, number) \
                 LEFT JOIN LATERAL ({rows}) p ON true WHERE s.shard = {}",
                shard.0
            )
        };
        let row = format!("SELECT * FROM {relation} WHERE {key} = k.key::{kind} LIMIT 1");
        let locking = |lock: Lock| {
            let (columns, value) = if lock.reads_values { ("*", &*value) } else { (&*bare, "'{}'") };
            let mode = if lock.waits { "" } else { "SKIP LOCKED" };
            let held = format!("p.{key} IS NULL AND (SELECT true FROM ({row}) o) IS TRUE");
            let locked = format!("SELECT * FROM locked WHERE {key} = k.key::{kind}");
            format!(
                "WITH locked AS MATERIALIZED (SELECT {columns} FROM {relation} WHERE {key} = ANY($1::{kind}[]) \
                 ORDER BY {key} FOR UPDATE {mode}) {}",
                select(&locked, value, &held)
            )
        };
        Statements {
            read: select(&row, &value, "false").into(),
            locks: Lock::ALL.map(|lock| locking(lock).into()),
            delete: format!("DELETE FROM {relation} WHERE {key} = ANY($1::{kind}[])").into(),
            head: format!(
                "SELECT {MARK}, s.gen, (SELECT version FROM feed.tomb ORDER BY version DESC LIMIT 1) \
                 FROM feed.shard_state s WHERE s.shard = {}",
                shard.0
            )
            .into(),
            scan: format!("SELECT {key}::text FROM {relation}").into(),
            shard,
            relation: relation.to_owned(),
            returning: format!("p.{key}::text, p.{version}, {value}::text"),
            key,
            key_name: collection.key_column.clone(),
            columns: collection.columns.clone(),
        }
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

    /// Locks rows by key.
    pub fn lock(&self, lock: Lock) -> AssertSqlSafe<Arc<str>> {
        AssertSqlSafe(self.locks[usize::from(lock.waits) + 2 * usize::from(lock.reads_values)].clone())
    }

    /// Deletes rows by key.
    pub fn delete(&self) -> AssertSqlSafe<Arc<str>> {
        AssertSqlSafe(self.delete.clone())
    }

    /// Reads every key.
    pub fn scan(&self) -> AssertSqlSafe<Arc<str>> {
        AssertSqlSafe(self.scan.clone())
    }

    /// Reads where the transaction stands.
    pub fn head(&self) -> AssertSqlSafe<Arc<str>> {
        AssertSqlSafe(self.head.clone())
    }

    /// Inserts rows given as JSON objects that have just the columns at `given`; others take their defaults. A row whose
    /// key is there already is passed by, and all where the shard is not here; the others are returned.
    pub fn insert(&self, given: &[usize]) -> AssertSqlSafe<String> {
        let columns: Vec<_> = given.iter().filter_map(|&place| self.columns.get(place)).collect();
        let names: Vec<_> = columns.iter().map(|column| identifier(&column.name)).collect();
        let values: Vec<_> = columns.iter().map(|column| written(column)).collect();
        AssertSqlSafe(format!(
            "INSERT INTO {relation} AS p ({}) SELECT {} {rows} \
             WHERE EXISTS (SELECT FROM feed.shard_state WHERE shard = {shard}) \
             ON CONFLICT ({key}) DO NOTHING RETURNING {returning}",
            names.join(", "),
            values.join(", "),
            relation = self.relation,
            rows = self.rows(),
            shard = self.shard.0,
            key = self.key,
            returning = self.returning,
        ))
    }

    /// Changes rows, which must be locked, given as JSON objects that have just the columns at `given`.
    pub fn update(&self, others: Others, given: &[usize]) -> AssertSqlSafe<String> {
        let mut set = String::new();
        let settable = |column: &Column| column.name != self.key_name && column.kind != ColumnKind::Generated;
        for (place, column) in self.columns.iter().enumerate().filter(|(_, column)| settable(column)) {
            let value = match others {
                _ if given.contains(&place) => written(column),
                Others::Default => "DEFAULT".to_owned(),
                Others::Stay => continue,
            };
            let comma = if set.is_empty() { "" } else { ", " };
            let _ = write!(set, "{comma}{} = {value}", identifier(&column.name));
        }
        if set.is_empty() {
            let _ = write!(set, "{key} = p.{key}", key = self.key);
        }
        AssertSqlSafe(format!(
            "UPDATE {relation} p SET {set} {rows} \
             CROSS JOIN LATERAL (SELECT ctid FROM {relation} WHERE {key} = r.{key} LIMIT 1) at \
             WHERE p.ctid = at.ctid RETURNING {returning}",
            relation = self.relation,
            rows = self.rows(),
            key = self.key,
            returning = self.returning,
        ))
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

    /// The given objects as rows: `j` the object as it came, `r` converted to the columns' types.
    fn rows(&self) -> String {
        format!(
            "FROM unnest($1::json[]) AS o (j) CROSS JOIN LATERAL json_populate_record(NULL::{}, o.j) AS r",
            self.relation
        )
    }
}

/// The row `alias` as JSON text. A sub-select, so that a `json` column is carried over verbatim and the version
/// column stays out.
fn value_of(alias: &str, columns: &[Column]) -> String {
    let names: Vec<_> = columns.iter().map(|column| format!("{alias}.{}", identifier(&column.name))).collect();
    format!("(SELECT row_to_json(v) FROM (SELECT {}) v)", names.join(", "))
}

/// A column's new value. `json_populate_record` re-prints a string in a `json` column; `->` keeps its escapes, and is
/// named once, since each time it reads the whole object.
fn written(column: &Column) -> String {
    match column.kind {
        ColumnKind::Json => format!("nullif((o.j -> {})::text, 'null')::json", literal(&column.name)),
        _ => format!("r.{}", identifier(&column.name)),
    }
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
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
