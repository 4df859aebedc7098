//! The snapshot that begins a subscription.

use crate::{
    record::{RecordId, Stamp},
    tiers::{Answer, Wish},
};

use super::{Error, Service};

impl Service {
    /// The record's state for a watcher who is registered already and has seen `since`.
    ///
    /// Registered first, read second: a change that this read does not show comes through the hub.
    ///
    /// # Errors
    /// [`Error::Store`] when nothing could answer in time.
    ///
    /// # Cancel safety
    /// Dropping the future drops this caller only.
    pub async fn snapshot(&self, id: &RecordId, since: Option<Stamp>) -> Result<Answer, Error> {
        self.get(id, &Wish { min_stamp: since, stale_max: None }).await
    }
}
