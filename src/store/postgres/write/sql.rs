//! The statement for rows of one shape, and what it returns.
//!
//! Insert and update are different statements. An upsert would run the insert triggers for every row, spend a version on
//! each, and not tell which rows were new, so all of them would have to be read back. An insert passes by a key that
//! another transaction inserts in between (`ON CONFLICT DO NOTHING`), and its write is tried again as an update. Only
//! rows inserted below a tombstone are read back: a trigger may have given them a later version after the statement
//! returned them.
//!
//! Columns of JSON are merged in the server (`feed.merge`), so a merge needs no look at the row beforehand and several of
//! one key fit into one script. `tests/it/write_path/merges.rs` compares it with this process's own merge
//! (`record/patch.rs`).

use std::fmt::Write as _;

use crate::store::postgres::{
    describe::{Check, Passing, Table, TableColumn},
    statement::{identifier, literal, value_of},
    write::shape::{Kind, Shape, Source},
};

/// Columns of every statement's result, in order: the row's number in the statement, its key where it was inserted, why it
/// was not written, the version it had, the version and the value it has.
pub mod result {
    pub const NUMBER: usize = 0;
    pub const KEY: usize = 1;
    pub const FAULT: usize = 2;
    pub const WAS: usize = 3;
    pub const VERSION: usize = 4;
    pub const VALUE: usize = 5;
}

/// Why a row was not written, as statements say it.
pub mod fault {
    /// It does not have the version asked for.
    pub const STAMP: &str = "stamp";
    /// Another transaction holds it.
    pub const HELD: &str = "held";
    /// It is not there.
    pub const ABSENT: &str = "absent";
    /// Begins the name of a column that may not be null.
    pub const NULL: &str = "null ";
    /// Begins the name of a constraint that the new values break.
    pub const CHECK: &str = "check ";
    /// Begins the name of a column that holds no number.
    pub const NO_NUMBER: &str = "no number ";
}

/// The expression for the fault of a row that can have none.
const NO_FAULT: &str = "NULL::text";

/// The text of a statement, and the types of its parameters.
pub struct Sql {
    pub types: String,
    pub body: String,
}

/// Writes the statement for rows of one shape in `relation`, a partition of `table`.
///
/// Rows are looked up one by one in a sub-select with a LIMIT, which no plan made while the table was empty can turn into a
/// join over all of it, and updated by their places. A row whose new values break a CHECK or NOT NULL is left out and told
/// of; a row that the database refuses for another reason fails the statement.
///
/// A plain update costs a quarter less than one that locks, judges and tells.
pub fn build(table: &Table, relation: &str, shape: &Shape) -> Sql {
    Builder { table, relation, shape }.build()
}

struct Builder<'a> {
    table: &'a Table,
    relation: &'a str,
    shape: &'a Shape,
}

