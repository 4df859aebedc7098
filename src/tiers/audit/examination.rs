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
    shared::Chain,
    store::{Error, Origin},
    tiers::{Loaded, Tiers, freshness::Verdict, read_queue::Join},
};

/// Audits under way at once, at the most.
const IN_FLIGHT_MAX: usize = 32;
/// How long an audit may take: a tier proves within a second or so what it has applied.
const LIMIT: Duration = Duration::from_secs(5);
/// Between two looks for a proof.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// How long one read of a server may take.
const READ_LIMIT: Duration = Duration::from_secs(2);
/// The pauses before what is newer than the primary was is compared again.
const LATER_READS: [Duration; 6] = [
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_millis(1_000),
];
/// A second of marks: the snapshot of the last one is taken after a floor is dropped that was just found to be wrong, and so shows
/// whatever had been committed by then.
const MARKS_AHEAD: u64 = 20;

/// What an audit has found.
enum Examined {
    Right,
    Wrong(Wrong),
    /// The tier holds the record no longer.
    Gone,
}

/// What a tier should not hold.
struct Wrong {
    held: State,
    read: State,
    /// No server shows what is held, nor anything later.
    is_ahead: bool,
}

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
        let examined = self.examine(tier, &id).await;
        let outcome = match &examined {
            Some(Examined::Wrong(wrong)) => {
                self.report(tier, &id, wrong).await;
                Outcome::Wrong
            }
            Some(Examined::Right) => Outcome::Right,
            Some(Examined::Gone) => Outcome::Gone,
            None => Outcome::Unproven,
        };
        self.inner.audits.count(tier, outcome);
    }

    /// `None` where nothing can be said.
    async fn examine(&self, tier: Tier, id: &RecordId) -> Option<Examined> {
        let deadline = Deadline::after(LIMIT);
        let read = self.read_primary_now(id, deadline).await.ok()?;
        let held = match self.proven_holding(tier, id, read.position, deadline).await? {
            Holding::State(held) => held,
            Holding::Nothing => return Some(Examined::Gone),
        };
        match compare(&held, &read.state) {
            Comparison::Same => Some(Examined::Right),
            // The certificate vouches for the shard having been started over.
            Comparison::Incomparable if tier != Tier::Local || held.stamp > read.state.stamp => None,
            Comparison::Newer => self.examine_newer(id, held).await,
            Comparison::Older | Comparison::Differs | Comparison::Incomparable => {
                Some(Examined::Wrong(Wrong { held, read: read.state, is_ahead: false }))
            }
        }
    }

    /// Compares what is newer than the primary was with later reads of it. A commit that waits for a standby is shown by that one
    /// first, so a state is ahead of its database only if all servers answer and none shows it.
    async fn examine_newer(&self, id: &RecordId, held: State) -> Option<Examined> {
        for pause in LATER_READS {
            sleep(pause).await;
            let read = self.read_primary_now(id, Deadline::after(READ_LIMIT)).await.ok()?;
            match compare(&held, &read.state) {
                Comparison::Newer => {}
                Comparison::Same => return Some(Examined::Right),
                Comparison::Differs => {
                    return Some(Examined::Wrong(Wrong { held, read: read.state, is_ahead: false }));
                }
                // It has changed since the tier was looked at.
                Comparison::Older | Comparison::Incomparable => return None,
            }
        }
        let shard = self.inner.store.shard_of(id.as_ref()).ok()?;
        let deadline = Deadline::after(READ_LIMIT);
        let reads = self.inner.store.read_each(shard, id.collection, &id.key, deadline).await.ok()?;
        for read in reads {
            let read = read.ok()?;
            let shown = read.rows.first()?.state(read.generation);
            if shown.stamp >= held.stamp {
                return None;
            }
        }
        let read = self.read_primary_now(id, Deadline::after(READ_LIMIT)).await.ok()?;
        let is_ahead = compare(&held, &read.state) == Comparison::Newer;
        is_ahead.then_some(Examined::Wrong(Wrong { held, read: read.state, is_ahead }))
    }

    /// Reads a record on the primary, by a statement that begins after this call.
    async fn read_primary_now(&self, id: &RecordId, deadline: Deadline) -> Result<Loaded, Error> {
        let (answer, loaded) = completion::channel(|| Err(Error::shutting_down()));
        self.inner.batcher.load(id, Join::Later, deadline, answer);
        let loaded = deadline.limit(loaded).await.map_err(|_| Error::Deadline)??;
        // The answer of a replica that was promoted, say, proves nothing about the primary.
        (loaded.origin == Origin::Primary).then_some(loaded).ok_or_else(Error::primary_changed)
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
        let (shared, database) = (self.inner.shared.as_ref()?, self.owner_of(id.as_ref())?);
        let is_proof = |chain: &Chain| chain.applied.0 >= position.0 + 2 && self.is_usable(database, chain);
        // The slot, which may be large, is not read before.
        shared.cache.chain(&slice).await.ok()?.chain().filter(is_proof)?;
        let (chain, slots) = shared.cache.get(&slice, &[name]).await.ok()?;
        let chain = chain.filter(is_proof)?;
        let slot = slots.into_iter().flatten().next().filter(|slot| slot.incarnation == chain.incarnation);
        Some(Holding::of(slot.map(|slot| slot.state)))
    }

    /// Says that the tier is wrong, and has it forget the record.
    async fn report(&self, tier: Tier, id: &RecordId, wrong: &Wrong) {
        let collection = &self.inner.store.catalogue().get(id.collection).name;
        let (held, read) = (described(&wrong.held), described(&wrong.read));
        let key = id.key.as_str().escape_debug();
        let text = format!("{} held {collection}/{key} as {held}, the primary as {read}", tier.label());
        let is_removed = self.remove(tier, id, wrong).await;
        tracing::error!(found = text, is_removed, "a cached record is wrong");
        *self.inner.audits.last.lock() = Some(Finding { at: Instant::now(), text });
    }

    /// First from Redis, which a read under way might bring it back from; the base, which rises before the entry goes, refuses that
    /// read. False where Redis or the primary did not answer, and some of it may be left.
    async fn remove(&self, tier: Tier, id: &RecordId, wrong: &Wrong) -> bool {
        let mut is_removed = true;
        if let (Some(shared), Some((slice, name))) = (&self.inner.shared, self.slot_of(id)) {
            is_removed = shared.cache.discard(&slice, &name).await.is_ok();
        }
        if tier == Tier::Shadow {
            return is_removed;
        }
        let Some(view) = self.view_of(id.as_ref()) else { return false };
        let Ok(read) = self.read_primary_now(id, Deadline::after(READ_LIMIT)).await else { return false };
        if read.state.value.is_some() {
            view.filters.add(id);
        }
        self.inner.local.remove(id, || match wrong.is_ahead {
            true => view.floors.forget(id, wrong.held.stamp, Position(read.position.0 + MARKS_AHEAD)),
            false => view.floors.raise_position(Position(read.position.0 + 2)),
        });
        is_removed
    }
}

fn described(state: &State) -> String {
    match &state.value {
        Some(value) => format!("{} with {} bytes", state.stamp, value.len()),
        None => format!("{}, absent", state.stamp),
    }
}
