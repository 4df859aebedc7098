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
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use sqlx::{Row as _, postgres::PgRow};

use crate::{
    record::{CollectionId, PatchError, Position, RecordId, Stamp},
    resilience::Deadline,
    store::{
        Error, Operation, ShardId, Write, Written,
        postgres::{
            failure,
            pool::Pooled,
            read::generation,
            statement::Statements,
            write::{
                feed::Feed,
                row::{self, Row, Step},
                script::{Elements, Returned, Script},
                shape::{Kind, Shape, fault, result},
            },
        },
    },
};

/// A commit that was sent is waited for at least so long, past any deadline: a late answer is worth more than none.
const COMMIT_LIMIT: Duration = Duration::from_secs(1);
/// Shards from which on one update that names the table costs less than one for each partition: its fixed costs are those of
/// about twelve, what a row takes beyond them a third.
const SPANNED_SHARDS_MIN: usize = 12;
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
    /// [`Aborted`]: nothing was committed, or, with `Unknown`, nobody knows; the connection must be closed then.
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

/// What is known of a write so far.
enum State {
    Pending(Row),
    /// Carried out, with the record's new state.
    Written {
        version: u64,
        value: Option<Bytes>,
        kind: Kind,
    },
    /// Answered without a change: the version of what stands, or of the tombstone.
    Unchanged {
        version: u64,
    },
    Conflict {
        version: u64,
    },
    Repeated {
        stamp: Stamp,
        is_same: bool,
    },
    Failed(Outcome),
    Held,
    Locked,
}

/// The places of a piece's statements in a script.
struct Said {
    writes: usize,
    tombstones: Option<usize>,
    /// The place behind the last.
    end: usize,
}

struct Group<'g> {
    writes: &'g [Placed],
    mode: Mode,
    seen: &'g SeenGenerations,
    generations: Generations,
    /// One for each write.
    states: Vec<State>,
    position: Position,
    /// The newest version before the group.
    first_version: u64,
    /// The version of the newest tombstone, read behind the inserts.
    newest_tombstone: u64,
}

/// The writes of one statement.
struct Piece {
    statements: Arc<Statements>,
    shape: Shape,
    /// By their places in the group.
    writes: Vec<usize>,
    has_savepoint: bool,
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
            let met = feed.look_up(&mut script, pooled, self.writes);
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
        self.read_stamped_anew(pooled).await
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

