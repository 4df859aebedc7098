//! L2 in the walk: what L1 has not is asked of Redis, many records at once, and then of the database by one node.
//!
//! Reads of a slice that come while Redis is asked go out together in the next request: one MGET for the chain and up to 256
//! slots. What it does not have is asked for by a script that grants leases: the node that gets one reads the primary and
//! fills the slot; the others look again a few times, and then read the database without a lease.
//!
//! Whatever goes wrong here, the database is asked in its place.
//!
//! # Source
//! docs/coherence.md, section 5b.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::time::sleep;

use super::{
    Tiers,
    audit::Tier,
    batch::{Loaded, Server},
    chains::Chains,
    fills::Fills,
    lookups::{Lookup, Lookups},
    read_queue::{Caller, Callers, Join},
    shared_queue::{Joined, SharedQueue},
};
use crate::{
    record::{DatabaseId, Position, RecordId, ShardId, Stamp, State},
    resilience::Deadline,
    shared::{self, Cache, Chain, LEASE, Lease, Slice, Slot},
    store::{Error, Origin},
    telemetry::Telemetry,
};

/// The pauses after which a record is looked for again that another node reads: about as long as a read of a database.
pub(super) const LOOKS: [Duration; 4] =
    [Duration::from_millis(3), Duration::from_millis(6), Duration::from_millis(12), Duration::from_millis(24)];
/// Marks that a chain may be ahead of this node: a minute's.
const AHEAD_MAX: u64 = 1_200;

/// A slice of a database.
pub(super) type QueueId = (DatabaseId, u32);

/// The shared cache, and the reads that wait for it.
pub(super) struct SharedReads {
    pub(super) cache: Cache,
    pub(super) chains: Chains,
    queues: Mutex<HashMap<QueueId, SharedQueue>>,
    pub(super) fills: Fills,
    lookups: Lookups,
}

impl SharedReads {
    pub(super) fn new(cache: Cache, telemetry: &Telemetry) -> Self {
        let lookups = Lookups::new(telemetry);
        SharedReads {
            fills: Fills::new(cache.clone(), lookups.clone()),
            cache,
            chains: Chains::new(telemetry),
            queues: Mutex::default(),
            lookups,
        }
    }

    /// The slice that a shard belongs to.
    pub(super) fn slice_of(&self, shard: ShardId) -> u32 {
        shard.0 % self.cache.config().slices()
    }

    fn queued<T>(&self, queue: QueueId, with: impl FnOnce(&mut SharedQueue) -> T) -> T {
        with(self.queues.lock().entry(queue).or_default())
    }
}

/// A record that is asked for, with its slot.
pub(super) struct Wanted {
    pub(super) id: RecordId,
    pub(super) shard: ShardId,
    /// Of the slot.
    pub(super) name: String,
}

/// What Redis answered to a request for leases.
pub(super) struct Leases {
    pub(super) chain: Chain,
    /// In the order of the records.
    pub(super) leases: Vec<Lease>,
    /// Of those that were granted.
    pub(super) token: u64,
    pub(super) begun: Instant,
}

impl Tiers {
    /// Reads one record in the shared cache, or where it leads; for a caller whom any state will do that this node may answer.
    pub(super) fn load_shared(&self, id: &RecordId, caller: Caller) {
        let place = self.inner.store.shard_of(id.as_ref()).and_then(|shard| {
            let database = self.inner.store.owner(shard)?;
            Ok((database, shard))
        });
        let (Some(shared), Ok((database, shard))) = (&self.inner.shared, place) else {
            return self.load_stored(id, [caller]);
        };
        let queue = (database, shared.slice_of(shard));
        match shared.queued(queue, |waiting| waiting.join(id, caller)) {
            Joined::Waiting => {}
            Joined::First => drop(tokio::spawn(self.clone().serve_shared(queue))),
            Joined::Resting(caller) => self.load_stored(id, [caller]),
            Joined::Loading(caller) if caller.is_shadow => {}
            Joined::Loading(caller) => self.inner.batcher.join(id, Join::Any, Server::Primary, caller),
        }
    }

