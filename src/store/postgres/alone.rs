//! One write in a transaction of its own: it waits for its row, or learns why it was refused in a group.

use crate::{
    resilience::Deadline,
    store::{
        Error, Operation, Written,
        postgres::{
            Shared, failure,
            group::{self, Aborted, Batch, Outcome},
            pool::{Lease, Pool},
            write::Job,
        },
    },
};

/// How often a write is tried whose row comes and goes under it.
const ATTEMPTS_MAX: u32 = 100;

/// Commits one write in a transaction of its own, waiting for its row until its deadline.
pub(super) async fn alone(shared: &Shared, pool: &Pool, job: &Job) -> Result<Written, Error> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let mut batch = shared.batch(job).await?;
        batch.writes.push((0, job.write.clone()));
        let mut lease = pool.lend(job.deadline).await?;
        match transact(&mut lease, &batch, job.deadline).await {
            Ok(Outcome::Done(result)) => {
                lease.give_back();
                return result;
            }
            Ok(Outcome::Held) => lease.give_back(),
            Err(Aborted::Refused(_, error)) if failure::is_transient(&error) => {}
            Err(Aborted::Refused(_, error)) if failure::is_held(&error) => return Err(Error::Deadline),
            // The partition moved away, or the schema changed under the plan. The connections go with their plans.
            Err(Aborted::Refused(_, error)) if failure::is_stale_schema(&error) && attempts == 1 => {
                pool.forget_idle();
                shared.refresh_ownership(job.deadline).await?;
            }
            Err(Aborted::Refused(_, error)) => {
                return Err(explain(&mut lease, &batch, failure::error(error), job.deadline).await);
            }
            Err(Aborted::Lost(_)) if attempts == 1 => pool.forget_idle(),
            Err(Aborted::Lost(error)) => return Err(Error::Unavailable { reason: error.to_string() }),
            Err(Aborted::Late) => return Err(Error::Deadline),
            Err(Aborted::Unknown) => return Err(Error::OutcomeUnknown),
        }
        if attempts >= ATTEMPTS_MAX {
            return Err(Error::NotOwned { shard: job.shard });
        }
    }
}

async fn transact(lease: &mut Lease<'_>, batch: &Batch, deadline: Deadline) -> Result<Outcome, Aborted> {
    let limit = deadline.left().as_millis().max(1).to_string();
    let set = sqlx::query("SELECT set_config('lock_timeout', $1, false)").bind(limit).execute(lease.connection());
    deadline.limit(set).await.map_err(|_| Aborted::Late)?.map_err(Aborted::Lost)?;
    let mut outcomes = group::commit(lease.connection(), std::slice::from_ref(batch), true, deadline).await?;
    Ok(outcomes.pop().map_or(Outcome::Held, |(_, outcome)| outcome))
}

/// Says which column is at fault where the database did not: its conversions name none, its checks only the
/// constraint. And a client knows of collections, not of partitions.
async fn explain(lease: &mut Lease<'_>, batch: &Batch, error: Error, deadline: Deadline) -> Error {
    let Error::InvalidValue { message, column, constraint } = error else { return error };
    let message = message.replace(batch.statements.table_name(), &batch.collection.name);
    if column.is_some() {
        return Error::InvalidValue { message, column, constraint };
    }
    let found = match &constraint {
        Some(constraint) => deadline.limit(column_of(lease, batch, constraint)).await,
        None => deadline.limit(column_at_fault(lease, batch)).await,
    };
    Error::InvalidValue { message, column: found.unwrap_or_default(), constraint }
}

/// The column that a constraint is about, if it is about one.
async fn column_of(lease: &mut Lease<'_>, batch: &Batch, constraint: &str) -> Option<String> {
    let columns: Vec<String> = sqlx::query_scalar(
        "SELECT a.attname::text FROM pg_constraint c
           JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY(c.conkey)
          WHERE c.conrelid = $1::regclass AND c.conname = $2",
    )
    .bind(batch.statements.relation())
    .bind(constraint)
    .fetch_all(lease.connection())
    .await
    .ok()?;
    <[String; 1]>::try_from(columns).ok().map(|[column]| column)
}

/// The first column whose value the database does not take.
async fn column_at_fault(lease: &mut Lease<'_>, batch: &Batch) -> Option<String> {
    let members = batch.writes.iter().find_map(|(_, write)| match &write.operation {
        Operation::Put(members) => Some(members),
        Operation::Patch(patch) => Some(&patch.merge),
        Operation::Delete => None,
    })?;
    let text = members.to_text();
    for (name, _) in members.iter() {
        let probe = sqlx::query(batch.statements.probe(name)).bind(&text).execute(lease.connection()).await;
        if probe.as_ref().is_err_and(failure::is_refusal) {
            return Some(name.to_owned());
        }
    }
    None
}
