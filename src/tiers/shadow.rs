//! What of Redis a read uses, as the operator has switched it; and reads that Redis only follows.

use super::{Tiers, audit::Tier, batch::Loaded, read_queue::Caller};
use crate::{
    record::{DatabaseId, RecordId},
    resilience::Deadline,
    shared::{LEASE, SwitchChange, Switches},
    store::{Error, Origin},
};

impl Tiers {
    /// What of Redis is used for records of a database; `None` where it cannot be asked.
    pub(super) fn switches_for(&self, database: DatabaseId) -> Option<Switches> {
        let shared = self.inner.shared.as_ref().filter(|shared| shared.cache.is_open())?;
        self.inner.store.lineage(database).map(|_| shared.cache.switches())
    }

    /// What of Redis this node uses; `None` without Redis.
    pub fn switches(&self) -> Option<Switches> {
        self.inner.shared.as_ref().map(|shared| shared.cache.switches())
    }

    /// Changes what of Redis this node uses; `None` without Redis.
    ///
    /// # Errors
    /// As [`Cache::switch`](crate::shared::Cache::switch).
    pub fn switch(&self, change: SwitchChange) -> Option<Result<Switches, String>> {
        self.inner.shared.as_ref().map(|shared| shared.cache.switch(change))
    }

    /// Looks a record up beside a read that a database answers, and has what Redis says compared. Where many are looked up already,
    /// or Redis has no answer, nothing is done.
    pub(super) fn shadow(&self, id: &RecordId) {
        let (tiers, record) = (self.clone(), id.clone());
        let compare = move |loaded: Result<Loaded, Error>| {
            if loaded.is_ok_and(|loaded| loaded.origin == Origin::Shared) {
                tiers.inner.audits.offer(Tier::Shadow, record);
            }
        };
        let caller = Caller::new(Deadline::after(LEASE), compare);
        self.load_shared(id, Caller { is_shadow: true, ..caller });
    }
}
