//! What a group writes to the feed's own tables, and reads there: marks, generations, tombstones, outbox, idempotency
//! keys.
//!
//! A node logs its own updates: the trigger that captures an UPDATE took 14 to 27 us of a row's 36 to 60, once for each
//! partition, and is not called in a session that sets `freshet.logs`, whose role may insert into the outbox, at trigger
//! depth 0 (`migrations/0006_write.sql`, `0007_logs.sql`). The group writes the outbox by one statement in the same
//! transaction. A role without that right is captured whatever it sets, and so is what an application's triggers change
//! beside a node's update (`tests/it/capture/rights.rs`). Inserts and deletes are captured by the triggers for every
//! writer. The trigger that gives versions (4 to 11 us) stays for every writer: without it a mistake could give a row an
//! older version.
//!
//! Idempotency keys are written without looking for them first. Their primary key refuses one that was used; the group
//! then starts over, and it and the next 64 groups look first. A write that is refused or meets a conflict may be its own
//! repeat (the last one sold, a record that had to be absent), so its key is looked up after the statement that judged it
//! (`tests/it/write_path/repeats.rs`).

use sqlx::{Row as _, postgres::PgRow};

use crate::{
    record::Stamp,
    store::{
        Token,
        postgres::{
            pool::Pooled,
            read::generation,
            write::{
                group::Placed,
                script::{Argument, Elements, Prepared, Script},
            },
        },
    },
};

/// The statements, prepared by each connection that uses them.
pub struct Feed {
    mark: Prepared,
    generations: Prepared,
    tombstones: Prepared,
    met: Prepared,
    remember: Prepared,
    /// `None` where this role may not write the outbox, and the triggers do.
    log: Option<Prepared>,
}

impl Feed {
    /// `logs` says whether the sessions log their updates themselves.
    pub fn new(logs: bool) -> Self {
        Feed {
            mark: fixed("SELECT (SELECT n FROM feed.mark ORDER BY n DESC LIMIT 1), (SELECT last_value FROM feed.vseq)"),
            generations: fixed(
                "SELECT array_agg(shard), array_agg(gen), (SELECT version FROM feed.tomb ORDER BY version DESC LIMIT 1) \
                 FROM feed.shard_state",
            ),
            tombstones: Prepared::new(
                "text[], text[]",
                "SELECT k.number, (SELECT t.version FROM feed.tomb t WHERE t.collection = ($1)[1] AND t.key = k.key \
                 ORDER BY t.version DESC LIMIT 1) FROM unnest($2) WITH ORDINALITY k (key, number)",
            ),
            // LIMIT keeps it a look into the index for each: a plan made while the table was small would read all of it.
            met: Prepared::new(
                "bigint[], text[], text[], text[]",
                "SELECT w.place, i.fingerprint, i.gen, i.version FROM unnest($1, $2, $3, $4) w (place, collection, key, token) \
                 CROSS JOIN LATERAL (SELECT * FROM feed.idempotency i WHERE i.collection = w.collection AND i.key = w.key \
                 AND i.token = w.token LIMIT 1) i",
            ),
            remember: Prepared::new(
                "text[], text[], text[], text[], bigint[], bigint[]",
                "INSERT INTO feed.idempotency (collection, key, token, fingerprint, gen, version) \
                 SELECT * FROM unnest($1, $2, $3, $4, $5, $6)",
            ),
            log: logs.then(|| {
                Prepared::new(
                    "text[], text[], bigint[]",
                    "INSERT INTO feed.outbox (collection, key, version, op) SELECT w.*, 'U' FROM unnest($1, $2, $3) w",
                )
            }),
        }
    }

    /// Reads the newest mark that the snapshot shows, and the newest version.
    pub fn read_mark(&self, script: &mut Script, pooled: &Pooled) -> usize {
        script.execute(pooled, &self.mark, Vec::new())
    }

    /// Reads the generation of each shard, and the version of the newest tombstone.
    pub fn read_generations(&self, script: &mut Script, pooled: &Pooled) -> usize {
        script.execute(pooled, &self.generations, Vec::new())
    }

    /// Reads the version of the newest tombstone of each of `keys`, by its number from 1 on.
    pub fn read_tombstones(&self, script: &mut Script, pooled: &Pooled, collection: &str, keys: Elements) -> usize {
        let mut name = Elements::default();
        name.push(Some(collection));
        script.execute(pooled, &self.tombstones, vec![name.into(), keys.into()])
    }

    /// Looks for idempotency keys that were met before, of writes with their places.
    pub fn look_up<'w>(
        &self,
        script: &mut Script,
        pooled: &Pooled,
        writes: impl Iterator<Item = (usize, &'w Placed)>,
    ) -> usize {
        let mut arrays: [Elements; 4] = Default::default();
        for (place, placed) in writes {
            let Some(token) = &placed.write.token else { continue };
            arrays[0].push(Some(&place.to_string()));
            arrays[1].push(Some(&placed.statements.table().collection.name));
            arrays[2].push(Some(placed.write.id.key.as_str()));
            arrays[3].push(Some(&token.key));
        }
        script.execute(pooled, &self.met, arrays.map(Argument::from).into())
    }

    /// A row of [`Self::look_up`]: the write's place, the stamp it was answered with, the fingerprint it had.
    pub fn met(row: &PgRow) -> Result<(usize, Stamp, String), sqlx::Error> {
        let place = usize::try_from(row.try_get::<i64, _>(0)?).unwrap_or(usize::MAX);
        let stamp = Stamp::new(generation(row.try_get(2)?), row.try_get::<i64, _>(3)?.unsigned_abs());
        Ok((place, stamp, row.try_get(1)?))
    }

    /// Writes idempotency keys down, with the stamps that their writes are answered with.
    pub fn remember(&self, script: &mut Script, pooled: &Pooled, tokens: &[(&Placed, &Token, Stamp)]) {
        if tokens.is_empty() {
            return;
        }
        let mut arrays: [Elements; 6] = Default::default();
        for (placed, token, stamp) in tokens {
            arrays[0].push(Some(&placed.statements.table().collection.name));
            arrays[1].push(Some(placed.write.id.key.as_str()));
            arrays[2].push(Some(&token.key));
            arrays[3].push(Some(&token.fingerprint));
            arrays[4].push(Some(&stamp.generation.to_string()));
            arrays[5].push(Some(&stamp.version.to_string()));
        }
        script.execute(pooled, &self.remember, arrays.map(Argument::from).into());
    }

    /// Logs updates in the outbox, with the versions they ended on.
    pub fn log<'w>(&self, script: &mut Script, pooled: &Pooled, changed: impl Iterator<Item = (&'w Placed, u64)>) {
        let Some(log) = &self.log else { return };
        let mut arrays: [Elements; 3] = Default::default();
        let mut is_empty = true;
        for (placed, version) in changed {
            is_empty = false;
            arrays[0].push(Some(&placed.statements.table().collection.name));
            arrays[1].push(Some(placed.write.id.key.as_str()));
            arrays[2].push(Some(&version.to_string()));
        }
        if !is_empty {
            script.execute(pooled, log, arrays.map(Argument::from).into());
        }
    }
}

fn fixed(sql: &str) -> Prepared {
    Prepared::new("", sql)
}
