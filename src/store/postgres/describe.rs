//! What is tracked in a database, read from its catalogues.

use std::{collections::HashMap, sync::Arc};

use sqlx::{PgConnection, Row as _};

use crate::{
    record::{Collection, CollectionId, Column, ColumnKind, KeyKind},
    store::{
        Error, ShardId,
        postgres::{failure, statement::Statements},
    },
};

/// A collection's table: what it holds, and which column is its version.
#[derive(Clone, Debug)]
pub struct Table {
    /// The collection as the rest of the service sees it.
    pub collection: Collection,
    /// The column that triggers fill, left out of values.
    pub version_column: String,
}

/// The tables that `freshet.track` has registered, in order of their names.
///
/// # Errors
/// [`Error::Broken`] when the database has not been migrated, saying what to run.
pub async fn tables(connection: &mut PgConnection) -> Result<Vec<Table>, Error> {
    let rows = sqlx::query(
        "SELECT c.name, c.key_column::text, c.key_kind, c.version_column::text, coalesce(c.modulus, 0),
                array_agg(a.attname::text ORDER BY a.attnum),
                array_agg(CASE WHEN a.attgenerated <> '' OR a.attidentity = 'a' THEN 'generated'
                               ELSE format_type(a.atttypid, NULL) END ORDER BY a.attnum)
           FROM feed.collection c
           JOIN pg_attribute a ON a.attrelid = c.relation AND a.attnum > 0 AND NOT a.attisdropped
            AND a.attname <> c.version_column
          GROUP BY c.name, c.key_column, c.key_kind, c.version_column, c.modulus ORDER BY c.name",
    )
    .fetch_all(connection)
    .await
    .map_err(|error| match failure::is_stale_schema(&error) {
        true => Error::broken("find the feed's tables in the database; run `freshet migrate` on it first"),
        false => failure::error(error),
    })?;
    rows.iter().map(|row| table(row).map_err(failure::error)?).collect()
}

fn table(row: &sqlx::postgres::PgRow) -> Result<Result<Table, Error>, sqlx::Error> {
    let name: String = row.try_get(0)?;
    let kind: String = row.try_get(2)?;
    let Some(key_kind) = KeyKind::from_name(&kind) else {
        return Ok(Err(Error::broken(format!("read the key type {kind:?} of collection {name:?}"))));
    };
    let names: Vec<String> = row.try_get(5)?;
    let types: Vec<String> = row.try_get(6)?;
    let modulus: i32 = row.try_get(4)?;
    let collection = Collection {
        id: CollectionId(0),
        name,
        key_column: row.try_get(1)?,
        key_kind,
        modulus: modulus.unsigned_abs().max(1),
        columns: names.into_iter().zip(&types).map(|(name, kind)| Column { name, kind: column_kind(kind) }).collect(),
    };
    Ok(Ok(Table { collection, version_column: row.try_get(3)? }))
}

fn column_kind(kind: &str) -> ColumnKind {
    match kind {
        "json" => ColumnKind::Json,
        "jsonb" => ColumnKind::Jsonb,
        "generated" => ColumnKind::Generated,
        _ => ColumnKind::Plain,
    }
}

/// Where each shard of each collection stands in a database: the partitions found there, with the statements that
/// name them.
#[derive(Debug, Default)]
pub struct Ownership {
    partitions: HashMap<(CollectionId, ShardId), Arc<Statements>>,
}

impl Ownership {
    /// Reads the partitions of `tables`, which must be numbered as in the catalogue.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database does not answer.
    pub async fn read(connection: &mut PgConnection, tables: &[Table]) -> Result<Self, Error> {
        let rows: Vec<(String, i32, String)> = sqlx::query_as(
            "SELECT s.collection, s.shard, format('%I.%I', s.schema_name, s.table_name) FROM feed.shard_table s
               JOIN feed.shard_state t ON t.shard = s.shard WHERE t.state IN ('active', 'frozen')",
        )
        .fetch_all(connection)
        .await
        .map_err(failure::error)?;
        let mut ownership = Ownership::default();
        for (name, shard, relation) in rows {
            let Some(table) = tables.iter().find(|table| table.collection.name == name) else { continue };
            let shard = ShardId(shard.unsigned_abs());
            let statements = Arc::new(Statements::new(table, &relation, shard));
            ownership.partitions.insert((table.collection.id, shard), statements);
        }
        Ok(ownership)
    }

    /// The statements for one shard of one collection.
    ///
    /// # Errors
    /// [`Error::NotOwned`] when the database has no such partition.
    pub fn find(&self, collection: CollectionId, shard: ShardId) -> Result<Arc<Statements>, Error> {
        self.partitions.get(&(collection, shard)).cloned().ok_or(Error::NotOwned { shard })
    }

    /// The shards owned here of one collection, in order.
    pub fn shards(&self, collection: CollectionId) -> Vec<ShardId> {
        let mut shards: Vec<_> =
            self.partitions.keys().filter(|(id, _)| *id == collection).map(|(_, shard)| *shard).collect();
        shards.sort_unstable();
        shards
    }
}
