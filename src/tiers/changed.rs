//! Reads of changed records for their watchers: of several nodes on which a record is watched, one reads the database.
//!
//! Two steps, for a caller who knows which changes to look for and when: [`Tiers::find_changed`] asks Redis, and
//! [`Tiers::read_changed`] the primary.

use std::time::{Duration, Instant};

use super::{
    Tiers,
    audit::Tier,
    batch::Loaded,
    shared::{LOOKS, Leases, QueueId, SharedReads, Wanted},
};
use crate::{
    record::{CollectionId, DatabaseId, Key, RecordId, ShardId},
    resilience::Deadline,
    shared::{Chain, Incarnation, Lease, Slice, Slot},
    store::{Error, Origin},
};

/// What Redis says of a changed record.
pub enum Found {
    /// Another node has read it since the change.
    State(Loaded),
    /// Another node is reading it: Redis is to be asked again, after a pause.
    Elsewhere,
    /// The primary is to be asked. With a grant, for all nodes.
    Primary(Option<Grant>),
}

/// The right to read a record for all nodes: a statement that begins after the lease was granted may fill the slot. The lease ends
/// by itself.
pub struct Grant {
    slice: Slice,
    name: String,
    token: u64,
    incarnation: Incarnation,
}

impl Tiers {
    /// The pauses before Redis is asked again for a record that another node reads.
    pub const PAUSES: [Duration; 4] = LOOKS;

    /// The slice of Redis in which changed records of a shard are to be looked for first; `None` where Redis is not asked.
    pub fn slice_to_ask(&self, database: DatabaseId, shard: ShardId) -> Option<u32> {
        let switches = self.switches_for(database)?;
        self.inner.shared.as_ref().filter(|_| switches.reads).map(|shared| shared.slice_of(shard))
    }

    /// Looks in Redis for records of one slice, whose changes this node has taken note of; returns what it found of each, in their
    /// order. Where Redis has no answer, all are for the primary.
    ///
    /// # Cancel safety
    /// Nothing is lost; leases that were granted end by themselves.
    pub async fn find_changed(&self, queue: QueueId, ids: &[RecordId]) -> Vec<Found> {
        let found = match (&self.inner.shared, self.switches_for(queue.0), self.slice(queue)) {
            (Some(shared), Some(switches), Some(slice)) if switches.reads => {
                let wanted: Option<Vec<Wanted>> = ids.iter().map(|id| self.want(&slice, id)).collect();
                match wanted {
                    Some(wanted) if switches.fills => self.share(&slice, queue.0, &wanted).await,
                    Some(wanted) => self.look(shared, &slice, queue.0, &wanted).await,
                    None => None,
                }
            }
            _ => None,
        };
        // Redis is not trusted to say as much as it was asked.
        let whole = found.filter(|found| found.len() == ids.len());
        whole.unwrap_or_else(|| ids.iter().map(|_| Found::Primary(None)).collect())
    }

    /// Finds what Redis has, and asks for leases on the rest.
    async fn share(&self, slice: &Slice, database: DatabaseId, wanted: &[Wanted]) -> Option<Vec<Found>> {
        let Leases { chain, leases, token, begun } = self.ask_for_leases(slice, wanted).await?;
        let grant =
            |name: &str| Grant { slice: slice.clone(), name: name.to_owned(), token, incarnation: chain.incarnation };
        let found = wanted.iter().zip(leases).map(|(wanted, lease)| match lease {
            Lease::Granted => Found::Primary(Some(grant(&wanted.name))),
            Lease::Held => Found::Elsewhere,
            Lease::Found(slot) => self.take(database, &chain, wanted, slot, begun),
            Lease::Unfit => Found::Primary(None),
        });
        Some(found.collect())
    }

    /// Finds what Redis has.
    async fn look(
        &self,
        shared: &SharedReads,
        slice: &Slice,
        database: DatabaseId,
        wanted: &[Wanted],
    ) -> Option<Vec<Found>> {
        let names: Vec<_> = wanted.iter().map(|wanted| wanted.name.clone()).collect();
        let begun = Instant::now();
        let (chain, slots) = shared.cache.get(slice, &names).await.ok()?;
        let chain = chain?;
        let found = wanted.iter().zip(slots).map(|(wanted, slot)| match slot {
            Some(slot) => self.take(database, &chain, wanted, slot, begun),
            None => Found::Primary(None),
        });
        Some(found.collect())
    }

    fn take(&self, database: DatabaseId, chain: &Chain, wanted: &Wanted, slot: Slot, begun: Instant) -> Found {
        match self.judge(&wanted.id, chain, slot).filter(|_| self.is_usable(database, chain)) {
            Some(state) => {
                self.inner.audits.sample(Tier::Shared, wanted.id.as_ref());
                let (position, shard) = (chain.applied, wanted.shard);
                Found::State(Loaded { state, database, position, origin: Origin::Shared, shard, begun })
            }
            None => Found::Primary(None),
        }
    }

    /// Reads records of one shard on its primary; a state for each, in their order.
    ///
    /// # Errors
    /// [`Error::Deadline`], [`Error::Unavailable`], [`Error::NotOwned`], [`Error::Disputed`], [`Error::Broken`].
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn read_changed(
        &self,
        shard: ShardId,
        collection: CollectionId,
        keys: &[Key],
        deadline: Deadline,
    ) -> Result<Vec<Loaded>, Error> {
        let begun = Instant::now();
        let fetched = self.inner.store.read(shard, collection, keys, deadline).await?;
        if fetched.rows.len() != keys.len() {
            return Err(Error::broken("read each of the changed records"));
        }
        let loaded = fetched.rows.iter().map(|row| Loaded {
            state: row.state(fetched.generation),
            database: fetched.database,
            position: fetched.position,
            origin: fetched.origin,
            shard,
            begun,
        });
        Ok(loaded.collect())
    }

    /// Ends a lease: the state that was read fills the slot, if this node admits it. Without a state another node may ask for the
    /// lease.
    pub fn end_lease(&self, grant: Grant, id: &RecordId, loaded: Option<&Loaded>) {
        let Some(shared) = &self.inner.shared else { return };
        let Grant { slice, name, token, incarnation } = grant;
        let admitted = loaded.and_then(|loaded| self.admitted(id, loaded));
        shared.fills.offer(slice, name, token, admitted.map(|state| Slot { incarnation, state }));
    }
}
