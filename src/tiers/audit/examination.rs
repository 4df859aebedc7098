//! An audit of one record, step by step.

use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::{Instant as Timer, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    Finding, Findings, Outcome, Tier,
    comparison::{Comparison, compare},
};
use crate::{
    completion,
    record::{Position, RecordId, Stamp, State},
    resilience::Deadline,
    store::{Error, Origin},
    tiers::{Loaded, Tiers, freshness::Verdict, read_queue::Join},
};

/// Audits under way at once, at the most.
const IN_FLIGHT_MAX: usize = 32;
/// How long an audit may take: a tier proves within a second or so what it has applied.
const LIMIT: Duration = Duration::from_secs(5);
/// Between two looks for a proof.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// What a tier holds of a record.
enum Holding {
    Nothing,
    State(State),
}

impl Holding {
    fn of(state: Option<State>) -> Self {
        state.map_or(Holding::Nothing, Holding::State)
    }
}

impl Tiers {
    /// Audits until `stop`.
    pub async fn audit(self, stop: CancellationToken) {
        let mut in_flight = FuturesUnordered::new();
        let (mut due, mut last) = (Timer::now(), Tier::Shadow);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(()) = in_flight.next() => {}
                (tier, id) = async {
                    sleep_until(due).await;
                    self.inner.audits.next(last).await
                }, if in_flight.len() < IN_FLIGHT_MAX => {
                    (due, last) = (Timer::now() + self.inner.audits.pause, tier);
                    in_flight.push(self.audit_record(tier, id));
                }
            }
        }
    }

    /// What audits have found.
    pub fn findings(&self) -> Findings {
        self.inner.audits.findings()
    }

    async fn audit_record(&self, tier: Tier, id: RecordId) {
        let outcome = self.examine(tier, &id, Deadline::after(LIMIT)).await.unwrap_or(Outcome::Unproven);
        self.inner.audits.count(tier, outcome);
    }

    /// `None` where nothing can be said.
    async fn examine(&self, tier: Tier, id: &RecordId, deadline: Deadline) -> Option<Outcome> {
        let mut read = self.read_primary_now(id, deadline).await.ok()?;
        let Holding::State(held) = self.proven_holding(tier, id, read.position, deadline).await? else {
            return Some(Outcome::Gone);
        };
        let mut comparison = compare(&held, &read.state);
        while comparison == Comparison::Newer {
            // A commit that waits for a standby is shown by that one first.
            if deadline.left() < LIMIT / 2 {
                let is_shown = self.replica_shows(id, held.stamp, deadline).await;
                return if is_shown { None } else { Some(self.found(tier, id, &held, &read.state)) };
            }
            sleep(LOOK_INTERVAL).await;
            read = self.read_primary_now(id, deadline).await.ok()?;
            comparison = match compare(&held, &read.state) {
                // It has changed since the tier was looked at.
                Comparison::Older => return None,
                comparison => comparison,
            };
        }
        match comparison {
            Comparison::Same => Some(Outcome::Right),
            Comparison::Incomparable => None,
            Comparison::Older | Comparison::Differs | Comparison::Newer => {
                Some(self.found(tier, id, &held, &read.state))
            }
        }
    }

    /// Reads a record on the primary, by a statement that begins after this call.
    async fn read_primary_now(&self, id: &RecordId, deadline: Deadline) -> Result<Loaded, Error> {
        let (answer, loaded) = completion::channel(|| Err(Error::shutting_down()));
        self.inner.batcher.load(id, Join::Later, deadline, answer);
        let loaded = deadline.limit(loaded).await.map_err(|_| Error::Deadline)??;
        // The answer of a replica that was promoted, say, proves nothing about the primary.
        (loaded.origin == Origin::Primary).then_some(loaded).ok_or_else(Error::primary_changed)
    }

    async fn replica_shows(&self, id: &RecordId, stamp: Stamp, deadline: Deadline) -> bool {
        let Ok(shard) = self.inner.store.shard_of(id.as_ref()) else { return false };
        let keys = [id.key.clone()];
        let read = self.inner.store.read_replica(shard, id.collection, &keys, Position::default(), deadline).await;
        read.is_ok_and(|read| read.rows.iter().any(|row| row.state(read.generation).stamp >= stamp))
    }

    /// What the tier holds of a record, once it has applied every change that a read at `position` of the primary showed which has
    /// just ended; `None` where it does not prove that in time.
    async fn proven_holding(
        &self,
        tier: Tier,
        id: &RecordId,
        position: Position,
        deadline: Deadline,
    ) -> Option<Holding> {
        let since = Instant::now();
        while !deadline.passed() {
            let holding = match tier {
                Tier::Local | Tier::Filter => self.own_holding(tier, id, since),
                Tier::Shared | Tier::Shadow => self.shared_holding(id, position).await,
            };
            if holding.is_some() {
                return holding;
            }
            sleep(LOOK_INTERVAL).await;
        }
        None
    }

    /// Proven by a poll that began after `since`.
    fn own_holding(&self, tier: Tier, id: &RecordId, since: Instant) -> Option<Holding> {
        let view = self.view_of(id.as_ref())?;
        view.freshness.proven().filter(|proven| *proven >= since)?;
        if tier == Tier::Filter {
            let denies = view.freshness.verdict() == Verdict::Fresh && self.is_denied(view, id);
            let absent = || State::absent(Stamp::new(self.generation_of(id.as_ref()), 0));
            return Some(Holding::of(denies.then(absent)));
        }
        let held = self.inner.local.get(&id.as_ref(), Instant::now(), |entry| entry.state().clone());
        Some(Holding::of(held))
    }

    /// Proven by a chain that has applied mark `position` + 2: the snapshot of that mark was taken after the read, because the
    /// read did not show the mark before it.
    async fn shared_holding(&self, id: &RecordId, position: Position) -> Option<Holding> {
        let (slice, name) = self.slot_of(id)?;
        let shared = self.inner.shared.as_ref()?;
        let (chain, slots) = shared.cache.get(&slice, &[name]).await.ok()?;
        let chain = chain.filter(|chain| chain.applied.0 >= position.0 + 2)?;
        let slot = slots.into_iter().flatten().next().filter(|slot| slot.incarnation == chain.incarnation);
        Some(Holding::of(slot.map(|slot| slot.state)))
    }

    /// The tier is wrong: it says so, and forgets the record.
    fn found(&self, tier: Tier, id: &RecordId, held: &State, read: &State) -> Outcome {
        let collection = &self.inner.store.catalogue().get(id.collection).name;
        let text = format!(
            "{} held {collection}/{} as {}, the primary as {}",
            tier.label(),
            id.key.as_str(),
            described(held),
            described(read)
        );
        tracing::error!(found = text, "a cached record is wrong; it was removed");
        *self.inner.audits.last.lock() = Some(Finding { at: Instant::now(), text });
        self.inner.local.remove(id);
        if let Some(view) = self.view_of(id.as_ref()) {
            view.floors.forget(id);
        }
        if let (Some(shared), Some((slice, name))) = (&self.inner.shared, self.slot_of(id)) {
            let cache = shared.cache.clone();
            tokio::spawn(async move { cache.discard(&slice, &name).await });
        }
        Outcome::Wrong
    }
}

fn described(state: &State) -> String {
    match &state.value {
        Some(value) => format!("{} with {} bytes", state.stamp, value.len()),
        None => format!("{}, absent", state.stamp),
    }
}
