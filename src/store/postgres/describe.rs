//! What is tracked in a database, read from its catalogues.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use sqlx::{PgConnection, Row as _, postgres::PgRow};

use crate::{
    record::{Collection, CollectionId, Column, ColumnKind, KeyKind, ShardId},
    store::{
        DataType, Error,
        postgres::{failure, statement::Statements},
    },
};

impl Table {
    /// What a value of it says beside the row: its columns, in their order, and what kind of thing each is.
    pub fn shape(&self) -> String {
        let Collection { name, key_column, key_kind, modulus, .. } = &self.collection;
        let columns = self.columns.iter().map(|column| format!("{:?} {:?}", column.name, column.sql));
        format!("{name:?} {key_column:?} {key_kind:?} {modulus} {}", columns.collect::<Vec<_>>().join(", "))
    }
}

/// A collection's table: what it holds, and which column is its version.
#[derive(Clone, Debug)]
pub struct Table {
    /// The collection as the rest of the service sees it.
    pub collection: Collection,
    /// Its quoted name, schema included.
    pub relation: String,
    /// The column that triggers fill, left out of values.
    pub version_column: String,
    /// What the database knows of the collection's columns, in their order.
    pub columns: Vec<TableColumn>,
    /// The table's CHECK constraints, in the order in which the database looks at them.
    pub checks: Vec<Check>,
    /// Whether a row's values can be judged before they are written: no trigger of the application's changes them.
    pub is_judged: bool,
    /// Whether it is all the same if a statement names the table or a partition: no trigger of the application's on
    /// statements is on either.
    pub is_uniform: bool,
    /// How rows come in the order of their keys.
    pub key_order: KeyOrder,
}

/// How the database brings rows in the order of their keys, which is the same everywhere: texts by their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOrder {
    /// By the primary key's index: the column is no text, or its collation is that of bytes.
    Own,
    /// By another index, with the collation `C`: the column's own order depends on a language.
    Indexed,
    /// By sorting the whole table.
    Sorted,
}

/// How a column takes its values.
#[derive(Clone, Debug)]
pub struct TableColumn {
    /// Its name.
    pub name: String,
    /// Its type without length or precision.
    pub sql: String,
    /// Its type with a precision that values are rounded to, where it has one.
    pub rounds_to: Option<String>,
    /// Whether the new value can be told before it is written: a text of limited length loses spaces.
    pub is_exact: bool,
    /// How values are handed to a statement.
    pub passing: Passing,
    /// Whether NULL is refused.
    pub not_null: bool,
    /// Whether the database fills it where no value is given.
    pub has_default: bool,
    /// Whether the database fills it always.
    pub is_generated: bool,
    /// What this process knows of the type.
    pub data_type: Option<DataType>,
}

impl TableColumn {
    /// The type of the array's elements in which values are handed over.
    pub fn passes_as(&self) -> &str {
        match self.passing {
            Passing::Array => &self.sql,
            Passing::Json => "json",
        }
    }
}

/// How values of a column are handed to a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passing {
    /// As elements of an array of the column's type, each the text that the type reads.
    Array,
    /// As JSON, converted by `json_populate_record`: arrays, composite types, domains.
    Json,
}

/// A CHECK constraint.
#[derive(Clone, Debug)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// Its expression over bare column names.
    pub expression: String,
    /// The columns that it is about, by their places.
    pub columns: Vec<usize>,
}

impl Table {
    /// Whether a statement may set the column.
    pub fn is_settable(&self, column: &TableColumn) -> bool {
        !column.is_generated && column.name != self.collection.key_column
    }
}