    /// The statements for all that is pending: the first write of each key, then the second of each, and so on.
    fn pieces(&self) -> VecDeque<Piece> {
        type Place<'s> = (usize, CollectionId, ShardId, bool, &'s Shape);
        let plain = self.plain();
        let is_plain: HashSet<usize> = plain.iter().flat_map(|piece| piece.writes.iter().copied()).collect();
        let mut waves: HashMap<&RecordId, usize> = HashMap::new();
        let mut pieces: BTreeMap<Place<'_>, Vec<usize>> = BTreeMap::new();
        for (at, (placed, state)) in self.writes.iter().zip(&self.states).enumerate() {
            let State::Pending(row) = state else { continue };
            let wave = waves.entry(&placed.write.id).and_modify(|wave| *wave += 1).or_default();
            if is_plain.contains(&at) || (self.mode.is_stepwise && *wave > 0) {
                continue;
            }
            let place = (*wave, placed.write.id.collection, placed.shard, row.is_suspect, &row.shape);
            pieces.entry(place).or_default().push(at);
        }
        let mut all = VecDeque::from(plain);
        for ((_, _, _, is_suspect, shape), writes) in pieces {
            let statements = &self.writes[writes[0]].statements;
            // Each suspect is a statement of its own.
            let parts = if is_suspect { writes.into_iter().map(|at| vec![at]).collect() } else { vec![writes] };
            all.extend(parts.into_iter().map(|writes| Piece {
                statements: statements.clone(),
                shape: shape.clone(),
                writes,
                has_savepoint: is_suspect || self.mode.is_careful,
            }));
        }
        all
    }

    /// The plain updates, of keys that are written once in the group, as they do not tell why a row was not written: one
    /// for all shards of a shape where they are many, else one for each.
    fn plain(&self) -> Vec<Piece> {
        if !self.mode.is_plain || self.mode.is_careful {
            return Vec::new();
        }
        let mut times: HashMap<&RecordId, usize> = HashMap::with_capacity(self.writes.len());
        self.writes.iter().for_each(|placed| *times.entry(&placed.write.id).or_default() += 1);
        let mut shapes: BTreeMap<(CollectionId, &Shape), BTreeMap<ShardId, Vec<usize>>> = BTreeMap::new();
        for (at, (placed, state)) in self.writes.iter().zip(&self.states).enumerate() {
            let State::Pending(row) = state else { continue };
            let is_update = matches!(row.shape.kind, Kind::Patch | Kind::Replace) && !row.is_suspect;
            if is_update && times[&placed.write.id] == 1 {
                let shards = shapes.entry((placed.write.id.collection, &row.shape)).or_default();
                shards.entry(placed.shard).or_default().push(at);
            }
        }
        let mut pieces = Vec::with_capacity(shapes.len());
        for ((_, shape), shards) in shapes {
            let shape = Shape { is_plain: true, ..shape.clone() };
            let piece = |statements: &Arc<Statements>, writes| {
                let (statements, shape) = (statements.clone(), shape.clone());
                Piece { statements, shape, writes, has_savepoint: false }
            };
            let first = shards.values().next().map(|writes| &self.writes[writes[0]]);
            match first.filter(|first| shards.len() >= SPANNED_SHARDS_MIN && first.whole.table().is_uniform) {
                Some(first) => pieces.push(piece(&first.whole, shards.into_values().flatten().collect())),
                None => {
                    pieces.extend(shards.into_values().map(|writes| piece(&self.writes[writes[0]].statements, writes)))
                }
            }
        }
        pieces
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

    /// Adds a piece's statements to the script.
    fn say(&self, script: &mut Script, pooled: &Pooled, feed: &Feed, piece: &Piece) -> Said {
        if piece.has_savepoint {
            script.say("SAVEPOINT piece");
        }
        let (mut keys, mut asked, mut values) = (Elements::default(), Elements::default(), Vec::new());
        for &at in &piece.writes {
            let State::Pending(row) = &self.states[at] else { continue };
            values.resize_with(row.width(), Elements::default);
            keys.push(Some(self.writes[at].write.id.key.as_str()));
            row.push(&mut values);
            asked.push(self.asked(&self.writes[at]).map(|version| version.to_string()).as_deref());
        }
        let mut arguments = vec![keys.clone()];
        arguments.extend(piece.shape.asks.then_some(asked));
        arguments.append(&mut values);
        let writes = script.execute(pooled, &piece.statements.write(&piece.shape), &arguments);
        let is_delete = piece.shape.kind == Kind::Delete;
        let collection = &piece.statements.table().collection.name;
        let tombstones = is_delete.then(|| feed.read_tombstones(script, pooled, collection, keys));
        if piece.has_savepoint {
            script.say("RELEASE SAVEPOINT piece");
        }
        Said { writes, tombstones, end: script.len() }
    }

    /// The version that a row must have; one that none has where the generation asked for is over.
    fn asked(&self, placed: &Placed) -> Option<i64> {
        let stamp = placed.write.if_stamp?;
        let known = self.generations.get(&placed.shard);
        let is_over = stamp.version > 0 && known.is_some_and(|&known| known != stamp.generation);
        Some(if is_over { -1 } else { stamp.version.cast_signed() })
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
                let (statements, shape) = (statements.clone(), shape.clone());
                pieces.push_front(Piece { statements, shape, writes, has_savepoint: true });
            }
        }
        let mut script = Script::default();
        script.say("ROLLBACK TO SAVEPOINT piece");
        script.say("RELEASE SAVEPOINT piece");
        Ok(script)
    }

    /// Reads what a piece's statements returned.
    fn take(&mut self, piece: &Piece, rows: &[PgRow], tombstones: &[PgRow]) -> Result<(), sqlx::Error> {
        let by_key: HashMap<&str, usize> =
            piece.writes.iter().map(|&at| (self.writes[at].write.id.key.as_str(), at)).collect();
        let mut seen = HashSet::new();
        let mut states = Vec::with_capacity(piece.writes.len());
        for row in rows {
            let number: Option<i64> = row.try_get(result::NUMBER)?;
            let at = match number.and_then(|number| usize::try_from(number - 1).ok()) {
                Some(place) => piece.writes.get(place).copied(),
                None => by_key.get(row.try_get::<&str, _>(result::KEY)?).copied(),
            };
            let Some(at) = at else { continue };
            seen.insert(at);
            states.push((at, self.judge(at, piece, row, tombstones)?));
        }
        for &at in piece.writes.iter().filter(|at| !seen.contains(at)) {
            // Its row came in between, or changed between the statement's snapshot and the lock; or the statement is a
            // plain update, which does not tell why.
            states.push((at, pending(&self.writes[at], Step::Change, self.mode)));
        }
        for (at, state) in states {
            self.states[at] = state;
        }
        Ok(())
    }

    fn judge(&self, at: usize, piece: &Piece, row: &PgRow, tombstones: &[PgRow]) -> Result<State, sqlx::Error> {
        let was = row.try_get::<Option<i64>, _>(result::WAS)?.unwrap_or(0).unsigned_abs();
        let placed = &self.writes[at];
        if let Some(version) = row.try_get::<Option<i64>, _>(result::VERSION)? {
            let kind = piece.shape.kind;
            if kind == Kind::Delete {
                let number: i64 = row.try_get(result::NUMBER)?;
                let is_its = |row: &&PgRow| row.try_get::<i64, _>(0).is_ok_and(|its| its == number);
                let tombstone =
                    tombstones.iter().find(is_its).map(|row| row.try_get::<Option<i64>, _>(1)).transpose()?;
                let version = tombstone.flatten().unwrap_or(0).unsigned_abs();
                return Ok(State::Written { version, value: None, kind });
            }
            let value: Option<&str> = row.try_get(result::VALUE)?;
            let value = value.map(|text| Bytes::copy_from_slice(text.as_bytes()));
            return Ok(State::Written { version: version.unsigned_abs(), value, kind });
        }
        let fault: Option<&str> = row.try_get(result::FAULT)?;
        Ok(match fault.unwrap_or(fault::HELD) {
            fault::STAMP => State::Conflict { version: was },
            fault::HELD => State::Held,
            fault::ABSENT => self.absent(placed, was),
            fault => State::Failed(Outcome::Done(Err(explain(placed, fault)))),
        })
    }

    /// What a write of a record comes to that is not there, but may have a tombstone.
    fn absent(&self, placed: &Placed, tombstone: u64) -> State {
        let asked = self.asked(placed).filter(|asked| *asked != 0);
        if asked.is_some_and(|asked| asked != tombstone.cast_signed()) {
            return State::Conflict { version: tombstone };
        }
        match placed.write.operation {
            Operation::Delete => State::Unchanged { version: tombstone },
            _ => pending(placed, Step::Insert, self.mode),
        }
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
            let is_last = !self.writes[at + 1..].iter().any(|later| later.write.id == placed.write.id);
            if version > self.newest_tombstone || !is_last {
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

/// The state in which a write begins.
fn first_try(placed: &Placed, mode: Mode) -> State {
    pending(placed, if placed.write.inserts_first() { Step::Insert } else { Step::Change }, mode)
}

/// The state in which a write is to be carried out.
fn pending(placed: &Placed, step: Step, mode: Mode) -> State {
    match Row::new(&placed.write, placed.statements.table(), step, mode.waits) {
        Ok(row) => State::Pending(row),
        Err(error) => State::Failed(Outcome::Done(Err(error))),
    }
}

/// A statement's reason for leaving a row out, in PostgreSQL's words.
fn explain(placed: &Placed, reason: &str) -> Error {
    let table = placed.statements.table();
    if let Some(constraint) = reason.strip_prefix(fault::CHECK) {
        return row::violated(table, constraint);
    }
    if let Some(column) = reason.strip_prefix(fault::NULL) {
        return row::null(table, column);
    }
    let column = reason.strip_prefix(fault::NO_NUMBER).unwrap_or(reason).to_owned();
    PatchError::NotANumber { column }.into()
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