    /// Asks Redis for record after record until the queue is empty.
    async fn serve_shared(self, queue: QueueId) {
        let Some(shared) = &self.inner.shared else { return };
        let _served = Served { tiers: &self, queue };
        loop {
            // As for statements: readers that are about to ask go first.
            tokio::task::yield_now().await;
            let Some(ids) = shared.queued(queue, SharedQueue::next) else { return };
            let Some(slice) = self.slice(queue) else {
                ids.iter().for_each(|id| self.give_up(queue, id));
                continue;
            };
            let mut wanted = Vec::with_capacity(ids.len());
            for id in ids {
                match self.want(&slice, &id) {
                    Some(found) => wanted.push(found),
                    None => self.give_up(queue, &id),
                }
            }
            let missing = self.look_up(queue, &slice, wanted).await;
            if missing.is_empty() {
                continue;
            }
            if shared.cache.switches().fills {
                tokio::spawn(self.clone().lease(queue, slice, missing));
            } else {
                missing.iter().for_each(|wanted| self.give_up(queue, &wanted.id));
            }
        }
    }

    /// What a slice is called; `None` while its database was not met.
    pub(super) fn slice(&self, (database, number): QueueId) -> Option<Slice> {
        let lineage = self.inner.store.lineage(database)?;
        let slices = self.inner.shared.as_ref()?.cache.config().slices();
        Some(Slice::new(self.inner.store.name(database), lineage, number, slices))
    }

    /// Where a record's slot is; `None` without Redis, and while its database was not met.
    pub(super) fn slot_of(&self, id: &RecordId) -> Option<(Slice, String)> {
        let (shard, database) = (self.inner.store.shard_of(id.as_ref()).ok()?, self.owner_of(id.as_ref())?);
        let slice = self.slice((database, self.inner.shared.as_ref()?.slice_of(shard)))?;
        let name = self.want(&slice, id)?.name;
        Some((slice, name))
    }

    /// The slot of a record in its slice; `None` for a key without a shard.
    pub(super) fn want(&self, slice: &Slice, id: &RecordId) -> Option<Wanted> {
        let shard = self.inner.store.shard_of(id.as_ref()).ok()?;
        let name = slice.slot(shard, &self.inner.store.catalogue().get(id.collection).name, &id.key);
        Some(Wanted { id: id.clone(), shard, name })
    }

    /// Asks for leases on what does not show the stamps wanted; `None` where Redis does not say.
    pub(super) async fn ask_for_leases(&self, slice: &Slice, wanted: &[Wanted]) -> Option<Leases> {
        let shared = self.inner.shared.as_ref()?;
        let stamps: Vec<_> = wanted.iter().map(|wanted| (wanted.name.clone(), self.wanted_stamp(&wanted.id))).collect();
        let (begun, token) = (Instant::now(), rand::random());
        let (chain, leases) = shared.cache.lease(slice, &stamps, token).await.ok()??;
        Some(Leases { chain, leases, token, begun })
    }

