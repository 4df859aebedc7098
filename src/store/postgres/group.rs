//! One group of writes in one transaction: lock, decide, write, commit.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use sqlx::{Connection, PgConnection, Postgres, Row as _, Transaction, postgres::PgRow};

use crate::{
    record::{Collection, Key, Position, Stamp, State, patch::Members},
    resilience::Deadline,
    store::{
        Error, Write, Written,
        postgres::{failure, statement::Statements},
        write::Resolved,
    },
};

/// A commit that was sent is waited for at least so long, past any deadline: a late answer is worth more than none.
const COMMIT_LIMIT: Duration = Duration::from_secs(1);

/// Writes of one shard of one collection, each of another key.
pub struct Batch {
    /// The collection.
    pub collection: Arc<Collection>,
    /// The shard's statements.
    pub statements: Arc<Statements>,
    /// The writes, with the caller's numbers for them.
    pub writes: Vec<(usize, Write)>,
}

/// What became of one write of a group.
#[derive(Debug)]
pub enum Outcome {
    /// It is answered.
    Done(Result<Written, Error>),
    /// Somebody else holds its row, or took its key meanwhile: it goes on alone.
    Held,
}

/// Why nothing of a group was committed.
#[derive(Debug)]
pub enum Aborted {
    /// The database refused a statement for the writes with these numbers; the others may go again without them.
    Refused(Vec<usize>, sqlx::Error),
    /// The connection failed before the commit was sent.
    Lost(sqlx::Error),
    /// Time ran out before the commit was sent.
    Late,
    /// The connection failed, or fell silent, while committing.
    Unknown,
}

/// A row as a locking or plain read of the transaction found it.
struct Found {
    position: Position,
    generation: u32,
    version: u64,
    value: Option<Bytes>,
    held: bool,
}

impl Found {
    fn state(&self) -> State {
        State { stamp: Stamp::new(self.generation, self.version), value: self.value.clone() }
    }

    fn written(&self) -> Written {
        Written {
            stamp: Stamp::new(self.generation, self.version),
            installed: Some((self.value.clone(), self.position)),
        }
    }
}

/// Commits `batches` in one transaction by `deadline`. With `waiting`, rows that somebody else holds are waited for,
/// as long as the session's `lock_timeout` lets it; without, they are passed by and reported as held.
///
/// `deadline` covers everything before the commit is sent; the commit itself has a limit of its own.
///
/// # Errors
/// [`Aborted`]: nothing was committed, or nobody knows. After any of them the connection must be closed.
///
/// # Cancel safety
/// Dropped before the commit was sent, nothing happens; the connection must be closed then.
pub async fn commit(
    connection: &mut PgConnection,
    batches: &[Batch],
    waiting: bool,
    deadline: Deadline,
) -> Result<Vec<(usize, Outcome)>, Aborted> {
    let staged = deadline.limit(stage(connection, batches, waiting)).await;
    let group = staged.map_err(|_| Aborted::Late)??;
    let answered = Deadline::after(deadline.left().max(COMMIT_LIMIT)).limit(group.transaction.commit()).await;
    match answered {
        Ok(Ok(())) => Ok(group.outcomes),
        Ok(Err(error)) if failure::is_refusal(&error) => {
            let all = batches.iter().flat_map(|batch| batch.writes.iter().map(|(number, _)| *number)).collect();
            Err(Aborted::Refused(all, error))
        }
        Ok(Err(_)) | Err(_) => Err(Aborted::Unknown),
    }
}

/// Everything but the commit.
async fn stage<'c>(connection: &'c mut PgConnection, batches: &[Batch], waiting: bool) -> Result<Group<'c>, Aborted> {
    let mut group = Group { transaction: connection.begin().await.map_err(Aborted::Lost)?, outcomes: Vec::new() };
    for batch in batches {
        if let Err(error) = group.run(batch, waiting).await {
            let numbers = batch.writes.iter().map(|(number, _)| *number).collect();
            return Err(if failure::is_refusal(&error) {
                Aborted::Refused(numbers, error)
            } else {
                Aborted::Lost(error)
            });
        }
    }
    Ok(group)
}

/// A transaction with the answers that hold once it is committed.
pub(super) struct Group<'c> {
    pub(super) transaction: Transaction<'c, Postgres>,
    pub(super) outcomes: Vec<(usize, Outcome)>,
}

/// A write's number, its key, and the row as JSON.
type Upsert = (usize, Key, String);

/// The writes of a batch that come to something, by the statement that carries them out.
#[derive(Default)]
struct Plan {
    /// By whether the row is there already, and which members are given.
    upserts: BTreeMap<(bool, Vec<String>), Vec<Upsert>>,
    deletes: Vec<(usize, Key)>,
}