impl Builder<'_> {
    fn build(&self) -> Sql {
        let (types, names) = self.parameters();
        let given = if self.shape.is_single {
            let named = names.iter().zip(1..).map(|(name, n)| format!("${n} AS {name}")).collect::<Vec<_>>();
            format!("(SELECT {}, 1::bigint AS number) o", named.join(", "))
        } else {
            let parameters = (1..=types.len()).map(|n| format!("${n}")).collect::<Vec<_>>();
            format!("unnest({}) WITH ORDINALITY o ({}, number)", parameters.join(", "), names.join(", "))
        };
        let body = match self.shape.kind {
            Kind::Insert => self.insert(&given),
            _ if self.shape.is_plain => self.update(&given),
            _ => self.change(&given),
        };
        let array = if self.shape.is_single { "" } else { "[]" };
        Sql { types: types.iter().map(|of| format!("{of}{array}")).collect::<Vec<_>>().join(", "), body }
    }

    /// The types of the values that each row gives, and their names.
    fn parameters(&self) -> (Vec<String>, Vec<String>) {
        let (mut types, mut names) = (vec!["text".to_owned()], vec!["key".to_owned()]);
        if self.shape.asks {
            types.push("bigint".into());
            names.push("asked".into());
        }
        for &(place, source) in &self.shape.columns {
            if source.has_value() {
                types.push(self.column(place).passes_as().to_owned());
                names.push(format!("c{place}"));
            }
            if source.has_amount() {
                types.push("numeric".into());
                names.push(format!("a{place}"));
            }
        }
        (types, names)
    }

    fn column(&self, place: usize) -> &TableColumn {
        &self.table.columns[place]
    }

    /// The value given for a column.
    fn given(&self, place: usize) -> String {
        let column = self.column(place);
        match column.passing {
            Passing::Array => format!("o.c{place}"),
            Passing::Json => format!(
                "(json_populate_record(NULL::{}, json_build_object({}, o.c{place}))).{}",
                self.relation,
                literal(&column.name),
                identifier(&column.name)
            ),
        }
    }

    /// A column's new value; `stands` is the one it has.
    fn value(&self, place: usize, source: Source, stands: &str) -> String {
        let column = self.column(place);
        let value = match source {
            Source::Given => self.given(place),
            Source::Merged if column.sql == "json" => format!("feed.merge({stands}, o.c{place})"),
            Source::Merged => format!("feed.merge({stands}::json, o.c{place})::{}", column.sql),
            Source::Added => self.sum(column, place, stands),
            Source::GivenAndAdded => self.sum(column, place, &self.given(place)),
        };
        match &column.rounds_to {
            Some(exact) => format!("({value})::{exact}"),
            None => value,
        }
    }

    fn sum(&self, column: &TableColumn, place: usize, stands: &str) -> String {
        match &*column.sql {
            "smallint" | "integer" | "bigint" => format!("({stands} + o.a{place})::text::{}", column.sql),
            "numeric" => format!("({stands} + o.a{place})"),
            _ => format!("feed.increased({}, to_json({stands}), o.a{place})::{}", literal(&column.name), column.sql),
        }
    }

    /// Whether the value that stands is needed for the new one.
    fn reads(source: Source) -> bool {
        matches!(source, Source::Merged | Source::Added)
    }

    /// The columns written, with the names of their new values.
    fn assignments(&self, new: impl Fn(usize, Source) -> String) -> Vec<(String, String)> {
        let named = |&(place, source): &(usize, Source)| (self.column(place).name.clone(), new(place, source));
        let mut assignments: Vec<_> = self.shape.columns.iter().map(named).collect();
        if self.shape.kind == Kind::Replace {
            let is_given = |name: &str| assignments.iter().any(|(given, _)| given == name);
            let others =
                self.table.columns.iter().filter(|column| self.table.is_settable(column) && !is_given(&column.name));
            let others: Vec<_> = others.map(|column| (column.name.clone(), "DEFAULT".to_owned())).collect();
            assignments.extend(others);
        }
        assignments
    }

    /// An expression that says why the new values cannot be, or is null. `stands` gives the value that a column has.
    fn fault(&self, stands: impl Fn(usize) -> String) -> String {
        let mut cases = String::new();
        for &(place, source) in self.shape.columns.iter().filter(|(_, source)| source.has_amount()) {
            let column = self.column(place);
            let held = if source.has_value() { self.given(place) } else { stands(place) };
            let fault = literal(&format!("{}{}", fault::NO_NUMBER, column.name));
            match &*column.sql {
                "smallint" | "integer" | "bigint" => {
                    let _ = write!(cases, " WHEN {held} IS NULL THEN {fault}");
                }
                "numeric" => {
                    let _ = write!(
                        cases,
                        " WHEN {held} IS NULL OR {held} IN ('NaN', 'Infinity', '-Infinity') OR scale({held}) > 1000 THEN {fault}"
                    );
                }
                _ => {}
            }
        }
        if self.table.is_judged {
            for &(place, source) in self.shape.columns.iter().filter(|(place, _)| self.column(*place).not_null) {
                let fault = literal(&format!("{}{}", fault::NULL, self.column(place).name));
                let _ = write!(cases, " WHEN {} IS NULL THEN {fault}", self.value(place, source, &stands(place)));
            }
            for check in self.table.checks.iter().filter(|check| self.is_checkable(check)) {
                let value = |place: usize| match self.shape.columns.iter().find(|(given, _)| *given == place) {
                    Some((_, source)) => self.value(place, *source, &stands(place)),
                    None => stands(place),
                };
                let named = |&place: &usize| format!("{} AS {}", value(place), identifier(&self.column(place).name));
                let values: Vec<String> = check.columns.iter().map(named).collect();
                let (expression, values) = (&check.expression, values.join(", "));
                let fault = literal(&format!("{}{}", fault::CHECK, check.name));
                let _ = write!(cases, " WHEN (SELECT {expression} FROM (SELECT {values}) v) IS FALSE THEN {fault}");
            }
        }
        if cases.is_empty() { NO_FAULT.into() } else { format!("CASE{cases} END") }
    }

    /// Whether the statement knows all new values that a check is about, and gives one of them.
    fn is_checkable(&self, check: &Check) -> bool {
        let is_given = |place: &usize| self.shape.columns.iter().any(|(given, _)| given == place);
        let others_stay = self.shape.kind == Kind::Patch;
        let is_exact = check.columns.iter().all(|&place| self.column(place).is_exact);
        is_exact && check.columns.iter().any(is_given) && (others_stay || check.columns.iter().all(is_given))
    }

    /// The columns whose standing values are needed.
    fn read_columns(&self) -> Vec<usize> {
        let mut read: Vec<usize> =
            self.shape.columns.iter().filter(|(_, source)| Self::reads(*source)).map(|(place, _)| *place).collect();
        if self.shape.kind == Kind::Patch && self.table.is_judged {
            let checks = self.table.checks.iter().filter(|check| self.is_checkable(check));
            read.extend(checks.flat_map(|check| check.columns.iter().copied()));
        }
        read.sort_unstable();
        read.dedup();
        read
    }

    /// The assignments of an update.
    fn set(&self, new: impl Fn(usize, Source) -> String) -> String {
        let assignments = self.assignments(new);
        let set = assignments.iter().map(|(name, value)| format!("{} = {value}", identifier(name))).collect::<Vec<_>>();
        let key = identifier(&self.table.collection.key_column);
        if set.is_empty() { format!("{key} = p.{key}") } else { set.join(", ") }
    }

    /// Updates rows by their keys. Hash and merge joins must be off in the session: no plan may read the whole table.
    fn update(&self, given: &str) -> String {
        let (relation, table) = (self.relation, self.table);
        let (key, version) = (identifier(&table.collection.key_column), identifier(&table.version_column));
        let kind = table.collection.key_kind.name();
        let stands = |place: usize| format!("p.{}", identifier(&self.column(place).name));
        let set = self.set(|place, source| self.value(place, source, &stands(place)));
        let asked =
            if self.shape.asks { format!(" AND (o.asked IS NULL OR p.{version} = o.asked)") } else { String::new() };
        let fault = match self.fault(stands) {
            none if none == NO_FAULT => String::new(),
            fault => format!(" AND {fault} IS NULL"),
        };
        let value = value_of("p", &table.collection.columns);
        format!(
            "UPDATE {relation} p SET {set} FROM {given} WHERE p.{key} = o.key::{kind}{asked}{fault} \
             RETURNING o.number, NULL::text, NULL::text, NULL::bigint, p.{version}, {value}::text"
        )
    }

    /// Locks rows, and updates or deletes them.
    fn change(&self, given: &str) -> String {
        let (relation, table) = (self.relation, self.table);
        let (key, version) = (identifier(&table.collection.key_column), identifier(&table.version_column));
        let kind = table.collection.key_kind.name();
        let read: String = self.read_columns().iter().fold(String::new(), |mut read, &place| {
            let _ = write!(read, ", q.{} AS p{place}", identifier(&self.column(place).name));
            read
        });
        let news = self.shape.columns.iter().fold(String::new(), |mut news, &(place, source)| {
            let _ = write!(news, ", {} AS n{place}", self.value(place, source, &format!("p.p{place}")));
            news
        });
        let fault = self.fault(|place| format!("p.p{place}"));
        let stamp = format!("WHEN p.was <> o.asked THEN '{}'", fault::STAMP);
        // What cannot be computed of a row that is not there, or not the one asked for, is not.
        let (news, fault) = match self.shape.asks {
            true => (news, format!("CASE WHEN p.at IS NULL THEN NULL {stamp} ELSE {fault} END")),
            false => (news, format!("CASE WHEN p.at IS NOT NULL THEN {fault} END")),
        };
        let asked = if self.shape.asks { ", o.asked" } else { "" };
        let mode = if self.shape.waits { "FOR UPDATE" } else { "FOR UPDATE SKIP LOCKED" };
        let value = value_of("p", &table.collection.columns);
        let written = if self.shape.kind == Kind::Delete {
            format!(
                "DELETE FROM {relation} p USING l WHERE p.ctid = l.at AND l.fault IS NULL \
                     RETURNING l.number, l.was, 0::bigint AS version, NULL::text AS value"
            )
        } else {
            let set = self.set(|place, _| format!("l.n{place}"));
            format!(
                "UPDATE {relation} p SET {set} FROM l WHERE p.ctid = l.at AND l.fault IS NULL \
                     RETURNING l.number, l.was, p.{version} AS version, {value}::text AS value"
            )
        };
        let tombstone = format!(
            "(SELECT t.version FROM feed.tomb t WHERE t.collection = {} AND t.key = l.key ORDER BY t.version DESC LIMIT 1)",
            literal(&table.collection.name)
        );
        format!(
            "WITH l AS MATERIALIZED (SELECT o.number, o.key{asked}, p.at, p.was{news}, {fault} AS fault FROM {given} \
             LEFT JOIN LATERAL (SELECT q.ctid AS at, q.{version} AS was{read} FROM {relation} q \
             WHERE q.{key} = o.key::{kind} LIMIT 1 {mode}) p ON true), w AS ({written}) \
             SELECT w.number, NULL::text, NULL::text, w.was, w.version, w.value FROM w UNION ALL \
             SELECT l.number, NULL, coalesce(l.fault, (SELECT '{held}' FROM {relation} q WHERE q.{key} = l.key::{kind} LIMIT 1), '{absent}'), \
             CASE WHEN l.at IS NULL THEN {tombstone} ELSE l.was END, NULL, NULL FROM l WHERE l.at IS NULL OR l.fault IS NOT NULL",
            held = fault::HELD,
            absent = fault::ABSENT,
        )
    }

    fn insert(&self, given: &str) -> String {
        let (relation, table) = (self.relation, self.table);
        let (key, version) = (identifier(&table.collection.key_column), identifier(&table.version_column));
        let kind = table.collection.key_kind.name();
        let stands = |place: usize| format!("NULL::{}", self.column(place).sql);
        let news = self.shape.columns.iter().fold(String::new(), |mut news, &(place, source)| {
            let _ = write!(news, ", {} AS n{place}", self.value(place, source, &stands(place)));
            news
        });
        let (mut names, mut values) = (key.clone(), format!("l.key::{kind}"));
        for (name, value) in self.assignments(|place, _| format!("l.n{place}")) {
            let _ = write!(names, ", {}", identifier(&name));
            let _ = write!(values, ", {value}");
        }
        let value = value_of("p", &table.collection.columns);
        format!(
            "WITH l AS MATERIALIZED (SELECT o.number, o.key{news}, {fault} AS fault FROM {given}), \
             w AS (INSERT INTO {relation} AS p ({names}) SELECT {values} FROM l WHERE l.fault IS NULL \
             ON CONFLICT ({key}) DO NOTHING RETURNING p.{key}::text AS key, p.{version} AS version, {value}::text AS value) \
             SELECT NULL::bigint, w.key, NULL::text, NULL::bigint, w.version, w.value FROM w UNION ALL \
             SELECT l.number, NULL, l.fault, NULL, NULL, NULL FROM l WHERE l.fault IS NOT NULL",
            fault = self.fault(stands),
        )
    }
}
