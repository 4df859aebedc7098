//! One group of writes in one transaction.
//!
//! A group takes two round trips, whatever shards it touches: one script that begins the transaction and carries the writes
//! out, a statement for each shard and shape, and one that writes outbox and idempotency keys and commits. Writes of one
//! key stand in the order they came, each in a later statement than the one before.
//!
//! Promise: a write that the database refuses is as one that was not there. What can be told beforehand, the statement
//! leaves out; what makes a statement fail makes the group start over with a savepoint before each statement, and the
//! failed one is halved until the write at fault is alone.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use sqlx::{Row as _, postgres::PgRow};

use crate::{
    record::{Position, RecordId, Stamp},
    resilience::Deadline,
    store::{
        Error, ShardId, Write, Written,
        postgres::{
            failure,
            pool::Pooled,
            read::generation,
            statement::Statements,
            write::{
                feed::Feed,
                pieces::{Piece, Said},
                script::{Returned, Script},
                shape::Kind,
                state::{State, first_try},
            },
        },
    },
};

/// A commit that was sent is waited for at least so long, past any deadline: a late answer is worth more than none.
const COMMIT_LIMIT: Duration = Duration::from_secs(1);
/// How often the writes left are tried again in one transaction, after their rows came and went.
const ROUNDS_MAX: usize = 8;

/// A write of a group, with where it goes.
#[derive(Clone)]
pub struct Placed {
    pub write: Arc<Write>,
    pub shard: ShardId,
    pub statements: Arc<Statements>,
    /// For a statement that reaches rows of all shards.
    pub whole: Arc<Statements>,
}

/// How a group is carried out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mode {
    /// Each statement has a savepoint, so that a failure costs its own writes only.
    pub is_careful: bool,
    /// Each script holds one write of a key at most.
    pub is_stepwise: bool,
    /// Idempotency keys are looked up before anything is written.
    pub looks_up: bool,
    /// A row that another transaction holds is waited for, as long as the session's `lock_timeout` lets it.
    pub waits: bool,
    /// Keys that are written once are written by plain updates, as long as no row is held.
    pub is_plain: bool,
    /// A statement that waits for any other lock in vain costs its own writes only.
    pub isolates_locks: bool,
    /// How long locks are waited for, in milliseconds, if not as long as the session says.
    pub lock_limit_ms: Option<u32>,
}

/// What became of a write.
#[derive(Debug)]
pub enum Outcome {
    /// It is answered.
    Done(Result<Written, Error>),
    /// The database refused it.
    Refused(sqlx::Error),
    /// Another transaction holds its row.
    Held,
    /// Another transaction holds its partition, or inserts its key.
    Locked,
}

/// Why nothing of a group was committed.
#[derive(Debug)]
pub enum Aborted {
    /// A statement failed: start over in careful mode.
    Refused(sqlx::Error),
    /// These writes wait for a lock on a partition or, where they insert, on a key that another transaction inserts.
    Locked {
        /// By their places in the group.
        writes: Vec<usize>,
        insert: bool,
    },
    /// A plain update waits for a row or a partition: start over without plain ones.
    Waited,
    /// A write was carried out before an earlier one of its key: start over stepwise.
    Disorder,
    /// An idempotency key was met before: start over with a look at them.
    Repeated,
    /// The generation of a shard rose: start over.
    Superseded,
    /// The commit itself was refused.
    CommitRefused(sqlx::Error),
    /// The connection failed before the commit was sent.
    Lost,
    /// Time ran out before the commit was sent.
    Late,
    /// The connection failed, or fell silent, while committing.
    Unknown,
}

/// The generations that shards are in, as the last transaction saw them; `if_stamp` is judged by them.
pub type SeenGenerations = Mutex<Generations>;

type Generations = HashMap<ShardId, u32>;

