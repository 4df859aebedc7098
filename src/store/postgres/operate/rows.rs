//! Rows of a tracked table, written and read by plain SQL, as a program does that knows nothing of Freshet.
//!
//! Promise: each write is a transaction of its own, and is answered after its commit. The statements name the table,
//! never a partition; values are given as JSON objects with a member for each column that is written. Leaves to the caller
//! to know that the key's shard lies in this database.

use sqlx::{AssertSqlSafe, Connection as _, Row as _};

use crate::{
    record::{ShardId, Stamp},
    store::{
        Error,
        postgres::{failure, session::Session},
    },
};

/// A tracked table on a session of its own.
pub struct Rows {
    session: Session,
    /// The table's name, quoted, with its schema.
    table: String,
    /// The key column, quoted.
    key: String,
    key_kind: String,
    /// The version column, quoted.
    version: String,
}

/// What stands in a row, or that there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its stamp.
    pub stamp: Stamp,
    /// The text of the column that was asked for.
    pub text: Option<String>,
}

impl Rows {
    /// The table of `collection`.
    ///
    /// # Errors
    /// [`Error::Broken`] when it is not tracked there.
    pub async fn of(mut session: Session, collection: &str) -> Result<Self, Error> {
        let row = sqlx::query(
            "SELECT format('%I.%I', n.nspname, t.relname), quote_ident(c.key_column::text), c.key_kind,
                    quote_ident(c.version_column::text)
               FROM feed.collection c JOIN pg_class t ON t.oid = c.relation JOIN pg_namespace n ON n.oid = t.relnamespace
              WHERE c.name = $1",
        );
        let row = row.bind(collection).fetch_optional(&mut session.connection).await.map_err(failure::error)?;
        let row = row.ok_or_else(|| Error::broken(format!("find the tracked table {collection} in the database")))?;
        let text = |at: usize| row.try_get::<String, _>(at).map_err(failure::error);
        let (table, key, key_kind, version) = (text(0)?, text(1)?, text(2)?, text(3)?);
        Ok(Rows { session, table, key, key_kind, version })
    }

    /// Inserts the row `key`, or sets its `columns`, to the members of `value`; gives its stamp.
    ///
    /// # Errors
    /// What the database said; [`Error::Unavailable`] leaves open whether it happened.
    pub async fn put(&mut self, shard: ShardId, key: &str, columns: &[String], value: &str) -> Result<Stamp, Error> {
        let Rows { table, key: name, key_kind, .. } = self;
        let sql = format!(
            "INSERT INTO {table} ({name}, {}) SELECT $1::text::{key_kind}, {} FROM json_populate_record(NULL::{table}, $2::json) r
             ON CONFLICT ({name}) DO UPDATE SET {}",
            listed(columns, quoted),
            listed(columns, |column| format!("r.{}", quoted(column))),
            listed(columns, |column| format!("{0} = EXCLUDED.{0}", quoted(column))),
        );
        let stamp = self.write(sql, shard, key, value).await?;
        stamp.ok_or_else(|| Error::broken("find the row that was just written"))
    }

    /// Sets `columns` of the row `key` to the members of `value`; gives its stamp, or `None` if there is no such row.
    ///
    /// # Errors
    /// As [`Rows::put`].
    pub async fn update(
        &mut self,
        shard: ShardId,
        key: &str,
        columns: &[String],
        value: &str,
    ) -> Result<Option<Stamp>, Error> {
        let Rows { table, key: name, key_kind, .. } = self;
        let sql = format!(
            "UPDATE {table} t SET {} FROM json_populate_record(NULL::{table}, $2::json) r WHERE t.{name} = $1::text::{key_kind}",
            listed(columns, |column| format!("{0} = r.{0}", quoted(column))),
        );
        self.write(sql, shard, key, value).await
    }

