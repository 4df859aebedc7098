//! Idempotency keys: a write that comes again is answered as before, in the transaction that would carry it out.

use std::collections::HashMap;

use crate::{
    record::Stamp,
    store::{
        Error, Written,
        postgres::group::{Batch, Group, Outcome, generation},
    },
};

impl Group<'_> {
    /// The answers to writes whose idempotency key was met before.
    pub(super) async fn remembered(
        &mut self,
        batch: &Batch,
    ) -> Result<HashMap<usize, Result<Written, Error>>, sqlx::Error> {
        let tokens = tokens(batch);
        if tokens.is_empty() {
            return Ok(HashMap::new());
        }
        let keys: Vec<&str> = tokens.iter().map(|(_, key, _, _)| *key).collect();
        let texts: Vec<&str> = tokens.iter().map(|(_, _, token, _)| *token).collect();
        let rows: Vec<(String, String, String, i64, i64)> = sqlx::query_as(
            "SELECT i.key, i.token, i.fingerprint, i.gen, i.version FROM unnest($2::text[], $3::text[]) w (key, token)
               JOIN feed.idempotency i ON i.collection = $1 AND i.key = w.key AND i.token = w.token",
        )
        .bind(&batch.collection.name)
        .bind(keys)
        .bind(texts)
        .fetch_all(&mut *self.transaction)
        .await?;
        let mut answers = HashMap::new();
        for (number, key, token, fingerprint) in tokens {
            if let Some((_, _, known, gen_, version)) = rows.iter().find(|row| row.0 == key && row.1 == token) {
                let stamp = Stamp::new(generation(*gen_), version.unsigned_abs());
                let again = Written { stamp, installed: None };
                answers.insert(number, if known == fingerprint { Ok(again) } else { Err(Error::TokenReused) });
            }
        }
        Ok(answers)
    }

    /// Records the idempotency keys of the writes answered since `first`.
    pub(super) async fn remember(&mut self, batch: &Batch, first: usize) -> Result<(), sqlx::Error> {
        for (number, key, token, fingerprint) in tokens(batch) {
            let stamp = self.outcomes[first..].iter().find_map(|(done, outcome)| match outcome {
                Outcome::Done(Ok(written)) if *done == number => Some(written.stamp),
                _ => None,
            });
            let Some(stamp) = stamp else { continue };
            sqlx::query(
                "INSERT INTO feed.idempotency (collection, key, token, fingerprint, gen, version)
                 VALUES ($1, $2, $3, $4, $5, $6)",
            )
            .bind(&batch.collection.name)
            .bind(key)
            .bind(token)
            .bind(fingerprint)
            .bind(i64::from(stamp.generation))
            .bind(stamp.version.cast_signed())
            .execute(&mut *self.transaction)
            .await?;
        }
        Ok(())
    }
}

/// The writes that have an idempotency key: number, record key, token, fingerprint.
fn tokens(batch: &Batch) -> Vec<(usize, &str, &str, &str)> {
    batch
        .writes
        .iter()
        .filter_map(|(number, write)| {
            let token = write.token.as_ref()?;
            Some((*number, write.id.key.as_str(), token.key.as_str(), token.fingerprint.as_str()))
        })
        .collect()
}