/// Carries `writes` out in one transaction, all but its commit, by `deadline`.
///
/// # Errors
/// [`Aborted`]: nothing will be committed. After `Lost` and `Late` the connection must be closed; after the others the
/// transaction is rolled back.
///
/// # Cancel safety
/// Dropped, nothing happens; the connection must be closed then.
pub async fn stage<'g>(
    pooled: &mut Pooled,
    feed: &Feed,
    writes: &'g [Placed],
    mode: Mode,
    generations: &'g SeenGenerations,
    deadline: Deadline,
) -> Result<Staged<'g>, Aborted> {
    let mut group = Group::new(writes, mode, generations);
    let staged = deadline.limit(group.stage(pooled, feed)).await.map_err(|_| Aborted::Late)?;
    match staged {
        Ok(()) => Ok(Staged { group }),
        Err(Aborted::Lost) => Err(Aborted::Lost),
        Err(aborted) => Err(roll_back(pooled, deadline, aborted).await),
    }
}

/// A transaction that is to be committed.
pub struct Staged<'g> {
    group: Group<'g>,
}

impl Staged<'_> {
    /// Commits. Returns an outcome for each write, in their order. The commit is waited for by `deadline`, or for
    /// [`COMMIT_LIMIT`] if that is longer.
    ///
    /// # Errors
    /// [`Aborted`]: nothing was committed. After `Unknown` the outcome is unknown, and the connection must be closed.
    pub async fn commit(self, pooled: &mut Pooled, feed: &Feed, deadline: Deadline) -> Result<Vec<Outcome>, Aborted> {
        let script = self.group.last_script(pooled, feed);
        let answered = Deadline::after(deadline.left().max(COMMIT_LIMIT)).limit(script.run(pooled)).await;
        match answered.map_err(|_| Aborted::Unknown)?.error {
            None => Ok(self.group.outcomes()),
            Some(error) if failure::is_refusal(&error) => {
                let is_repeated = failure::is_repeated_token(&error);
                let aborted = if is_repeated { Aborted::Repeated } else { Aborted::CommitRefused(error) };
                Err(roll_back(pooled, deadline, aborted).await)
            }
            Some(_) => Err(Aborted::Unknown),
        }
    }
}

async fn roll_back(pooled: &mut Pooled, deadline: Deadline, aborted: Aborted) -> Aborted {
    let mut script = Script::default();
    script.say("ROLLBACK");
    match deadline.limit(script.run(pooled)).await {
        Ok(Returned { error: None, .. }) => aborted,
        Ok(_) => Aborted::Lost,
        Err(_) => Aborted::Late,
    }
}

/// A transaction under way, and what is known of its writes.
pub(super) struct Group<'g> {
    pub(super) writes: &'g [Placed],
    pub(super) mode: Mode,
    seen: &'g SeenGenerations,
    pub(super) generations: Generations,
    /// One for each write.
    pub(super) states: Vec<State>,
    position: Position,
    /// The newest version before the group.
    first_version: u64,
    /// The version of the newest tombstone, read behind the inserts.
    newest_tombstone: u64,
}

impl<'g> Group<'g> {
    fn new(writes: &'g [Placed], mode: Mode, seen: &'g SeenGenerations) -> Self {
        let states = writes.iter().map(|placed| first_try(placed, mode));
        Group {
            states: states.collect(),
            writes,
            mode,
            seen,
            generations: seen.lock().clone(),
            position: Position::default(),
            first_version: 0,
            newest_tombstone: 0,
        }
    }

    /// Everything but the last script.
    async fn stage(&mut self, pooled: &mut Pooled, feed: &Feed) -> Result<(), Aborted> {
        let mut script = Script::default();
        script.say("BEGIN");
        if let Some(limit) = self.mode.lock_limit_ms {
            script.say(&format!("SET LOCAL lock_timeout = {limit}"));
        }
        let mark = feed.read_mark(&mut script, pooled);
        if self.mode.looks_up {
            let met = feed.look_up(&mut script, pooled, self.writes.iter().enumerate());
            let rows = returned(script.run(pooled).await)?;
            self.take_mark(rows.get(mark));
            self.take_met(rows.get(met))?;
            script = Script::default();
        }
        let mut mark = (!self.mode.looks_up).then_some(mark);
        for round in 0..ROUNDS_MAX {
            let pieces = self.pieces();
            if pieces.is_empty() && round > 0 {
                break;
            }
            self.round(pooled, feed, pieces, std::mem::take(&mut script), mark.take()).await?;
            // What is left is written by statements that tell why not.
            self.mode.is_plain = false;
        }
        for state in &mut self.states {
            if matches!(state, State::Pending(_)) {
                *state = State::Held;
            }
        }
        self.look_refused_up(pooled, feed).await?;
        self.read_stamped_anew(pooled).await
    }