    /// Answers what Redis has; returns the rest.
    async fn look_up(&self, queue: QueueId, slice: &Slice, wanted: Vec<Wanted>) -> Vec<Wanted> {
        let Some(shared) = &self.inner.shared else { return Vec::new() };
        let begun = Instant::now();
        let names: Vec<String> = wanted.iter().map(|wanted| wanted.name.clone()).collect();
        let got = shared.cache.get(slice, &names).await;
        match &got {
            Ok((chain, slots)) => {
                self.saw_chain(queue, chain.as_ref());
                shared.queued(queue, |waiting| waiting.answered(bytes_of(slots)));
            }
            // Refused at once: that says nothing about the slice.
            Err(shared::Error::Away { .. }) => {}
            Err(_) => shared.queued(queue, SharedQueue::failed),
        }
        let Ok((Some(chain), slots)) = got else {
            shared.lookups.count(if got.is_err() { Lookup::Failed } else { Lookup::Unkept }, wanted.len());
            wanted.iter().for_each(|wanted| self.give_up(queue, &wanted.id));
            return Vec::new();
        };
        if !self.is_usable(queue.0, &chain) {
            shared.lookups.count(Lookup::Behind, wanted.len());
            wanted.iter().for_each(|wanted| self.give_up(queue, &wanted.id));
            return Vec::new();
        }
        let mut missing = Vec::new();
        for (wanted, slot) in wanted.into_iter().zip(slots) {
            match slot.and_then(|slot| self.judge(&wanted.id, &chain, slot)) {
                Some(state) => self.hit(queue, &wanted, state, chain.applied, begun),
                None => missing.push(wanted),
            }
        }
        shared.lookups.count(Lookup::Missed, missing.len());
        missing
    }

    /// Whether a chain says enough for this node: a slot counts as a read at the mark that the chain has applied. One far ahead of
    /// what this node has applied is of another history, and a floor at its mark would refuse reads for as long.
    pub(super) fn is_usable(&self, database: DatabaseId, chain: &Chain) -> bool {
        let floors = &self.inner.views.of(database).floors;
        floors.admits_at(chain.applied) && chain.applied.0 <= floors.applied().0 + AHEAD_MAX
    }

    /// The state of a slot, if it may be answered: it is of the chain's life and of the generation that is known here, and not
    /// older than the key's floor.
    pub(super) fn judge(&self, id: &RecordId, chain: &Chain, slot: Slot) -> Option<State> {
        let Slot { incarnation, state } = slot;
        let wanted = self.wanted_stamp(id);
        // A higher generation is for the feed to report, not for Redis.
        let is_fit = incarnation == chain.incarnation
            && state.stamp >= wanted
            && state.stamp.generation == self.generation_of(id.as_ref());
        is_fit.then_some(state)
    }

    /// What a slot must show at least.
    pub(super) fn wanted_stamp(&self, id: &RecordId) -> Stamp {
        let least = Stamp::new(self.generation_of(id.as_ref()), 0);
        self.view_of(id.as_ref()).and_then(|view| view.floors.get(id)).map_or(least, |floor| floor.max(least))
    }

    fn hit(&self, queue: QueueId, wanted: &Wanted, state: State, position: Position, begun: Instant) {
        let Some(shared) = &self.inner.shared else { return };
        shared.lookups.count(Lookup::Hit, 1);
        let (database, shard) = (queue.0, wanted.shard);
        let loaded = Loaded { state, database, position, origin: Origin::Shared, shard, begun };
        let callers = shared.queued(queue, |waiting| waiting.settle(&wanted.id));
        if callers.iter().any(|caller| !caller.is_shadow) {
            self.inner.audits.sample(Tier::Shared, wanted.id.as_ref());
        }
        for caller in callers {
            caller.answer.complete(Ok(loaded.clone()));
        }
    }

    /// The database is asked, without a lease.
    fn give_up(&self, queue: QueueId, id: &RecordId) {
        let Some(shared) = &self.inner.shared else { return };
        let callers = shared.queued(queue, |waiting| waiting.settle(id));
        self.load_stored(id, callers);
    }

    fn load_stored(&self, id: &RecordId, callers: impl IntoIterator<Item = Caller>) {
        let route = self.stored_route(id);
        let callers = callers.into_iter().filter(|caller| !caller.is_shadow);
        callers.for_each(|caller| self.load_at(id, Join::Any, route, caller));
    }

