//! Idempotency keys: a write that comes again is answered as before, in the transaction that would carry it out.

use std::collections::HashMap;

use crate::{
    record::Stamp,
    store::{
        Error, Written,
        postgres::group::{Batch, Group, Numbered, Outcome, generation},
    },
};

impl Group<'_> {
    /// The answers to those of `writes` whose idempotency key was met before.
    pub(super) async fn remembered(
        &mut self,
        batch: &Batch,
        writes: &[&Numbered],
    ) -> Result<HashMap<usize, Result<Written, Error>>, sqlx::Error> {
        let tokens = tokens(writes);
        if tokens.is_empty() {
            return Ok(HashMap::new());
        }
        let keys: Vec<&str> = tokens.iter().map(|(_, key, _, _)| *key).collect();
        let texts: Vec<&str> = tokens.iter().map(|(_, _, token, _)| *token).collect();
        // LIMIT keeps the join a look into the index for each: a plan made while the table was small would read all of it.
        let rows: Vec<(String, String, String, i64, i64)> = sqlx::query_as(
            "SELECT i.key, i.token, i.fingerprint, i.gen, i.version FROM unnest($2::text[], $3::text[]) w (key, token)
              CROSS JOIN LATERAL (SELECT * FROM feed.idempotency i
                                   WHERE i.collection = $1 AND i.key = w.key AND i.token = w.token LIMIT 1) i",
        )
        .bind(&batch.collection.name)
        .bind(keys)
        .bind(texts)
        .fetch_all(&mut *self.transaction)
        .await?;
        let known: HashMap<_, _> = rows.iter().map(|row| ((row.0.as_str(), row.1.as_str()), row)).collect();
        let mut answers = HashMap::new();
        for (number, key, token, fingerprint) in tokens {
            if let Some((_, _, known, gen_, version)) = known.get(&(key, token)) {
                let stamp = Stamp::new(generation(*gen_), version.unsigned_abs());
                let again = Written { stamp, installed: None };
                answers.insert(number, if known == fingerprint { Ok(again) } else { Err(Error::TokenReused) });
            }
        }
        Ok(answers)
    }

    /// Records the idempotency keys of those of `writes` that were carried out, as the outcomes from `first` on say.
    pub(super) async fn remember(
        &mut self,
        batch: &Batch,
        writes: &[&Numbered],
        first: usize,
    ) -> Result<(), sqlx::Error> {
        let tokens = tokens(writes);
        if tokens.is_empty() {
            return Ok(());
        }
        let done: HashMap<usize, Stamp> = self.outcomes[first..]
            .iter()
            .filter_map(|(number, outcome)| match outcome {
                Outcome::Done(Ok(written)) => Some((*number, written.stamp)),
                _ => None,
            })
            .collect();
        let (mut keys, mut texts, mut fingerprints) = (Vec::new(), Vec::new(), Vec::new());
        let (mut generations, mut versions) = (Vec::new(), Vec::new());
        for (number, key, token, fingerprint) in tokens {
            let Some(stamp) = done.get(&number) else { continue };
            keys.push(key);
            texts.push(token);
            fingerprints.push(fingerprint);
            generations.push(i64::from(stamp.generation));
            versions.push(stamp.version.cast_signed());
        }
        if keys.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "INSERT INTO feed.idempotency (collection, key, token, fingerprint, gen, version)
             SELECT $1, w.* FROM unnest($2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[]) w",
        )
        .bind(&batch.collection.name)
        .bind(keys)
        .bind(texts)
        .bind(fingerprints)
        .bind(generations)
        .bind(versions)
        .execute(&mut *self.transaction)
        .await?;
        Ok(())
    }
}

/// Those of `writes` that have an idempotency key: number, record key, token, fingerprint.
fn tokens<'w>(writes: &[&'w Numbered]) -> Vec<(usize, &'w str, &'w str, &'w str)> {
    let token = |(number, write): &&'w Numbered| {
        let token = write.token.as_ref()?;
        Some((*number, write.id.key.as_str(), token.key.as_str(), token.fingerprint.as_str()))
    };
    writes.iter().filter_map(token).collect()
}
