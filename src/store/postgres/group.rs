//! One group of writes in one transaction: lock, decide, write, commit.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use sqlx::{Connection, PgConnection, Postgres, Transaction};

use crate::{
    record::{Collection, Key, Position, patch::Members},
    resilience::Deadline,
    store::{
        Error, Operation, Write, Written,
        postgres::{
            failure,
            rows::Found,
            statement::{Lock, Statements},
        },
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
    pub writes: Vec<Numbered>,
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

/// A write with the caller's number for it.
pub(super) type Numbered = (usize, Arc<Write>);
/// A write's number, its key, and the row as JSON.
pub(super) type Upsert = (usize, Key, String);
/// The columns that a row is given with, by their places in the collection, in rising order.
type Given = Vec<usize>;

/// What becomes of the columns that an update does not give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Others {
    /// They get their defaults.
    Default,
    /// They stay as they are.
    Stay,
}

/// The writes of a batch that come to something, by the statement that carries them out.
#[derive(Default)]
struct Plan {
    inserts: BTreeMap<Given, Vec<Upsert>>,
    updates: BTreeMap<(Others, Given), Vec<Upsert>>,
    deletes: Vec<(usize, Key)>,
}

impl Group<'_> {
    async fn run(&mut self, batch: &Batch, waiting: bool) -> Result<(), sqlx::Error> {
        let (new, mut rest): (Vec<_>, Vec<_>) = batch.writes.iter().partition(|(_, write)| write.inserts_first());
        if !new.is_empty() {
            rest.extend(self.insert_first(batch, new).await?);
        }
        if rest.is_empty() { Ok(()) } else { self.lock_first(batch, &rest, waiting).await }
    }

    /// Carries out writes of records that are likely to be new, without looking for their rows. Returns those whose rows
    /// are there after all.
    async fn insert_first<'b>(
        &mut self,
        batch: &Batch,
        mut writes: Vec<&'b Numbered>,
    ) -> Result<Vec<&'b Numbered>, sqlx::Error> {
        let mut remembered = self.remembered(batch, &writes).await?;
        let first = self.outcomes.len();
        let mut plan = Plan::default();
        for (number, write) in &writes {
            if !remembered.contains_key(number) {
                self.decide(batch, *number, write, &Found::default(), &mut plan);
            }
        }
        for (given, rows) in &plan.inserts {
            let written = self.insert(batch, given, rows).await?;
            for (number, key, _) in rows {
                let done = written.get(key.as_str()).map(|found| (*number, Outcome::Done(Ok(found.written()))));
                self.outcomes.extend(done);
            }
        }
        self.remember(batch, &writes, first).await?;
        let answered: HashSet<usize> = self.outcomes[first..].iter().map(|(number, _)| *number).collect();
        writes.retain(|(number, _)| !answered.contains(number) && !remembered.contains_key(number));
        self.outcomes.extend(remembered.drain().map(|(number, answer)| (number, Outcome::Done(answer))));
        Ok(writes)
    }

    /// Locks the rows of `writes`, then does with them as these say.
    async fn lock_first(&mut self, batch: &Batch, writes: &[&Numbered], waiting: bool) -> Result<(), sqlx::Error> {
        let keys: Vec<&str> = writes.iter().map(|(_, write)| write.id.key.as_str()).collect();
        let reads_values = writes.iter().any(|(_, write)| write.needs_value(&batch.collection));
        let lock = batch.statements.lock(Lock { waits: waiting, reads_values });
        let found = self.find(lock, &keys).await?;
        // Behind the lock: whoever held the row may have carried the same request out.
        let mut remembered = self.remembered(batch, writes).await?;
        let first = self.outcomes.len();
        let mut plan = Plan::default();
        for ((number, write), found) in writes.iter().zip(&found) {
            match found.as_ref().filter(|found| !found.held) {
                _ if remembered.contains_key(number) => {}
                Some(found) => self.decide(batch, *number, write, found, &mut plan),
                None => self.outcomes.push((*number, Outcome::Held)),
            }
        }
        let read_at = found.iter().flatten().map(|found| (found.position, found.generation)).next().unwrap_or_default();
        self.carry_out(batch, &plan, read_at).await?;
        self.remember(batch, writes, first).await?;
        self.outcomes.extend(remembered.drain().map(|(number, answer)| (number, Outcome::Done(answer))));
        Ok(())
    }

    /// Answers a write that comes to nothing, given its record as it was `found`; else it becomes part of the plan.
    fn decide(&mut self, batch: &Batch, number: usize, write: &Write, found: &Found, plan: &mut Plan) {
        let key = write.id.key.clone();
        match write.resolve(&batch.collection, &found.state()) {
            Err(error) => self.outcomes.push((number, Outcome::Done(Err(error)))),
            Ok(Resolved::Nothing) => self.outcomes.push((number, Outcome::Done(Ok(found.written())))),
            Ok(Resolved::Delete) => plan.deletes.push((number, key)),
            Ok(Resolved::Upsert(members)) if found.value.is_none() => {
                let given = given(&batch.collection, &members);
                plan.inserts.entry(given).or_default().push((number, key, members.to_text()));
            }
            Ok(Resolved::Upsert(members)) => {
                let (others, members) = match &write.operation {
                    Operation::Patch(patch) => {
                        let is_key = |name: &str| name == batch.collection.key_column;
                        (Others::Stay, members.only(|name| is_key(name) || patch.touches(name)))
                    }
                    _ => (Others::Default, members),
                };
                let given = given(&batch.collection, &members);
                plan.updates.entry((others, given)).or_default().push((number, key, members.to_text()));
            }
        }
    }

    /// Carries a plan out on rows that are locked; `read_at` is where and in which generation they were found.
    async fn carry_out(&mut self, batch: &Batch, plan: &Plan, read_at: (Position, u32)) -> Result<(), sqlx::Error> {
        for ((others, given), rows) in &plan.updates {
            let written = self.update(batch, *others, given, rows, read_at).await?;
            self.answer(rows, &written);
        }
        for (given, rows) in &plan.inserts {
            let written = self.insert(batch, given, rows).await?;
            self.answer(rows, &written);
        }
        if !plan.deletes.is_empty() {
            let keys: Vec<&str> = plan.deletes.iter().map(|(_, key)| key.as_str()).collect();
            let tombstones = self.delete(batch, &keys).await?;
            for ((number, _), found) in plan.deletes.iter().zip(tombstones) {
                let outcome = found.map_or(Outcome::Held, |found| Outcome::Done(Ok(found.written())));
                self.outcomes.push((*number, outcome));
            }
        }
        Ok(())
    }

    /// Answers the writes of `rows`, as far as they were `written`; a row that somebody else took meanwhile was not.
    fn answer(&mut self, rows: &[Upsert], written: &HashMap<String, Found>) {
        for (number, key, _) in rows {
            let outcome = written.get(key.as_str()).map(|found| Outcome::Done(Ok(found.written())));
            self.outcomes.push((*number, outcome.unwrap_or(Outcome::Held)));
        }
    }
}

/// The places of the columns that `members` are for; a member that has no column was refused.
fn given(collection: &Collection, members: &Members) -> Given {
    let place = |name: &str| collection.columns.iter().position(|column| column.name == name);
    let mut given: Given = members.iter().filter_map(|(name, _)| place(name)).collect();
    given.sort_unstable();
    given
}

/// A generation as the database counts it; it starts at 1 and rises by hand-counted events.
pub fn generation(counted: i64) -> u32 {
    u32::try_from(counted).unwrap_or(u32::MAX)
}
