//! Reads of changed records for their watchers: of several nodes on which a record is watched, one reads the database.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{
    Tiers,
    audit::Tier,
    batch::Loaded,
    shared::{LOOKS, SharedReads},
};
use crate::{
    record::{CollectionId, DatabaseId, Key, RecordId, ShardId},
    resilience::Deadline,
    shared::{Chain, Lease, Slice, Slot},
    store::{Error, Origin},
};

/// The records of one shard, and what was found of them.
struct Changed<'k> {
    database: DatabaseId,
    shard: ShardId,
    collection: CollectionId,
    keys: &'k [Key],
    found: Vec<Option<Loaded>>,
    deadline: Deadline,
}

impl Tiers {
    /// Reads `keys` of one shard, whose changes this node has taken note of; a state for each, in their order. What another node
    /// has read since the change is taken from Redis, and the rest read on the primary.
    ///
    /// # Errors
    /// [`Error::Deadline`], [`Error::Unavailable`], [`Error::NotOwned`], [`Error::Disputed`].
    ///
    /// # Cancel safety
    /// Nothing is lost; a lease that was granted ends by itself.
    pub async fn read_changed(
        &self,
        shard: ShardId,
        collection: CollectionId,
        keys: &[Key],
        deadline: Deadline,
    ) -> Result<Vec<Loaded>, Error> {
        let database = self.inner.store.owner(shard)?;
        let found = vec![None; keys.len()];
        let mut changed = Changed { database, shard, collection, keys, found, deadline };
        if let Some(shared) = &self.inner.shared
            && let Some(switches) = self.switches_for(database).filter(|switches| switches.reads)
            && let Some(slice) = self.slice((database, shared.slice_of(shard)))
        {
            match switches.fills {
                true => self.share(shared, &slice, &mut changed).await?,
                false => self.look(shared, &slice, &mut changed).await,
            }
        }
        self.read_rest(&mut changed).await?;
        changed.found.into_iter().map(|found| found.ok_or_else(|| Error::broken("read a changed record"))).collect()
    }

    /// Finds what Redis has, and reads the records for which it grants leases. Whatever is left is for the database.
    async fn share(&self, shared: &SharedReads, slice: &Slice, changed: &mut Changed<'_>) -> Result<(), Error> {
        let mut wanted: Vec<usize> = (0..changed.keys.len()).collect();
        for look in [Duration::ZERO].into_iter().chain(LOOKS) {
            if !look.is_zero() {
                sleep(look).await;
            }
            let slots: Vec<_> = wanted.iter().map(|at| (self.slot_name(slice, changed, *at), *at)).collect();
            let stamps: Vec<_> =
                slots.iter().map(|(name, at)| (name.clone(), self.wanted_stamp(&changed.id(*at)))).collect();
            let (begun, token) = (Instant::now(), rand::random());
            let Ok(Some((chain, leases))) = shared.cache.lease(slice, &stamps, token).await else { break };
            let (mut granted, mut held) = (Vec::new(), Vec::new());
            for ((name, at), lease) in slots.into_iter().zip(leases) {
                match lease {
                    Lease::Granted => granted.push((name, at)),
                    Lease::Held => held.push(at),
                    Lease::Found(slot) => self.take(&chain, changed, at, slot, begun),
                    Lease::Unfit => {}
                }
            }
            self.read_granted(shared, slice, &chain, changed, (granted, token)).await?;
            wanted = held;
            if wanted.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Finds what Redis has.
    async fn look(&self, shared: &SharedReads, slice: &Slice, changed: &mut Changed<'_>) {
        let names: Vec<_> = (0..changed.keys.len()).map(|at| self.slot_name(slice, changed, at)).collect();
        let begun = Instant::now();
        let Ok((Some(chain), slots)) = shared.cache.get(slice, &names).await else { return };
        for (at, slot) in slots.into_iter().enumerate() {
            if let Some(slot) = slot {
                self.take(&chain, changed, at, slot, begun);
            }
        }
    }

    fn slot_name(&self, slice: &Slice, changed: &Changed<'_>, at: usize) -> String {
        let collection = &self.inner.store.catalogue().get(changed.collection).name;
        slice.slot(changed.shard, collection, &changed.keys[at])
    }

    fn take(&self, chain: &Chain, changed: &mut Changed<'_>, at: usize, slot: Slot, begun: Instant) {
        let (database, shard, id) = (changed.database, changed.shard, changed.id(at));
        if let Some(state) = self.judge(&id, chain, slot).filter(|_| self.is_usable(database, chain)) {
            self.inner.audits.sample(Tier::Shared, id.as_ref());
            let position = chain.applied;
            changed.found[at] = Some(Loaded { state, database, position, origin: Origin::Shared, shard, begun });
        }
    }

    async fn read_granted(
        &self,
        shared: &SharedReads,
        slice: &Slice,
        chain: &Chain,
        changed: &mut Changed<'_>,
        (granted, token): (Vec<(String, usize)>, u64),
    ) -> Result<(), Error> {
        if granted.is_empty() {
            return Ok(());
        }
        let read = self.read_primary(changed, granted.iter().map(|(_, at)| *at).collect()).await;
        for (name, at) in granted {
            let loaded = changed.found[at].as_ref();
            let admitted = loaded.and_then(|loaded| self.admitted(&changed.id(at), loaded));
            let slot = admitted.map(|state| Slot { incarnation: chain.incarnation, state });
            shared.fills.offer(slice.clone(), name, token, slot);
        }
        read
    }

    async fn read_rest(&self, changed: &mut Changed<'_>) -> Result<(), Error> {
        let rest: Vec<usize> = (0..changed.keys.len()).filter(|at| changed.found[*at].is_none()).collect();
        if rest.is_empty() { Ok(()) } else { self.read_primary(changed, rest).await }
    }

    async fn read_primary(&self, changed: &mut Changed<'_>, wanted: Vec<usize>) -> Result<(), Error> {
        let keys: Vec<Key> = wanted.iter().map(|at| changed.keys[*at].clone()).collect();
        let begun = Instant::now();
        let fetched = self.inner.store.read(changed.shard, changed.collection, &keys, changed.deadline).await?;
        for (at, row) in wanted.into_iter().zip(&fetched.rows) {
            changed.found[at] = Some(Loaded {
                state: row.state(fetched.generation),
                database: fetched.database,
                position: fetched.position,
                origin: fetched.origin,
                shard: changed.shard,
                begun,
            });
        }
        Ok(())
    }
}

impl Changed<'_> {
    fn id(&self, at: usize) -> RecordId {
        RecordId::new(self.collection, self.keys[at].clone())
    }
}
