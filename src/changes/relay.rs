//! The one task among all nodes that marks a database's history.

use std::time::Duration;

use prometheus::{IntCounter, IntGauge};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    record::DatabaseId,
    resilience::Backoff,
    store::{Error, Lead, Store},
    tiers::Tiers,
};

use super::counters::Counters;

/// A mark's distance from the next.
const MARK_INTERVAL: Duration = Duration::from_millis(50);
/// How often old marks, outbox rows and tombstones are deleted.
const PRUNE_INTERVAL: Duration = Duration::from_secs(60);
/// How often a node that does not lead looks whether it should stand for election.
const CANDIDACY: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(2));
/// A node stands when it has met no new mark for so long: while marks come, another leads, and to ask the database costs it
/// a session.
const MARK_LIMIT: Duration = Duration::from_secs(3);

/// Stands for election and, once elected, marks and prunes.
///
/// # Source
/// docs/coherence.md, section 3; without a bus the relay has nothing to publish, since every node tails the outbox
/// itself (section 5).
pub struct Relay {
    database: DatabaseId,
    store: Store,
    tiers: Tiers,
    /// Of the primary.
    term: watch::Receiver<u64>,
    marks: IntCounter,
    leads: IntGauge,
}

impl Relay {
    /// A relay for a database of `store`.
    pub fn new(database: DatabaseId, store: Store, tiers: Tiers, counters: &Counters) -> Self {
        let name = [store.name(database)];
        Relay {
            database,
            marks: counters.marks.with_label_values(&name),
            leads: counters.leads.with_label_values(&name),
            term: store.primary_term(database),
            store,
            tiers,
        }
    }

    /// Runs until `stop`; losing the lead or the database only sends it back to standing for election.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let ended = stop.run_until_cancelled(self.stand_and_lead()).await;
            self.leads.set(0);
            let has_led = match ended {
                None => return,
                Some(Ok(has_led)) => has_led,
                Some(Err(error)) => {
                    tracing::debug!(%error, "does not lead");
                    false
                }
            };
            if stop.run_until_cancelled(self.rest(has_led)).await.is_none() {
                return;
            }
        }
    }

    /// Waits until this node should stand. One that has led does not wait until marks have been missing for long.
    async fn rest(&mut self, has_led: bool) {
        let mut wait = CANDIDACY;
        loop {
            tokio::select! {
                () = sleep(wait.next_wait()) => {}
                // Nodes serve a new primary only after a leader has recorded its history.
                Ok(()) = self.term.changed() => return,
            }
            if has_led || self.tiers.freshness_of(self.database).since_mark() >= MARK_LIMIT {
                return;
            }
        }
    }

    /// Whether it has led.
    async fn stand_and_lead(&mut self) -> Result<bool, Error> {
        let Some(lead) = self.store.lead(self.database).await? else { return Ok(false) };
        tracing::info!(database = self.store.name(self.database), "leads: marks the change feed");
        self.leads.set(1);
        let lost = self.lead(lead).await;
        tracing::warn!(error = %lost, database = self.store.name(self.database), "leads no longer");
        Ok(true)
    }

    /// Marks until something goes wrong.
    async fn lead(&mut self, mut lead: Lead) -> Error {
        let mut ticks = interval(MARK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pruned = Instant::now();
        loop {
            ticks.tick().await;
            let marked = tokio::select! {
                marked = lead.mark() => marked,
                // An old primary may have fallen silent: it is not waited for.
                Ok(()) = self.term.changed() => {
                    self.term.mark_changed();
                    Err(Error::primary_changed())
                }
            };
            if let Err(error) = marked {
                return error;
            }
            self.marks.inc();
            if pruned.elapsed() >= PRUNE_INTERVAL {
                match lead.prune().await {
                    // Batch after batch, a mark between two of them.
                    Ok(true) => {}
                    Ok(false) => pruned = Instant::now(),
                    Err(error) => return error,
                }
            }
        }
    }
}
