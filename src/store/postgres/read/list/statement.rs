//! The SQL of a list.

use crate::store::{
    list::{Range, beyond},
    postgres::{
        describe::{KeyOrder, Table},
        statement::{identifier, value_of},
    },
};

/// A statement and what is bound to it before the limit.
pub(super) struct Statement {
    pub(super) sql: String,
    pub(super) bounds: Vec<String>,
}

impl Statement {
    /// Rows of `table` in `range`. The first row says of the snapshot whether it is a replica's, and the generations of the shards
    /// that are here; the others have key, version and value.
    ///
    /// `ORDER BY` stands over the whole table, whose partitions each have an index in this order: PostgreSQL merges them
    /// (`MergeAppend`) and reads as many rows as asked for, and one more of each. Values are made of the rows beyond `LIMIT`,
    /// since a sort, where there is no such index, would make them for the whole table.
    pub(super) fn new(table: &Table, range: &Range) -> Self {
        let collection = &table.collection;
        let (name, kind) = (identifier(&collection.key_column), collection.key_kind.name());
        let key = match table.key_order {
            KeyOrder::Own => name.clone(),
            KeyOrder::Indexed | KeyOrder::Sorted => format!("{name} COLLATE \"C\""),
        };
        let (mut conditions, mut bounds) = (Vec::new(), Vec::new());
        let mut bound = |operator: &str, text: String| {
            bounds.push(text);
            conditions.push(format!("{key} {operator} ${}::text::{kind}", bounds.len()));
        };
        if let Some(after) = &range.after {
            bound(">", after.as_str().to_owned());
        }
        if !range.prefix.is_empty() {
            bound(">=", range.prefix.clone());
        }
        if let Some(beyond) = beyond(&range.prefix) {
            bound("<", beyond);
        }
        let conditions = if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") };
        let sql = format!(
            "SELECT NULL::text, pg_is_in_recovery()::int::bigint, (SELECT json_object_agg(s.shard, s.gen) FROM feed.shard_state s \
             WHERE s.state IN ('active', 'frozen'))::text \
             UNION ALL SELECT p.{name}::text, p.{version}, {value}::text \
             FROM (SELECT * FROM {relation} WHERE {conditions} ORDER BY {key} LIMIT ${limit}) p",
            version = identifier(&table.version_column),
            value = value_of("p", &collection.columns),
            relation = table.relation,
            limit = bounds.len() + 1,
        );
        Statement { sql, bounds }
    }
}
