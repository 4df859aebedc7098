//! One group of writes in one transaction.
//!
//! A group takes two round trips, whatever shards it touches: one script that begins the transaction and carries the
//! writes out, a statement for each shard and shape, and one that writes outbox and idempotency keys and commits. Writes
//! of one key stand in the order they came, each in a later statement than the one before. The first script has up to
//! three kinds of statement:
//!
//! - *Plain updates* write the keys that occur once in the group: one statement for the whole table where the group
//!   touches many shards ([`pieces`](super::pieces)), else one for each partition. They wait for a held row 5 ms at most;
//!   then the group starts over without them.
//! - *Telling statements* write the rest: rows that a plain update left out, keys that occur several times, deletes. They
//!   lock rows one by one, pass by those that other transactions hold, and say for each row why it was not written.
//! - *Inserts* write the records that the filter of absent keys calls new, and those that the others found absent. The
//!   filter's guess only costs time when it is wrong: an insert passes by a row that exists. Inserts name the whole
//!   table, too, where there are many shards and no key waits: the trigger that captures them then runs once and not 64
//!   times.
//!
//! Promise: a write that the database refuses is as one that was not there. What can be told beforehand, the statement
//! leaves out; what makes a statement fail makes the group start over with a savepoint before each statement, and the
//! failed one is halved until the write at fault is alone.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use sqlx::{Row as _, postgres::PgRow};

use crate::{
    record::{Position, RecordId, ShardId, Stamp},
    resilience::Deadline,
    store::{
        Error, Write, Written,
        postgres::{
            failure,
            pool::{Pooled, PooledConnection},
            statement::Statements,
            write::{
                feed::Feed,
                outcome::{Aborted, Outcome},
                script::{Returned, Script},
                shape::Kind,
                state::{State, first_try},
            },
        },
    },
};

/// A commit that was sent is waited for at least so long, past any deadline: a late answer is worth more than none.
const COMMIT_LIMIT: Duration = Duration::from_secs(1);
/// The share of a group's time left that it may spend waiting for locks on the feed's tables.
const FEED_WAIT_SHARE: f64 = 0.875;
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
    /// Keys that are written once are written by plain statements, as long as none has to wait.
    pub is_plain: bool,
    /// A statement that waits for any other lock in vain costs its own writes only.
    pub isolates_locks: bool,
    /// How long locks are waited for, in milliseconds, if not as long as the session says.
    pub lock_limit_ms: Option<u32>,
    /// Locks on the feed's own tables, without which no write can be, are waited for until the deadline.
    pub waits_for_feed: bool,
}

/// The generations that shards are in, as the last transaction saw them; `if_stamp` is judged by them.
pub type SeenGenerations = Mutex<Generations>;

pub(super) type Generations = HashMap<ShardId, u32>;

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
    group.feed_deadline = mode.waits_for_feed.then_some(deadline);
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
    /// [`COMMIT_LIMIT`] if that is longer. What the server commits after another has become the primary is most likely lost.
    ///
    /// # Errors
    /// [`Aborted`]: nothing was committed. After `Unknown` the outcome is unknown, and the connection must be closed.
    pub async fn commit(
        self,
        connection: &mut PooledConnection<'_>,
        feed: &Feed,
        deadline: Deadline,
    ) -> Result<Vec<Outcome>, Aborted> {
        if !connection.is_current() {
            return Err(Aborted::Lost);
        }
        let committed = self.commit_on(connection.pooled(), feed, deadline).await;
        if connection.is_current() { committed } else { committed.and(Err(Aborted::Unknown)) }
    }

    async fn commit_on(self, pooled: &mut Pooled, feed: &Feed, deadline: Deadline) -> Result<Vec<Outcome>, Aborted> {
        let script = self.group.last_script(pooled, feed);
        let answered = Deadline::after(deadline.left().max(COMMIT_LIMIT)).limit(script.run(pooled)).await;
        match answered.map_err(|_| Aborted::Unknown)?.error {
            None => Ok(self.group.outcomes()),
            Some(error) if failure::is_refusal(&error) => {
                let aborted = match () {
                    () if failure::is_repeated_token(&error) => Aborted::Repeated,
                    () if failure::is_held(&error) => Aborted::FeedLocked,
                    () => Aborted::CommitRefused(error),
                };
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
    pub(super) seen: &'g SeenGenerations,
    pub(super) generations: Generations,
    /// One for each write.
    pub(super) states: Vec<State>,
    /// Until when locks on the feed's tables are waited for, if not as long as other locks.
    feed_deadline: Option<Deadline>,
    position: Position,
    /// The newest version before the group.
    first_version: u64,
    /// The version of the newest tombstone, read behind the inserts.
    pub(super) newest_tombstone: u64,
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
            feed_deadline: None,
            position: Position::default(),
            first_version: 0,
            newest_tombstone: 0,
        }
    }

    /// Everything but the last script.
    async fn stage(&mut self, pooled: &mut Pooled, feed: &Feed) -> Result<(), Aborted> {
        let mut script = Script::default();
        script.say("BEGIN");
        self.wait_for_feed(&mut script, 1);
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

    /// Lets the statements that follow wait for locks on the feed's tables: together no longer than the script that is about
    /// to be sent has time, less what the answer takes on its way. A lock that outlasts the group must not leave it open
    /// whether it was committed.
    pub(super) fn wait_for_feed(&self, script: &mut Script, statements: u32) {
        if let Some(deadline) = self.feed_deadline {
            let limit = deadline.left().mul_f64(FEED_WAIT_SHARE) / statements;
            script.say(&format!("SET LOCAL lock_timeout = {}", limit.as_millis().max(1)));
        }
    }

    /// Lets the statements that follow wait for locks on rows and partitions.
    pub(super) fn wait_for_rows(&self, script: &mut Script) {
        if let Some(limit) = self.mode.lock_limit_ms {
            script.say(&format!("SET LOCAL lock_timeout = {limit}"));
        } else if self.feed_deadline.is_some() {
            script.say("SET LOCAL lock_timeout TO DEFAULT");
        }
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

    pub(super) fn take_mark(&mut self, rows: Option<&Vec<PgRow>>) {
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
        let mut script = Script::default();
        let statements = u32::from(!changed.is_empty()) + u32::from(!tokens.is_empty());
        self.wait_for_feed(&mut script, statements.max(1));
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

/// What the failure of a statement means that is not a piece's.
pub(super) fn aborted(error: sqlx::Error) -> Aborted {
    match failure::is_refusal(&error) {
        true if failure::is_timeout(&error) => Aborted::Late,
        true if failure::is_held(&error) => Aborted::FeedLocked,
        true => Aborted::Refused(error),
        false => Aborted::Lost,
    }
}