    /// Looks up the idempotency keys of writes that were not carried out: what refuses a write may be what it did itself
    /// when it came before. Behind the statement that judged it, so that it is seen who did.
    async fn look_refused_up(&mut self, pooled: &mut Pooled, feed: &Feed) -> Result<(), Aborted> {
        let is_refused = |(at, placed): &(usize, &Placed)| {
            placed.write.token.is_some() && matches!(self.states[*at], State::Conflict { .. } | State::Failed(_))
        };
        let refused: Vec<(usize, &Placed)> = self.writes.iter().enumerate().filter(is_refused).collect();
        if refused.is_empty() {
            return Ok(());
        }
        let mut script = Script::default();
        let met = feed.look_up(&mut script, pooled, refused.into_iter());
        let rows = returned(script.run(pooled).await)?;
        self.take_met(rows.get(met))
    }

    fn take_mark(&mut self, rows: Option<&Vec<PgRow>>) {
        let Some(row) = rows.and_then(|rows| rows.first()) else { return };
        let number = |column| row.try_get::<Option<i64>, _>(column).ok().flatten().unwrap_or(0).unsigned_abs();
        (self.position, self.first_version) = (Position(number(0)), number(1));
    }

    /// Answers the writes whose idempotency key was met before.
    fn take_met(&mut self, rows: Option<&Vec<PgRow>>) -> Result<(), Aborted> {
        for row in rows.into_iter().flatten() {
            let (place, stamp, fingerprint) = Feed::met(row).map_err(|_| Aborted::Lost)?;
            let token = self.writes.get(place).and_then(|placed| placed.write.token.as_ref());
            let is_same = token.is_some_and(|token| token.fingerprint == fingerprint);
            self.states[place] = State::Repeated { stamp, is_same };
        }
        Ok(())
    }

