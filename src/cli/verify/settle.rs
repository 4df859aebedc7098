//! The end of a run: what the keys ended on, and whether every subscription arrives there.

use std::time::Duration;

use futures_util::{StreamExt as _, future::join_all, stream};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{
    databases::Databases,
    history::{History, Truth},
    links::Links,
    plan::Plan,
    requests::read,
};

/// The time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Keys of one read of all.
const KEYS_AT_ONCE: usize = 100;
/// Reads under way at once.
const IN_FLIGHT: usize = 32;

/// Waits until every connection is open and every subscription shows what stands, `limit` at most, and gives the history with the final states.
///
/// The states are read anew for each look, as a write whose outcome is not known may still happen. They are read in the
/// databases, if those are known, else from a node, with the newest stamp of each key.
pub(super) async fn settle(plan: &Plan, links: &Links, databases: Option<&Databases>, limit: Duration) -> History {
    let until = Instant::now() + limit;
    loop {
        let truths = truths(plan, links, databases).await;
        let is_complete = truths.len() == plan.keys.len() && links.lost() == 0;
        if is_complete && plan.recorder.behind(&truths) == 0 {
            return plan.recorder.finish(truths);
        }
        if Instant::now() >= until {
            end_silent(plan, links).await;
            return plan.recorder.finish(self::truths(plan, links, databases).await);
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Reads every key through every node once no write is younger than `fresh`. During the load a node that missed a change
/// is put right by the next one before its age tells.
pub(super) async fn read_everywhere(plan: &Plan, links: &Links, fresh: Duration) {
    sleep(fresh + LOOK_EVERY).await;
    let keys: Vec<u32> = (0..plan.keys.len() as u32).collect();
    for link in links.one_of_each_node() {
        for some in keys.chunks(KEYS_AT_ONCE) {
            read(plan, link, some, None).await;
        }
    }
}

/// Ends connections that answer nothing. Such a link is lost without an error, and what did not arrive on it is not the node's
/// fault.
async fn end_silent(plan: &Plan, links: &Links) {
    let asked = links.all().iter().map(async |link| {
        let session = link.session();
        let answered = link.call("unsubscribe", json!({"id": "none"})).await;
        if answered.is_none_or(|answered| answered.result.is_err()) {
            plan.recorder.end_session(session);
            plan.recorder.disturb(|disturbances| disturbances.disconnects += 1);
        }
    });
    join_all(asked).await;
}

async fn truths(plan: &Plan, links: &Links, databases: Option<&Databases>) -> Vec<Truth> {
    if let Some(databases) = databases
        && let Ok(truths) = databases.truths(plan).await
    {
        return truths;
    }
    let mut random = rand::rng();
    let places: Vec<_> = (0..plan.keys.len() as u32).map(|key| (key, links.draw(&mut random))).collect();
    let reads = places.into_iter().map(async |(key, place)| {
        let newest = plan.recorder.newest(key).filter(|stamp| stamp.version > 0);
        let read = read(plan, links.at(place?), &[key], newest).await.pop()?;
        Some(Truth { key, at: read.received, by_sql: false, state: read.state })
    });
    let truths: Vec<_> = stream::iter(reads).buffer_unordered(IN_FLIGHT).collect().await;
    truths.into_iter().flatten().collect()
}
