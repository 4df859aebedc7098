//! Writes by SQL behind the nodes' backs, as psql makes them.

use std::{sync::Arc, time::Duration};

use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    databases::Databases,
    history::{Event, Outcome, Write},
    plan::Plan,
};
use crate::{
    record::Stamp,
    store::{self, postgres::rows::Rows},
};

/// The wait before a lost session is replaced.
const RETRY_WAIT: Duration = Duration::from_millis(500);
/// One write in so many is a deletion.
const DELETIONS: u32 = 10;

/// Writes to the keys of database number `database`, `rate` times a second, until `stop` fires.
pub(super) async fn write(
    plan: Arc<Plan>,
    databases: Arc<Databases>,
    database: usize,
    rate: f64,
    seed: u64,
    stop: CancellationToken,
) {
    let keys = databases.keys_of(database);
    let mut random = SmallRng::seed_from_u64(seed);
    let mut ticks = interval(Duration::from_secs_f64(1.0 / rate));
    let mut session = None;
    while !keys.is_empty() && stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let mut rows = match session.take() {
            Some(rows) => rows,
            None => match databases.all[database].rows().await {
                Ok(rows) => rows,
                Err(_) => {
                    stop.run_until_cancelled(tokio::time::sleep(RETRY_WAIT)).await;
                    continue;
                }
            },
        };
        let key = keys[random.random_range(0..keys.len())];
        if make(&plan, &databases, &mut rows, key, &mut random).await {
            session = Some(rows);
        } else {
            plan.recorder.disturb(|disturbances| disturbances.disconnects += 1);
        }
    }
}

/// Makes one write and notes it. False if the session is of no more use.
async fn make(plan: &Plan, databases: &Databases, rows: &mut Rows, key: u32, random: &mut SmallRng) -> bool {
    let number = (!random.random_ratio(1, DELETIONS)).then(|| plan.number());
    let sent = plan.recorder.now();
    let statement = statement(plan, databases, rows, key, number, random.random());
    let made = timeout(plan.server.timeout(), statement).await;
    let (outcome, is_sound) = match made {
        // It changed no row.
        Ok(Ok(None)) => return true,
        Ok(Ok(Some(stamp))) => (Outcome::Acknowledged { stamp }, true),
        Ok(Err(store::Error::Unavailable { reason })) => (Outcome::Unknown { reason }, false),
        Ok(Err(error)) => (Outcome::Refused { reason: error.to_string(), current: None }, true),
        Err(_) => (Outcome::Unknown { reason: "no answer in time".to_owned() }, false),
    };
    if matches!(outcome, Outcome::Refused { .. }) {
        plan.recorder.disturb(|disturbances| *disturbances.refusals.entry("sql".to_owned()).or_default() += 1);
    }
    let ended = plan.recorder.now();
    let write = Write { key, session: None, number, if_stamp: None, is_repeat: false, sent, ended, outcome };
    plan.recorder.event(Event::Write(write));
    is_sound
}

async fn statement(
    plan: &Plan,
    databases: &Databases,
    rows: &mut Rows,
    key: u32,
    number: Option<u64>,
    inserts: bool,
) -> Result<Option<Stamp>, store::Error> {
    let (shard, name) = (databases.shard_of(key), plan.key(key));
    let Some(number) = number else { return rows.delete(shard, &plan.collection, name).await };
    let columns = plan.columns();
    let value = plan.template.text(number);
    match inserts {
        true => rows.put(shard, name, &columns, &value).await.map(Some),
        false => rows.update(shard, name, &columns, &value).await,
    }
}