/// The tables that `freshet.track` has registered, in order of their names.
///
/// # Errors
/// [`Error::Broken`] when the database has not been migrated, saying what to run.
pub async fn tables(connection: &mut PgConnection) -> Result<Vec<Table>, Error> {
    let unmigrated = |error: sqlx::Error| match failure::is_stale_schema(&error) {
        true => Error::broken("find the feed's tables in the database; run `freshet migrate` on it first"),
        false => failure::error(error),
    };
    let rows = sqlx::query(
        "SELECT c.name, c.key_column::text, c.key_kind, c.version_column::text, coalesce(c.modulus, 0),
                NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.relation AND NOT t.tgisinternal AND t.tgtype & 3 = 3
                                                        AND t.tgname <> 'zz_freshet_stamp'),
                to_regprocedure('feed.merge(json, json, integer)') IS NOT NULL,
                NOT EXISTS (SELECT FROM pg_trigger t WHERE NOT t.tgisinternal AND t.tgtype & 1 = 0
                               AND t.tgname NOT LIKE 'freshet\\_%' AND (t.tgrelid = c.relation OR t.tgrelid IN
                                   (SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = c.relation))),
                (SELECT format('%I.%I', n.nspname, k.relname) FROM pg_class k
                   JOIN pg_namespace n ON n.oid = k.relnamespace WHERE k.oid = c.relation),
                c.key_kind <> 'text' OR EXISTS (
                    SELECT FROM pg_attribute a JOIN pg_collation o ON o.oid = a.attcollation
                      JOIN pg_database d ON d.datname = current_database()
                     CROSS JOIN LATERAL (SELECT CASE o.collprovider WHEN 'd' THEN coalesce(to_jsonb(d) ->> 'datlocprovider', 'c')
                                                                    ELSE o.collprovider::text END,
                                                CASE o.collprovider WHEN 'd' THEN d.datcollate ELSE o.collcollate END) l (provider, locale)
                     WHERE a.attrelid = c.relation AND a.attname = c.key_column
                       AND (l.provider = 'b' OR l.provider = 'c' AND upper(l.locale) IN ('C', 'POSIX', 'C.UTF-8', 'C.UTF8'))),
                EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
                         WHERE i.indrelid = c.relation AND i.indisvalid AND i.indpred IS NULL AND a.attname = c.key_column
                           AND i.indcollation[0] = 'pg_catalog.\"C\"'::regcollation)
           FROM feed.collection c WHERE to_regclass(c.relation::text) IS NOT NULL ORDER BY c.name",
    );
    let rows = rows.fetch_all(&mut *connection).await.map_err(unmigrated)?;
    let mut tables = Vec::with_capacity(rows.len());
    for row in rows {
        let mut table = table(&row).map_err(failure::error)??;
        table.columns = columns(connection, &table.collection.name).await.map_err(failure::error)?;
        table.collection.columns = table.columns.iter().map(column).collect();
        table.checks = checks(connection, &table).await.map_err(failure::error)?;
        tables.push(table);
    }
    Ok(tables)
}

fn table(row: &PgRow) -> Result<Result<Table, Error>, sqlx::Error> {
    let name: String = row.try_get(0)?;
    let kind: String = row.try_get(2)?;
    let Some(key_kind) = KeyKind::from_name(&kind) else {
        return Ok(Err(Error::broken(format!("read the key type {kind:?} of collection {name:?}"))));
    };
    if !row.try_get::<bool, _>(6)? {
        return Ok(Err(Error::broken("find the functions that this release writes with; run `freshet migrate` first")));
    }
    let modulus: i32 = row.try_get(4)?;
    let collection = Collection {
        id: CollectionId(0),
        name,
        key_column: row.try_get(1)?,
        key_kind,
        modulus: modulus.unsigned_abs().max(1),
        columns: Vec::new(),
    };
    let version_column = row.try_get(3)?;
    let (relation, is_uniform) = (row.try_get(8)?, row.try_get(7)?);
    let key_order = match (row.try_get(9)?, row.try_get(10)?) {
        (true, _) => KeyOrder::Own,
        (false, true) => KeyOrder::Indexed,
        (false, false) => KeyOrder::Sorted,
    };
    Ok(Ok(Table {
        relation,
        is_uniform,
        key_order,
        collection,
        version_column,
        columns: Vec::new(),
        checks: Vec::new(),
        is_judged: row.try_get(5)?,
    }))
}

async fn columns(connection: &mut PgConnection, collection: &str) -> Result<Vec<TableColumn>, sqlx::Error> {
    let query = sqlx::query(
        "SELECT a.attname::text, format_type(a.atttypid, NULL), format_type(a.atttypid, a.atttypmod),
                t.typtype IN ('b', 'e') AND t.typcategory <> 'A' AND t.typarray <> 0 AND t.typdelim = ',',
                a.attnotnull, a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL,
                a.attgenerated <> '' OR a.attidentity = 'a', a.atttypmod >= 0,
                t.oid IN ('numeric'::regtype, 'time'::regtype, 'timetz'::regtype, 'timestamp'::regtype,
                          'timestamptz'::regtype, 'interval'::regtype)
           FROM feed.collection c
           JOIN pg_attribute a ON a.attrelid = c.relation AND a.attnum > 0 AND NOT a.attisdropped
            AND a.attname <> c.version_column
           JOIN pg_type t ON t.oid = a.atttypid
          WHERE c.name = $1 ORDER BY a.attnum",
    );
    query.bind(collection).fetch_all(connection).await?.iter().map(table_column).collect()
}