impl Group<'_> {
    async fn run(&mut self, batch: &Batch, waiting: bool) -> Result<(), sqlx::Error> {
        let keys: Vec<&str> = batch.writes.iter().map(|(_, write)| write.id.key.as_str()).collect();
        let found = self.find(batch.statements.lock(waiting), &keys).await?;
        // Behind the lock: whoever held the row may have carried the same request out.
        let remembered = self.remembered(batch).await?;
        let mut plan = Plan::default();
        for (number, write) in &batch.writes {
            if let Some(answer) = remembered.get(number) {
                self.outcomes.push((*number, Outcome::Done(answer.clone())));
            } else {
                self.decide(batch, *number, write, found.get(write.id.key.as_str()), &mut plan);
            }
        }
        let first = self.outcomes.len();
        let positions = found.values().map(|found| (found.position, found.generation)).next().unwrap_or_default();
        self.upsert(batch, &plan, positions).await?;
        self.delete(batch, &plan).await?;
        self.remember(batch, first).await
    }

    fn decide(&mut self, batch: &Batch, number: usize, write: &Write, found: Option<&Found>, plan: &mut Plan) {
        let Some(found) = found.filter(|found| !found.held) else {
            self.outcomes.push((number, Outcome::Held));
            return;
        };
        let key = write.id.key.clone();
        match write.resolve(&batch.collection, &found.state()) {
            Err(error) => self.outcomes.push((number, Outcome::Done(Err(error)))),
            Ok(Resolved::Nothing) => self.outcomes.push((number, Outcome::Done(Ok(found.written())))),
            Ok(Resolved::Delete) => plan.deletes.push((number, key)),
            Ok(Resolved::Upsert(members)) => {
                let class = (found.value.is_some(), names(&members));
                plan.upserts.entry(class).or_default().push((number, key, members.to_text()));
            }
        }
    }

    async fn upsert(&mut self, batch: &Batch, plan: &Plan, read_at: (Position, u32)) -> Result<(), sqlx::Error> {
        for ((exists, present), rows) in &plan.upserts {
            let texts: Vec<&str> = rows.iter().map(|(_, _, text)| text.as_str()).collect();
            let statement = if *exists { batch.statements.update(present) } else { batch.statements.insert(present) };
            let returned = sqlx::query(statement).bind(texts).fetch_all(&mut *self.transaction).await?;
            let written: HashMap<_, _> = if *exists {
                returned.iter().map(|row| returned_row(row, read_at)).collect::<Result<_, _>>()?
            } else {
                // An insert may have been stamped anew, above a tombstone, after it returned its rows.
                let keys = returned.iter().map(|row| row.try_get(0)).collect::<Result<Vec<_>, _>>()?;
                self.find(batch.statements.read(), &keys).await?
            };
            for (number, key, _) in rows {
                let outcome = written.get(key.as_str()).map(|found| Outcome::Done(Ok(found.written())));
                self.outcomes.push((*number, outcome.unwrap_or(Outcome::Held)));
            }
        }
        Ok(())
    }

    async fn delete(&mut self, batch: &Batch, plan: &Plan) -> Result<(), sqlx::Error> {
        if plan.deletes.is_empty() {
            return Ok(());
        }
        let keys: Vec<&str> = plan.deletes.iter().map(|(_, key)| key.as_str()).collect();
        sqlx::query(batch.statements.delete()).bind(&keys).execute(&mut *self.transaction).await?;
        let tombstones = self.find(batch.statements.read(), &keys).await?;
        for (number, key) in &plan.deletes {
            let outcome = tombstones.get(key.as_str()).map(|found| Outcome::Done(Ok(found.written())));
            self.outcomes.push((*number, outcome.unwrap_or(Outcome::Held)));
        }
        Ok(())
    }

    async fn find(
        &mut self,
        statement: impl sqlx::SqlSafeStr,
        keys: &[&str],
    ) -> Result<HashMap<String, Found>, sqlx::Error> {
        let rows = sqlx::query(statement).bind(keys).fetch_all(&mut *self.transaction).await?;
        rows.iter()
            .map(|row| {
                let found = Found {
                    position: Position(row.try_get::<Option<i64>, _>(0)?.unwrap_or(0).unsigned_abs()),
                    generation: generation(row.try_get(2)?),
                    version: row.try_get::<Option<i64>, _>(4)?.unwrap_or(0).unsigned_abs(),
                    value: row.try_get::<Option<String>, _>(5)?.map(Bytes::from),
                    held: row.try_get(6)?,
                };
                Ok((row.try_get(3)?, found))
            })
            .collect()
    }
}

fn returned_row(row: &PgRow, (position, generation): (Position, u32)) -> Result<(String, Found), sqlx::Error> {
    let version: i64 = row.try_get(1)?;
    let value = row.try_get::<Option<String>, _>(2)?.map(Bytes::from);
    Ok((row.try_get(0)?, Found { position, generation, version: version.unsigned_abs(), value, held: false }))
}

fn names(members: &Members) -> Vec<String> {
    let mut names: Vec<String> = members.iter().map(|(name, _)| name.to_owned()).collect();
    names.sort_unstable();
    names
}

/// A generation as the database counts it; it starts at 1 and rises by hand-counted events.
pub fn generation(counted: i64) -> u32 {
    u32::try_from(counted).unwrap_or(u32::MAX)
}
