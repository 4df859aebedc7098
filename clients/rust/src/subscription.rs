//! Watched keys: the newest state of each, handed over in an order that never goes back.

use std::{collections::HashMap, sync::Arc};

use super::{Error, Record, Refusal, mailbox::Mailbox, shared::Shared};
use freshet_wire::record::Stamp;

/// Watched keys of one collection. It survives reconnects; dropping it ends it. Subscriptions of one client that share
/// a key share it on the wire.
///
/// Holds at most one state a key: when the reader is slow, older states are skipped and the latest stays.
#[derive(Debug)]
pub struct Subscription {
    collection: String,
    keys: Vec<String>,
    mailbox: Arc<Mailbox>,
    shared: Arc<Shared>,
}

impl Subscription {
    pub(super) fn open<K: AsRef<str>>(
        shared: &Arc<Shared>,
        collection: &str,
        keys: &[K],
        since: impl IntoIterator<Item = (String, Stamp)>,
    ) -> Self {
        let mut keys: Vec<_> = keys.iter().map(|key| key.as_ref().to_owned()).collect();
        keys.sort_unstable();
        keys.dedup();
        let mailbox = Arc::new(Mailbox::new(since));
        for key in &keys {
            shared.join(collection, key, &mailbox);
        }
        Subscription { collection: collection.to_owned(), keys, mailbox, shared: shared.clone() }
    }

    /// Returns when the server has confirmed it.
    pub(super) async fn granted(&self) -> Result<(), Error> {
        self.mailbox.granted().await
    }

    /// The next state, once there is one. For one key stamps strictly rise, but for the answer that a record was
    /// deleted so long ago that only `version: 0` is known, and for a `reset`. `None` when the client was closed or the
    /// server refused to resume a key; what had arrived before is still handed out first.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Record> {
        self.mailbox.next().await
    }

    /// Why the server refused to resume it, after [`Subscription::next`] gave `None`.
    pub fn refusal(&self) -> Option<Refusal> {
        self.mailbox.refusal()
    }

    /// The stamp of each key's last state read here, to resume from in another process.
    pub fn stamps(&self) -> HashMap<String, Stamp> {
        self.mailbox.stamps()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        for key in &self.keys {
            self.shared.leave(&self.collection, key, &self.mailbox);
        }
    }
}