fn table_column(row: &PgRow) -> Result<TableColumn, sqlx::Error> {
    let (sql, whole): (String, String) = (row.try_get(1)?, row.try_get(2)?);
    let (has_modifier, is_rounded): (bool, bool) = (row.try_get(7)?, row.try_get(8)?);
    // What a time is given as is the database's business.
    let data_type = DataType::named(&sql).filter(|known| *known != DataType::Timestamptz);
    Ok(TableColumn {
        name: row.try_get(0)?,
        data_type,
        sql,
        rounds_to: (has_modifier && is_rounded).then_some(whole),
        is_exact: is_rounded || !has_modifier,
        passing: if row.try_get(3)? { Passing::Array } else { Passing::Json },
        not_null: row.try_get(4)?,
        has_default: row.try_get(5)?,
        is_generated: row.try_get(6)?,
    })
}

fn column(column: &TableColumn) -> Column {
    let kind = match &*column.sql {
        _ if column.is_generated => ColumnKind::Generated,
        "json" => ColumnKind::Json,
        "jsonb" => ColumnKind::Jsonb,
        _ => ColumnKind::Plain,
    };
    Column { name: column.name.clone(), kind, sql: column.sql.clone(), is_nullable: !column.not_null }
}

async fn checks(connection: &mut PgConnection, table: &Table) -> Result<Vec<Check>, sqlx::Error> {
    let query = sqlx::query_as(
        "SELECT k.conname::text, pg_get_expr(k.conbin, k.conrelid),
                ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey))
           FROM feed.collection c JOIN pg_constraint k ON k.conrelid = c.relation AND k.contype = 'c'
          WHERE c.name = $1 AND k.conkey IS NOT NULL ORDER BY k.conname",
    );
    let rows: Vec<(String, String, Vec<String>)> = query.bind(&table.collection.name).fetch_all(connection).await?;
    let place = |name: &String| table.columns.iter().position(|column| column.name == *name);
    // A check of the version column is left out: a collection does not show that column.
    let check = |(name, expression, columns): (String, String, Vec<String>)| {
        Some(Check { name, expression, columns: columns.iter().map(place).collect::<Option<_>>()? })
    };
    Ok(rows.into_iter().filter_map(check).collect())
}

/// Where each shard of each collection stands in a database: the partitions found there, with the statements that
/// name them.
#[derive(Debug, Default)]
pub struct Ownership {
    partitions: HashMap<(CollectionId, ShardId), Arc<Statements>>,
    /// For statements that reach rows of all shards.
    tables: HashMap<CollectionId, Arc<Statements>>,
}

impl Ownership {
    /// Reads the partitions of `tables`, which must be numbered as in the catalogue.
    ///
    /// # Errors
    /// What the database answered.
    pub async fn read(connection: &mut PgConnection, tables: &[Arc<Table>]) -> Result<Self, sqlx::Error> {
        let rows: Vec<(String, i32, i32, String)> = sqlx::query_as(
            "SELECT s.collection, s.shard, s.modulus, format('%I.%I', s.schema_name, s.table_name) FROM feed.shard_table s
               JOIN feed.shard_state t ON t.shard = s.shard WHERE t.state IN ('active', 'frozen')",
        )
        .fetch_all(connection)
        .await?;
        let mut ownership = Ownership::default();
        for table in tables {
            let statements = Statements::new(table, &table.relation, ShardId(0));
            ownership.tables.insert(table.collection.id, Arc::new(statements));
        }
        for (name, shard, modulus, relation) in rows {
            // A table that was partitioned since this node started has other shards than those it computes.
            let is_known = |table: &&Arc<Table>| {
                table.collection.name == name && table.collection.modulus == modulus.unsigned_abs()
            };
            let Some(table) = tables.iter().find(is_known) else { continue };
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

    /// The statements for all shards of a collection that are here.
    pub fn whole(&self, collection: CollectionId) -> Option<Arc<Statements>> {
        self.tables.get(&collection).cloned()
    }

    /// The shards owned here, of any collection, in order.
    pub fn owned(&self) -> Vec<ShardId> {
        let shards: BTreeSet<_> = self.partitions.keys().map(|(_, shard)| *shard).collect();
        shards.into_iter().collect()
    }

    /// The shards owned here of one collection, in order.
    pub fn shards(&self, collection: CollectionId) -> Vec<ShardId> {
        let mut shards: Vec<_> =
            self.partitions.keys().filter(|(id, _)| *id == collection).map(|(_, shard)| *shard).collect();
        shards.sort_unstable();
        shards
    }
}
