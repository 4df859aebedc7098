//! The one task among all nodes that marks a database's history.

use std::time::Duration;

use prometheus::{IntCounter, IntGauge};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{
    record::DatabaseId,
    resilience::Backoff,
    store::{Error, Lead, Store},
};

use super::counters::Counters;

/// A mark's distance from the next.
const MARK_INTERVAL: Duration = Duration::from_millis(50);
/// How often old marks, outbox rows and tombstones are deleted.
const PRUNE_INTERVAL: Duration = Duration::from_secs(60);
/// How often a node that does not lead asks whether it may.
const CANDIDACY: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(2));

/// Stands for election and, once elected, marks and prunes.
///
/// # Source
/// docs/coherence.md, section 3; without a bus the relay has nothing to publish, since every node tails the outbox
/// itself (section 5).
pub struct Relay {
    database: DatabaseId,
    store: Store,
    marks: IntCounter,
    leads: IntGauge,
}

impl Relay {
    /// A relay for a database of `store`.
    pub fn new(database: DatabaseId, store: Store, counters: &Counters) -> Self {
        let name = [store.name(database)];
        Relay {
            database,
            marks: counters.marks.with_label_values(&name),
            leads: counters.leads.with_label_values(&name),
            store,
        }
    }

    /// Runs until `stop`; losing the lead or the database only sends it back to standing for election.
    pub async fn run(self, stop: CancellationToken) {
        let mut wait = CANDIDACY;
        loop {
            let ended = stop.run_until_cancelled(self.stand_and_lead()).await;
            self.leads.set(0);
            match ended {
                None => return,
                Some(Ok(())) => {}
                Some(Err(error)) => tracing::debug!(%error, "does not lead"),
            }
            if stop.run_until_cancelled(tokio::time::sleep(wait.next_wait())).await.is_none() {
                return;
            }
        }
    }

    async fn stand_and_lead(&self) -> Result<(), Error> {
        let Some(lead) = self.store.lead(self.database).await? else { return Ok(()) };
        tracing::info!(database = self.store.name(self.database), "leads: marks the change feed");
        self.leads.set(1);
        let lost = self.lead(lead).await;
        tracing::warn!(error = %lost, database = self.store.name(self.database), "leads no longer");
        Err(lost)
    }

    /// Marks until something goes wrong.
    async fn lead(&self, mut lead: Lead) -> Error {
        let mut ticks = interval(MARK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pruned = Instant::now();
        loop {
            ticks.tick().await;
            if let Err(error) = lead.mark().await {
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
