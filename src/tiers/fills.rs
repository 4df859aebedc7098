//! States on their way into Redis, where this node has the lease.

use std::collections::HashMap;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    Tiers,
    lookups::{Lookup, Lookups},
};
use crate::shared::{Cache, Fill, SLOTS_AT_ONCE_MAX, Slice, Slot};

/// Fills that wait for Redis, at the most; beyond them leases are left to end by themselves.
const FILLS_MAX: usize = 1_024;
/// Bytes of one operation, about.
const FILL_BYTES: usize = 1 << 20;

/// What waits to be put into Redis.
pub(super) struct Fills {
    cache: Cache,
    lookups: Lookups,
    offered: mpsc::Sender<(Slice, Fill)>,
    /// Taken by the one task that puts them there.
    taken: Mutex<Option<mpsc::Receiver<(Slice, Fill)>>>,
}

impl Fills {
    pub(super) fn new(cache: Cache, lookups: Lookups) -> Self {
        let (offered, taken) = mpsc::channel(FILLS_MAX);
        Fills { cache, lookups, offered, taken: Mutex::new(Some(taken)) }
    }

    /// Has a slot filled, or its lease given up, which `token` names. A value that is too large gives it up as well.
    pub(super) fn offer(&self, slice: Slice, name: String, token: u64, slot: Option<Slot>) {
        let slot = slot.filter(|slot| self.cache.has_room_for(&slot.state));
        // Where Redis cannot take so many, the lease ends by itself.
        drop(self.offered.try_send((slice, Fill { name, token, slot })));
    }

    /// Side by side: a slice that Redis does not answer about holds up no other.
    async fn put_all(&self, mut taken: mpsc::Receiver<(Slice, Fill)>) {
        let mut few = Vec::with_capacity(SLOTS_AT_ONCE_MAX);
        while taken.recv_many(&mut few, SLOTS_AT_ONCE_MAX).await > 0 {
            let mut slices: HashMap<Slice, Vec<Fill>> = HashMap::new();
            few.drain(..).for_each(|(slice, fill)| slices.entry(slice).or_default().push(fill));
            join_all(slices.into_iter().map(|(slice, fills)| self.put(slice, fills))).await;
        }
    }

    /// Where it fails, the leases end by themselves.
    async fn put(&self, slice: Slice, fills: Vec<Fill>) {
        let mut rest = &fills[..];
        while !rest.is_empty() {
            let mut bytes = 0;
            let few = rest.iter().take_while(|fill| {
                let has_room = bytes < FILL_BYTES;
                bytes += fill.bytes();
                has_room
            });
            let (now, after) = rest.split_at(few.count());
            match self.cache.fill(&slice, now).await {
                Ok(filled) => self.lookups.count(Lookup::Filled, usize::try_from(filled).unwrap_or(usize::MAX)),
                Err(_) => return,
            }
            rest = after;
        }
    }
}

impl Tiers {
    /// Puts what was read under a lease into Redis, until `stop`. Without Redis it does nothing.
    pub async fn fill_shared(self, stop: CancellationToken) {
        let taken = self.inner.shared.as_ref().and_then(|shared| shared.fills.taken.lock().take());
        match (&self.inner.shared, taken) {
            (Some(shared), Some(taken)) => drop(stop.run_until_cancelled(shared.fills.put_all(taken)).await),
            _ => stop.cancelled().await,
        }
    }
}
