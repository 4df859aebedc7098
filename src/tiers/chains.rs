//! How far Redis was, database by database, when this node last read its chains: for people and metrics. No answer depends on it.
//!
//! A chain is read with the records that are looked up there; where none are, it is looked at once a second.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use parking_lot::Mutex;
use prometheus::GaugeVec;

use super::{Tiers, shared::QueueId};
use crate::{
    record::DatabaseId,
    shared::{Chain, Standing, Switches},
    telemetry::Telemetry,
};

/// A chain that was read so lately is not looked at.
const LOOK_AFTER: Duration = Duration::from_secs(1);
/// What was read longer ago says nothing about now.
const FORGET_AFTER: Duration = Duration::from_secs(5);
/// The time between two marks.
const MARK_INTERVAL: Duration = Duration::from_millis(50);

/// What was last read of the chains.
pub(super) struct Chains {
    seen: Mutex<HashMap<QueueId, Seen>>,
    behind: GaugeVec,
}

#[derive(Clone, Copy)]
struct Seen {
    at: Instant,
    /// Marks between the chain and what this node had applied; `None` where there was no chain.
    behind: Option<u64>,
    is_usable: bool,
}

/// What is known of Redis.
#[derive(Clone, Debug)]
pub struct SharedState {
    /// Whether it is asked.
    pub standing: Standing,
    /// What of it this node uses.
    pub switches: Switches,
    /// In the order of the configuration.
    pub databases: Vec<SharedDatabase>,
}

/// What is known of a database in Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedDatabase {
    /// The database's name.
    pub name: String,
    /// Its slices.
    pub slices: u32,
    /// Those from which records may be answered: a keeper has brought their chains to a mark that this node still reads at.
    pub usable: u32,
    /// How far the last of these is behind what this node has applied.
    pub behind: Option<Duration>,
}

impl Chains {
    pub(super) fn new(telemetry: &Telemetry) -> Self {
        let behind = telemetry.durations(
            "freshet_shared_behind_seconds",
            "How far Redis is behind the changes that this node has applied.",
            &["database"],
        );
        Chains { seen: Mutex::default(), behind }
    }

    fn of(&self, queue: QueueId) -> Option<Seen> {
        self.seen.lock().get(&queue).copied()
    }
}

impl Tiers {
    /// Notes a slice's chain as it was read.
    pub(super) fn saw_chain(&self, queue: QueueId, chain: Option<&Chain>) {
        let Some(shared) = &self.inner.shared else { return };
        let seen = Seen {
            at: Instant::now(),
            behind: chain.map(|chain| self.applied(queue.0).0.saturating_sub(chain.applied.0)),
            is_usable: chain.is_some_and(|chain| self.is_usable(queue.0, chain)),
        };
        shared.chains.seen.lock().insert(queue, seen);
    }

    /// Looks at the chains that no read has seen lately, side by side; takes no longer than an operation on Redis may.
    pub async fn look_at_chains(&self) {
        let Some(shared) = self.inner.shared.as_ref().filter(|shared| shared.cache.state().is_open) else { return };
        let slices = shared.cache.config().slices();
        let queues = self.inner.store.databases().flat_map(|database| (0..slices).map(move |slice| (database, slice)));
        let unseen = queues.filter(|queue| shared.chains.of(*queue).is_none_or(|seen| seen.at.elapsed() >= LOOK_AFTER));
        let looks = unseen.filter_map(|queue| Some((queue, self.slice(queue)?))).map(async |(queue, slice)| {
            if let Ok(stored) = shared.cache.chain(&slice).await {
                self.saw_chain(queue, stored.chain().as_ref());
            }
        });
        join_all(looks).await;
        for (database, name) in self.databases() {
            let behind = shared.chains.behind.with_label_values(&[name]);
            let SharedDatabase { behind: known, .. } = self.shared_database(database, name, slices, &shared.chains);
            behind.set(known.map_or(-1.0, |known| known.as_secs_f64()));
        }
    }

    /// What is known of Redis; `None` where there is none.
    pub fn shared_state(&self) -> Option<SharedState> {
        let shared = self.inner.shared.as_ref()?;
        let slices = shared.cache.config().slices();
        let databases = self.databases().map(|(id, name)| self.shared_database(id, name, slices, &shared.chains));
        let (standing, switches) = (shared.cache.state(), shared.cache.switches());
        Some(SharedState { standing, switches, databases: databases.collect() })
    }

    fn shared_database(&self, database: DatabaseId, name: &str, slices: u32, chains: &Chains) -> SharedDatabase {
        let seen = (0..slices).filter_map(|slice| chains.of((database, slice)));
        let usable: Vec<Seen> = seen.filter(|seen| seen.is_usable && seen.at.elapsed() < FORGET_AFTER).collect();
        let furthest = usable.iter().filter_map(|seen| seen.behind).max();
        let behind = furthest.map(|marks| MARK_INTERVAL * u32::try_from(marks).unwrap_or(u32::MAX));
        SharedDatabase { name: name.to_owned(), slices, usable: usable.len() as u32, behind }
    }
}