    /// Runs the statements of `pieces` behind `script`, in one round trip as long as none of them fails. `mark` is the place
    /// of the statement in it that reads the newest mark.
    async fn round(
        &mut self,
        pooled: &mut Pooled,
        feed: &Feed,
        mut pieces: VecDeque<Piece>,
        mut script: Script,
        mut mark: Option<usize>,
    ) -> Result<(), Aborted> {
        let mut carried_out = Vec::new();
        loop {
            let said: Vec<Said> = pieces.iter().map(|piece| self.say(&mut script, pooled, feed, piece)).collect();
            let generations = feed.read_generations(&mut script, pooled);
            let Returned { rows, error } = script.run(pooled).await;
            if let Some(mark) = mark.take() {
                self.take_mark(rows.get(mark));
            }
            let done = said.iter().take_while(|said| said.end <= rows.len()).count();
            for (piece, said) in pieces.drain(..done).zip(&said) {
                let tombstones = said.tombstones.map_or(&[][..], |at| &rows[at]);
                self.take(&piece, &rows[said.writes], tombstones).map_err(|_| Aborted::Lost)?;
                carried_out.extend(piece.writes);
            }
            match error {
                None => {
                    self.take_generations(rows.get(generations))?;
                    return self.check_order(&carried_out);
                }
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

    /// Reads those inserted rows again that lie below a tombstone: they may have been stamped anew after they were
    /// returned.
    async fn read_stamped_anew(&mut self, pooled: &mut Pooled) -> Result<(), Aborted> {
        for at in 0..self.states.len() {
            let State::Written { version, kind: Kind::Insert, .. } = self.states[at] else { continue };
            let placed = &self.writes[at];
            let is_followed = || self.writes[at + 1..].iter().any(|later| later.write.id == placed.write.id);
            if version > self.newest_tombstone || is_followed() {
                continue;
            }
            let read = sqlx::query(placed.statements.read()).bind(vec![placed.write.id.key.as_str()]);
            let row = read.fetch_one(&mut pooled.connection).await.map_err(aborted)?;
            let read = || -> Result<State, sqlx::Error> {
                let version = row.try_get::<Option<i64>, _>(4)?.unwrap_or(0).unsigned_abs();
                let value = row.try_get::<Option<&str>, _>(5)?.map(|text| Bytes::copy_from_slice(text.as_bytes()));
                Ok(State::Written { version, value, kind: Kind::Insert })
            };
            self.states[at] = read().map_err(|_| Aborted::Lost)?;
        }
        Ok(())
    }

    /// Outbox, idempotency keys, commit.
    fn last_script(&self, pooled: &Pooled, feed: &Feed) -> Script {
        let mut script = Script::default();
        let mut changed: HashMap<&RecordId, (usize, u64)> = HashMap::new();
        let mut tokens = Vec::new();
        for (at, (placed, state)) in self.writes.iter().zip(&self.states).enumerate() {
            let version = match *state {
                State::Written { version, kind, .. } => {
                    // A version from before the group is that of an update that changed nothing.
                    if matches!(kind, Kind::Replace | Kind::Patch) && version > self.first_version {
                        changed.insert(&placed.write.id, (at, version));
                    }
                    version
                }
                State::Unchanged { version } => version,
                _ => continue,
            };
            if let Some(token) = &placed.write.token {
                tokens.push((placed, token, self.stamp(placed, version)));
            }
        }
        let changed = changed.into_values().map(|(at, version)| (&self.writes[at], version));
        feed.log(&mut script, pooled, changed);
        feed.remember(&mut script, pooled, &tokens);
        script.say("COMMIT");
        script
    }

    fn stamp(&self, placed: &Placed, version: u64) -> Stamp {
        Stamp::new(self.generations.get(&placed.shard).copied().unwrap_or_default(), version)
    }

    fn outcomes(self) -> Vec<Outcome> {
        let stamps: Vec<Stamp> = self
            .writes
            .iter()
            .zip(&self.states)
            .map(|(placed, state)| match *state {
                State::Written { version, .. } | State::Unchanged { version } | State::Conflict { version } => {
                    self.stamp(placed, version)
                }
                _ => Stamp::ABSENT,
            })
            .collect();
        let done = |stamp, value| Outcome::Done(Ok(Written { stamp, installed: Some((value, self.position)) }));
        self.states
            .into_iter()
            .zip(stamps)
            .map(|(state, stamp)| match state {
                State::Written { value, .. } => done(stamp, value),
                State::Unchanged { .. } => done(stamp, None),
                State::Conflict { .. } => Outcome::Done(Err(Error::Conflict { current: stamp })),
                State::Repeated { stamp, is_same: true } => Outcome::Done(Ok(Written { stamp, installed: None })),
                State::Repeated { .. } => Outcome::Done(Err(Error::TokenReused)),
                State::Failed(outcome) => outcome,
                State::Pending(_) | State::Held => Outcome::Held,
                State::Locked => Outcome::Locked,
            })
            .collect()
    }
}

/// The rows of a script that may not fail.
fn returned(returned: Returned) -> Result<Vec<Vec<PgRow>>, Aborted> {
    match returned.error {
        None => Ok(returned.rows),
        Some(error) => Err(aborted(error)),
    }
}

fn aborted(error: sqlx::Error) -> Aborted {
    match failure::is_refusal(&error) {
        true if failure::is_timeout(&error) => Aborted::Late,
        true => Aborted::Refused(error),
        false => Aborted::Lost,
    }
}
