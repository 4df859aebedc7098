//! Takes a run's records away again.

use std::{
    collections::{BTreeSet, HashSet},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use serde::Serialize;
use tokio::time::{sleep, timeout};

use super::{
    databases::Databases,
    history::{Event, History, Outcome, Write},
    plan::Plan,
};
use crate::client::{Client, WriteOptions};

/// A node gives a write its deadline, and waits for its commit for a second after that; another is for the way.
///
/// # Source
/// docs/protocol.md, "Writing".
const AFTER_DEADLINE: Duration = Duration::from_secs(2);
/// How long a node may take to delete all records.
const LIMIT: Duration = Duration::from_secs(30);
/// Left keys that are named.
const NAMED_MAX: usize = 5;
/// Deletions under way at once.
const IN_FLIGHT: usize = 32;

/// What was left behind.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Left {
    pub(super) keys: Vec<String>,
}

impl Left {
    /// What was left, and how to delete it; `None` when nothing was.
    pub(super) fn told(&self, collection: &str) -> Option<String> {
        let named: Vec<&str> = self.keys.iter().take(NAMED_MAX).map(|key| &**key).collect();
        let more = match self.keys.len().saturating_sub(NAMED_MAX) {
            0 => String::new(),
            more => format!(" and {more} more; --format json names all"),
        };
        let named = named.join(" ");
        (!named.is_empty()).then(|| {
            format!(
                "left behind, delete with `freshet delete {collection} KEY` what was not there before: {named}{more}"
            )
        })
    }
}

/// Deletes the run's records through the nodes, and in the databases where no node does it.
///
/// A write without an answer may happen until `deadline`, that of the nodes, is over; that is waited for.
pub(super) async fn clean_up(
    plan: &Plan,
    nodes: &[String],
    databases: Option<&Databases>,
    history: &History,
    deadline: Duration,
) -> Left {
    wait_for_late_writes(plan, history, deadline + AFTER_DEADLINE).await;
    let (mut left, unsure) = made(history);
    for node in nodes {
        if left.is_empty() {
            break;
        }
        if let Ok(client) = Client::connect(node, plan.server.options()).await {
            // A node that answers nothing costs the time of one request, not that of all.
            let deleted = timeout(LIMIT, undeleted(&client, &plan.collection, left.clone())).await;
            left = deleted.unwrap_or(left);
            client.close().await;
        }
    }
    if let Some(databases) = databases.filter(|_| !left.is_empty()) {
        left = uncleared(databases, plan, left).await;
    }
    left.extend(unsure);
    Left { keys: left }
}

/// The keys that the run has written, and those that it may have: a record under one of these may have stood before the run,
/// and is left.
fn made(history: &History) -> (Vec<String>, Vec<String>) {
    let written = |happened: fn(&Write) -> bool| -> BTreeSet<u32> {
        let writes = history.events.iter().filter_map(|event| match event {
            Event::Write(write) => happened(write).then_some(write.key),
            _ => None,
        });
        writes.collect()
    };
    let (made, perhaps) = (written(|write| write.stamp().is_some()), written(Write::may_have_happened));
    let named = |keys: &mut dyn Iterator<Item = &u32>| keys.map(|&key| history.keys[key as usize].clone()).collect();
    (named(&mut made.iter()), named(&mut perhaps.difference(&made)))
}

/// The keys that could not be deleted over `client`.
async fn undeleted(client: &Client, collection: &str, keys: Vec<String>) -> Vec<String> {
    let deletions = keys.into_iter().map(async |key| {
        let deleted = client.delete(collection, &key, WriteOptions::new()).await;
        deleted.is_err().then_some(key)
    });
    let left: Vec<_> = stream::iter(deletions).buffer_unordered(IN_FLIGHT).collect().await;
    left.into_iter().flatten().collect()
}

/// The keys that could not be deleted in their databases.
async fn uncleared(databases: &Databases, plan: &Plan, mut keys: Vec<String>) -> Vec<String> {
    for (number, database) in databases.all.iter().enumerate() {
        let own: HashSet<&str> = databases.keys_of(number).into_iter().map(|key| plan.key(key)).collect();
        let (here, elsewhere): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| own.contains(&**key));
        keys = elsewhere;
        if here.is_empty() {
            continue;
        }
        if database.clear(&here).await.is_err() {
            keys.extend(here);
        }
    }
    keys
}

async fn wait_for_late_writes(plan: &Plan, history: &History, limit: Duration) {
    let unknown = history.events.iter().filter_map(|event| match event {
        Event::Write(write) => matches!(write.outcome, Outcome::Unknown { .. }).then_some(write.ended),
        _ => None,
    });
    let Some(last) = unknown.max() else { return };
    let passed = Duration::from_micros(plan.recorder.now().saturating_sub(last));
    sleep(limit.saturating_sub(passed)).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Stamp;

    #[test]
    fn a_record_that_may_be_anothers_is_named_and_not_deleted() {
        let write = |key, outcome| {
            let (number, if_stamp) = (Some(u64::from(key)), Some(Stamp::ABSENT));
            Event::Write(Write {
                key,
                session: Some(0),
                number,
                if_stamp,
                is_repeat: false,
                sent: 0,
                ended: 1,
                outcome,
            })
        };
        let unknown = || Outcome::Unknown { reason: "connection lost".to_owned() };
        let events = vec![
            write(0, Outcome::Acknowledged { stamp: Stamp::new(1, 7) }),
            write(0, unknown()),
            write(1, unknown()),
            write(2, Outcome::Refused { reason: "conflict".to_owned(), current: Some(Stamp::new(1, 3)) }),
        ];
        let keys = ["own", "perhaps", "another's"].map(str::to_owned).to_vec();
        let history = History { keys, events, ..History::default() };
        assert_eq!(made(&history), (vec!["own".to_owned()], vec!["perhaps".to_owned()]));
    }
}
