//! Watched keys: the newest state of each, handed over in an order that never goes back.

use std::{
    collections::HashMap,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;

use super::{Error, Freshness, Record, Refusal, mailbox::Mailbox, shared::Shared};
use freshet_wire::record::Stamp;

/// What a subscription brings.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A state of a key.
    State(Box<Record>),
    /// A key has become fresh, or no longer is; the latest only.
    Freshness {
        /// The key as it was asked for.
        key: String,
        /// How far it is proven.
        freshness: Freshness,
    },
}

/// Watched keys of one collection. It survives reconnects; dropping it ends it. Subscriptions of one client that share
/// a key share it on the wire.
///
/// Holds at most one state a key: when the reader is slow, older states are skipped and the latest stays.
///
/// It is a [`Stream`] of what [`Subscription::next`] gives. After its end it gives `None` each time. Dropping what waits for the
/// next item, such as a branch of `select!`, loses nothing.
///
/// ```no_run
/// # async fn example(client: freshet_client::Client) -> Result<(), freshet_client::Error> {
/// use futures_util::{StreamExt, future::ready};
///
/// let watched = client.subscribe("products", &["85123A", "22423"], []).await?;
/// let gone = watched.filter(|record| ready(record.value.is_none())).map(|record| record.key);
/// gone.for_each(async |key| println!("{key} is gone")).await;
/// # Ok(())
/// # }
/// ```
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
        poll_fn(|context| self.mailbox.poll_next(context)).await
    }

    /// The next state or, where none waits, the next change of a key's freshness. Use this or [`Subscription::next`], which
    /// leaves such changes out. `None` as there.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn event(&mut self) -> Option<Event> {
        poll_fn(|context| self.mailbox.poll_event(context)).await
    }

    /// Whether the server vouches for every key. While the connection is lost it is not so.
    pub fn is_fresh(&self) -> bool {
        self.keys.iter().all(|key| self.mailbox.freshness(key).is_fresh())
    }

    /// How far a key is proven, by its name as it was asked for.
    pub fn freshness(&self, key: &str) -> Freshness {
        self.mailbox.freshness(key)
    }

    /// For how long changes of any key may be missing, at the most; `None` while all are fresh, and before the server has said
    /// anything of one that is not.
    pub fn age(&self) -> Option<Duration> {
        self.keys.iter().filter_map(|key| self.mailbox.freshness(key).age()).max()
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

impl Stream for Subscription {
    type Item = Record;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Record>> {
        self.mailbox.poll_next(context)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        for key in &self.keys {
            self.shared.leave(&self.collection, key, &self.mailbox);
        }
    }
}
