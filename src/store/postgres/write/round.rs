//! One round of a group: the statements of what is pending, and what becomes of each that fails.

use std::collections::{HashSet, VecDeque};

use sqlx::{Row as _, postgres::PgRow};

use crate::record::ShardId;
use crate::store::postgres::{
    failure,
    pool::Pooled,
    read::generation,
    write::{
        feed::Feed,
        group::{Generations, Group, Placed, aborted},
        outcome::{Aborted, Outcome},
        pieces::{Piece, Said},
        script::{Returned, Script},
        shape::Kind,
        state::{State, first_try},
    },
};

impl Group<'_> {
    /// Runs the statements of `pieces` behind `script`, in one round trip as long as none of them fails. `mark` is the place
    /// of the statement in it that reads the newest mark.
    pub(super) async fn round(
        &mut self,
        pooled: &mut Pooled,
        feed: &Feed,
        mut pieces: VecDeque<Piece>,
        mut script: Script,
        mut mark: Option<usize>,
    ) -> Result<(), Aborted> {
        let mut carried_out = Vec::new();
        self.wait_for_rows(&mut script);
        loop {
            let begins = script.len();
            let said: Vec<Said> = pieces.iter().map(|piece| self.say(&mut script, pooled, feed, piece)).collect();
            self.wait_for_feed(&mut script, 1);
            let generations = feed.read_generations(&mut script, pooled);
            let Returned { rows, error } = script.run(pooled).await;
            if let Some(mark) = mark.take() {
                self.take_mark(rows.get(mark));
            }
            let done = said.iter().take_while(|said| said.end <= rows.len()).count();
            for (piece, said) in pieces.drain(..done).zip(&said) {
                let tombstones = said.tombstones.map_or(&[][..], |at| &rows[at]);
                self.take(&piece, &rows[said.writes], tombstones).map_err(|_| Aborted::Lost)?;
                self.check_tombstones(&piece, tombstones)?;
                carried_out.extend(piece.writes);
            }
            match error {
                None => {
                    self.take_generations(rows.get(generations))?;
                    return self.check_order(&carried_out);
                }
                Some(error) if rows.len() < begins => return Err(aborted(error)),
                Some(error) => {
                    let Some(failed) = pieces.pop_front() else { return Err(aborted(error)) };
                    script = self.fail(failed, error, &mut pieces)?;
                }
            }
        }
    }

    /// What a failed statement means, and the script that goes on behind it.
    fn fail(&mut self, failed: Piece, error: sqlx::Error, pieces: &mut VecDeque<Piece>) -> Result<Script, Aborted> {
        if !failure::is_refusal(&error) || failure::is_transient(&error) || failure::is_stale_schema(&error) {
            return Err(aborted(error));
        }
        let is_lock = failure::is_held(&error);
        if is_lock && failed.shape.is_plain {
            return Err(Aborted::Waited);
        }
        if is_lock && !self.mode.isolates_locks {
            // Where one key is being inserted others may be, too: they would be found one wait after the other.
            let insert = failed.shape.kind == Kind::Insert;
            let rest = pieces.iter().filter(|piece| insert && piece.shape.kind == Kind::Insert);
            let rest = rest.flat_map(|piece| piece.writes.iter().copied());
            return Err(Aborted::Locked { writes: failed.writes.into_iter().chain(rest).collect(), insert });
        }
        if !failed.has_savepoint {
            return Err(Aborted::Refused(error));
        }
        let is_insert = failed.shape.kind == Kind::Insert;
        if is_lock && !is_insert {
            // It waited for a row, or for its partition, where it waits for rows; else for its partition.
            for &at in &failed.writes {
                self.states[at] = if failed.shape.waits { State::Held } else { State::Locked };
            }
        } else if let &[at] = failed.writes.as_slice() {
            self.states[at] = if is_lock { State::Locked } else { State::Failed(Outcome::Refused(error)) };
        } else {
            let Piece { statements, shape, mut writes, .. } = failed;
            let second = writes.split_off(writes.len() / 2);
            for writes in [second, writes] {
                pieces.push_front(Piece { has_savepoint: true, ..Piece::new(statements.clone(), &shape, writes) });
            }
        }
        let mut script = Script::default();
        script.say("ROLLBACK TO SAVEPOINT piece");
        script.say("RELEASE SAVEPOINT piece");
        Ok(script)
    }

    fn take_generations(&mut self, rows: Option<&Vec<PgRow>>) -> Result<(), Aborted> {
        let row = rows.and_then(|rows| rows.first()).ok_or(Aborted::Lost)?;
        let (Ok(shards), Ok(counted)) = (row.try_get::<Vec<i32>, _>(0), row.try_get::<Vec<i64>, _>(1)) else {
            return Err(Aborted::Lost);
        };
        self.newest_tombstone = row.try_get::<Option<i64>, _>(2).ok().flatten().unwrap_or(0).unsigned_abs();
        let now: Generations = shards
            .iter()
            .zip(counted)
            .map(|(shard, counted)| (ShardId(shard.unsigned_abs()), generation(counted)))
            .collect();
        let asks = |placed: &&Placed| placed.write.if_stamp.is_some_and(|stamp| stamp.version > 0);
        let was_wrong =
            self.writes.iter().filter(asks).any(|placed| self.generations.get(&placed.shard) != now.get(&placed.shard));
        if now != self.generations {
            self.seen.lock().clone_from(&now);
            self.generations = now;
        }
        if was_wrong { Err(Aborted::Superseded) } else { Ok(()) }
    }

    /// Refuses a round in which a write was carried out while an earlier one of its key was not. What follows a held one
    /// is held.
    fn check_order(&mut self, carried_out: &[usize]) -> Result<(), Aborted> {
        let carried_out: HashSet<usize> = carried_out.iter().copied().collect();
        let (mut waiting, mut held) = (HashSet::new(), HashSet::new());
        for (at, (placed, state)) in self.writes.iter().zip(&mut self.states).enumerate() {
            let id = &placed.write.id;
            match state {
                State::Pending(_) if held.contains(id) => *state = State::Held,
                // What was found of it, with the write before it not yet carried out, may be otherwise then.
                State::Pending(_) if waiting.contains(id) => *state = first_try(placed, self.mode),
                State::Pending(_) => drop(waiting.insert(id)),
                State::Held | State::Locked => drop(held.insert(id)),
                _ if carried_out.contains(&at) && (waiting.contains(id) || held.contains(id)) => {
                    return Err(Aborted::Disorder);
                }
                _ => {}
            }
        }
        Ok(())
    }
}