    /// Writes, looks at the row's stamp in the same transaction, and commits. A trigger may give a row a later version
    /// than the one that `RETURNING` shows.
    async fn write(&mut self, sql: String, shard: ShardId, key: &str, value: &str) -> Result<Option<Stamp>, Error> {
        let look = format!(
            "SELECT s.gen, t.{} FROM {} t, feed.shard_state s WHERE t.{} = $1::text::{} AND s.shard = $2",
            self.version, self.table, self.key, self.key_kind
        );
        let mut transaction = self.session.connection.begin().await.map_err(failure::error)?;
        let written = sqlx::query(AssertSqlSafe(sql)).bind(key).bind(value).execute(&mut *transaction).await;
        if written.map_err(failure::error)?.rows_affected() == 0 {
            transaction.rollback().await.map_err(failure::error)?;
            return Ok(None);
        }
        let look = sqlx::query_as(AssertSqlSafe(look)).bind(key).bind(shard.0.cast_signed());
        let row: Option<(i64, i64)> = look.fetch_optional(&mut *transaction).await.map_err(failure::error)?;
        transaction.commit().await.map_err(failure::error)?;
        Ok(row.map(stamp))
    }

    /// Deletes the row `key` of `collection`; gives the deletion's stamp, or `None` if there was no such row.
    ///
    /// # Errors
    /// As [`Rows::put`].
    pub async fn delete(&mut self, shard: ShardId, collection: &str, key: &str) -> Result<Option<Stamp>, Error> {
        let sql = format!("DELETE FROM {} WHERE {} = $1::text::{}", self.table, self.key, self.key_kind);
        let look = "SELECT s.gen, t.version FROM feed.tomb t, feed.shard_state s
                     WHERE t.collection = $1 AND t.key = $2 AND s.shard = $3 ORDER BY t.version DESC LIMIT 1";
        let mut transaction = self.session.connection.begin().await.map_err(failure::error)?;
        let deleted = sqlx::query(AssertSqlSafe(sql)).bind(key).execute(&mut *transaction).await;
        if deleted.map_err(failure::error)?.rows_affected() == 0 {
            transaction.rollback().await.map_err(failure::error)?;
            return Ok(None);
        }
        let look = sqlx::query_as(look).bind(collection).bind(key).bind(shard.0.cast_signed());
        let row: Option<(i64, i64)> = look.fetch_optional(&mut *transaction).await.map_err(failure::error)?;
        transaction.commit().await.map_err(failure::error)?;
        Ok(row.map(stamp))
    }

    /// Deletes the rows `keys`, as far as they are there.
    ///
    /// # Errors
    /// As [`Rows::put`].
    pub async fn clear(&mut self, keys: &[String]) -> Result<(), Error> {
        let sql = format!("DELETE FROM {} WHERE {} = ANY ($1::text[]::{}[])", self.table, self.key, self.key_kind);
        let cleared = sqlx::query(AssertSqlSafe(sql)).bind(keys).execute(&mut self.session.connection).await;
        cleared.map(drop).map_err(failure::error)
    }

    /// What stands under each of `keys`, which belong to the shards beside them; of the values, `column`.
    ///
    /// # Errors
    /// What the database said.
    pub async fn read(&mut self, keys: &[(ShardId, &str)], column: &str) -> Result<Vec<Option<Standing>>, Error> {
        let sql = format!(
            "SELECT k.place, s.gen, t.{}, t.{}::text
               FROM unnest($1::text[]::{}[], $2::int[]) WITH ORDINALITY k (key, shard, place)
               JOIN {} t ON t.{} = k.key JOIN feed.shard_state s ON s.shard = k.shard",
            self.version,
            quoted(column),
            self.key_kind,
            self.table,
            self.key
        );
        let (shards, names): (Vec<i32>, Vec<&str>) =
            keys.iter().map(|(shard, key)| (shard.0.cast_signed(), *key)).unzip();
        let rows: Vec<(i64, i64, i64, Option<String>)> = sqlx::query_as(AssertSqlSafe(sql))
            .bind(names)
            .bind(shards)
            .fetch_all(&mut self.session.connection)
            .await
            .map_err(failure::error)?;
        let mut standing = vec![None; keys.len()];
        for (place, generation, version, text) in rows {
            let place = usize::try_from(place).unwrap_or_default().saturating_sub(1);
            standing[place] = Some(Standing { stamp: stamp((generation, version)), text });
        }
        Ok(standing)
    }

    /// Ends the session.
    pub async fn close(self) {
        self.session.close().await;
    }
}

fn stamp((generation, version): (i64, i64)) -> Stamp {
    Stamp::new(u32::try_from(generation).unwrap_or(u32::MAX), version.unsigned_abs())
}

fn listed(columns: &[String], shown: impl Fn(&str) -> String) -> String {
    columns.iter().map(|column| shown(column)).collect::<Vec<_>>().join(", ")
}

/// A name in quotes, as SQL wants it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