    /// Asks for leases, and reads the records for which they are granted. For the others it looks again what the node has put
    /// there that got the lease.
    async fn lease(self, queue: QueueId, slice: Slice, mut wanted: Vec<Wanted>) {
        let Some(shared) = &self.inner.shared else { return };
        let ids = wanted.iter().map(|wanted| wanted.id.clone()).collect();
        let _leasing = Leasing { tiers: &self, queue, ids };
        let mut looks = LOOKS.into_iter();
        loop {
            let Some(Leases { chain, leases, token, begun }) = self.ask_for_leases(&slice, &wanted).await else {
                break;
            };
            let mut held = Vec::new();
            for (wanted, lease) in wanted.into_iter().zip(leases) {
                match lease {
                    Lease::Granted => self.load_leased(queue, &slice, &chain, wanted, token),
                    Lease::Held => held.push(wanted),
                    Lease::Found(slot) => match self.judge(&wanted.id, &chain, slot) {
                        Some(state) if self.is_usable(queue.0, &chain) => {
                            self.hit(queue, &wanted, state, chain.applied, begun);
                        }
                        _ => self.give_up(queue, &wanted.id),
                    },
                    Lease::Unfit => self.give_up(queue, &wanted.id),
                }
            }
            wanted = held;
            let Some(look) = looks.next().filter(|_| !wanted.is_empty()) else { break };
            sleep(look).await;
        }
        shared.lookups.count(Lookup::Unleased, wanted.len());
        wanted.iter().for_each(|wanted| self.give_up(queue, &wanted.id));
    }

    /// Reads a record on the primary, in a statement that begins after the lease was granted, and fills its slot.
    fn load_leased(&self, queue: QueueId, slice: &Slice, chain: &Chain, wanted: Wanted, token: u64) {
        let Some(shared) = &self.inner.shared else { return };
        let callers = shared.queued(queue, |waiting| waiting.begin_loading(&wanted.id));
        let (tiers, id, slice, name) = (self.clone(), wanted.id.clone(), slice.clone(), wanted.name);
        let incarnation = chain.incarnation;
        let fill = move |loaded: Result<Loaded, Error>| {
            let Some(shared) = &tiers.inner.shared else { return };
            // None wait, unless the queue was abandoned and begun anew.
            tiers.give_up(queue, &id);
            let admitted = loaded.ok().and_then(|loaded| tiers.admitted(&id, &loaded));
            shared.fills.offer(slice, name, token, admitted.map(|state| Slot { incarnation, state }));
        };
        let filler = Caller::new(Deadline::after(LEASE), fill);
        for caller in std::iter::once(filler).chain(callers) {
            self.inner.batcher.join(&wanted.id, Join::Later, Server::Primary, caller);
        }
    }
}

impl Tiers {
    /// Installs what was read; returns it if it may be put into Redis. What stands here instead may be of this node alone.
    pub(super) fn admitted(&self, id: &RecordId, loaded: &Loaded) -> Option<State> {
        let is_absent = loaded.state.value.is_none();
        let is_same = |state: &State| state.stamp == loaded.state.stamp || (is_absent && state.value.is_none());
        self.install(id, loaded).filter(is_same)
    }
}

fn bytes_of(slots: &[Option<Slot>]) -> Option<usize> {
    let sizes = slots.iter().flatten().map(|slot| slot.state.value.as_ref().map_or(0, bytes::Bytes::len));
    let (count, sum) = sizes.fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes));
    (count > 0).then(|| sum / count)
}

/// Guards the task that asks for leases: if it panics, the callers of its records get an error.
struct Leasing<'t> {
    tiers: &'t Tiers,
    queue: QueueId,
    ids: Vec<RecordId>,
}

impl Drop for Leasing<'_> {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(shared) = &self.tiers.inner.shared
        {
            let settle = |id| shared.queued(self.queue, |waiting| waiting.settle(id));
            let abandoned: Vec<Callers> = self.ids.iter().map(settle).collect();
            drop(abandoned);
        }
    }
}

/// Guards the task that serves a queue: if it panics, its callers get an error.
struct Served<'t> {
    tiers: &'t Tiers,
    queue: QueueId,
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(shared) = &self.tiers.inner.shared
        {
            let abandoned: Vec<Callers> = shared.queued(self.queue, SharedQueue::abandon);
            drop(abandoned);
        }
    }
}
