//! The statements of a group on the rows of one partition.

use std::collections::HashMap;

use bytes::Bytes;
use sqlx::{Row as _, postgres::PgRow};

use crate::{
    record::{Position, Stamp, State},
    store::{
        Written,
        postgres::{
            group::{Batch, Group, Others, Upsert, generation},
            read::in_order,
        },
    },
};

/// A row as a statement of the transaction found it; by default one that was not looked for.
#[derive(Default)]
pub(super) struct Found {
    pub(super) position: Position,
    pub(super) generation: u32,
    version: u64,
    pub(super) value: Option<Bytes>,
    /// Somebody else holds it.
    pub(super) held: bool,
}

impl Found {
    pub(super) fn state(&self) -> State {
        State { stamp: Stamp::new(self.generation, self.version), value: self.value.clone() }
    }

    pub(super) fn written(&self) -> Written {
        Written {
            stamp: Stamp::new(self.generation, self.version),
            installed: Some((self.value.clone(), self.position)),
        }
    }

    /// What a read or lock says of a key.
    fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Found {
            position: Position(row.try_get::<Option<i64>, _>(0)?.unwrap_or(0).unsigned_abs()),
            generation: generation(row.try_get(2)?),
            version: row.try_get::<Option<i64>, _>(4)?.unwrap_or(0).unsigned_abs(),
            value: value(row, 5)?,
            held: row.try_get(6)?,
        })
    }

    /// What an insert or update returns: the row's key, and what it is now.
    fn returned(row: &PgRow, (position, generation): (Position, u32)) -> Result<(String, Self), sqlx::Error> {
        let version = row.try_get::<i64, _>(1)?.unsigned_abs();
        Ok((row.try_get(0)?, Found { position, generation, version, value: value(row, 2)?, held: false }))
    }
}

fn value(row: &PgRow, column: usize) -> Result<Option<Bytes>, sqlx::Error> {
    Ok(row.try_get::<Option<&str>, _>(column)?.map(|text| Bytes::copy_from_slice(text.as_bytes())))
}

impl Group<'_> {
    /// Looks rows up by `statement`, a read or a lock: one for each key, in their order; none where the shard is not here.
    pub(super) async fn find(
        &mut self,
        statement: impl sqlx::SqlSafeStr,
        keys: &[&str],
    ) -> Result<Vec<Option<Found>>, sqlx::Error> {
        let rows = sqlx::query(statement).bind(keys).fetch_all(&mut *self.transaction).await?;
        in_order(keys.len(), &rows, Found::read)
    }

    /// Inserts `rows`; those whose key is taken are not among what is returned.
    pub(super) async fn insert(
        &mut self,
        batch: &Batch,
        given: &[usize],
        rows: &[Upsert],
    ) -> Result<HashMap<String, Found>, sqlx::Error> {
        let texts: Vec<&str> = rows.iter().map(|(_, _, text)| text.as_str()).collect();
        let insert = sqlx::query(batch.statements.insert(given)).bind(texts);
        let returned = insert.fetch_all(&mut *self.transaction).await?;
        if returned.is_empty() {
            return Ok(HashMap::new());
        }
        let (position, counted, tombstone): (Option<i64>, i64, Option<i64>) =
            sqlx::query_as(batch.statements.head()).fetch_one(&mut *self.transaction).await?;
        let read_at = (Position(position.unwrap_or(0).unsigned_abs()), generation(counted));
        let inserted: HashMap<_, _> =
            returned.iter().map(|row| Found::returned(row, read_at)).collect::<Result<_, _>>()?;
        // Below a tombstone, which may be its own key's, a row is stamped anew after the statement returned it.
        let newest = tombstone.unwrap_or(0).unsigned_abs();
        if inserted.values().all(|found| found.version > newest) {
            return Ok(inserted);
        }
        let keys: Vec<&str> = inserted.keys().map(String::as_str).collect();
        let found = self.find(batch.statements.read(), &keys).await?;
        Ok(keys.into_iter().zip(found).filter_map(|(key, found)| Some((key.to_owned(), found?))).collect())
    }

    /// Updates `rows`, which are locked.
    pub(super) async fn update(
        &mut self,
        batch: &Batch,
        others: Others,
        given: &[usize],
        rows: &[Upsert],
        read_at: (Position, u32),
    ) -> Result<HashMap<String, Found>, sqlx::Error> {
        let texts: Vec<&str> = rows.iter().map(|(_, _, text)| text.as_str()).collect();
        let update = sqlx::query(batch.statements.update(others, given)).bind(texts);
        let returned = update.fetch_all(&mut *self.transaction).await?;
        returned.iter().map(|row| Found::returned(row, read_at)).collect()
    }

    /// Deletes rows by key; returns what stands in their places, in the order of the keys.
    pub(super) async fn delete(&mut self, batch: &Batch, keys: &[&str]) -> Result<Vec<Option<Found>>, sqlx::Error> {
        sqlx::query(batch.statements.delete()).bind(keys).execute(&mut *self.transaction).await?;
        self.find(batch.statements.read(), keys).await
    }
}
