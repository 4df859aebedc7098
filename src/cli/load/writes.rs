//! Writes under way: each row put under its key, rows of one key in their order.

use std::{collections::HashSet, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::row::{Content, Rejection};
use crate::{
    client::{self, Client, WriteOptions},
    resilience::{Backoff, Deadline},
};

/// A row with its number and the line it begins in.
#[derive(Debug)]
pub(super) struct Numbered {
    pub(super) number: u64,
    pub(super) line: u64,
    pub(super) content: Content,
}

/// What became of a write.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The row is in the store.
    Loaded,
    /// The server will never take it.
    Rejected(Rejection),
    /// The server was busy or away for too long: the row may or may not be in the store.
    Undecided(client::Error),
}

/// The writes.
pub(super) struct Writes {
    client: Client,
    collection: String,
    load: Uuid,
    patience: Duration,
    under_way: FuturesUnordered<BoxFuture<'static, (Numbered, Outcome)>>,
    /// The keys of the writes under way: another write to one of them waits.
    busy: HashSet<String>,
    /// Ends the waits between attempts.
    hurry: CancellationToken,
}

impl Writes {
    /// Writes to `collection` that belong to `load`. Each is tried again for `patience` while that may help.
    pub(super) fn new(client: Client, collection: &str, load: Uuid, patience: Duration) -> Self {
        Writes {
            client,
            collection: collection.to_owned(),
            load,
            patience,
            under_way: FuturesUnordered::new(),
            busy: HashSet::new(),
            hurry: CancellationToken::new(),
        }
    }

    /// How many are under way.
    pub(super) fn len(&self) -> usize {
        self.under_way.len()
    }

    /// Whether a write to `key` would have to wait for one that is under way.
    pub(super) fn is_busy(&self, key: &str) -> bool {
        self.busy.contains(key)
    }

    /// Begins to write `row`, whose key must not be busy.
    pub(super) fn begin(&mut self, row: Numbered) {
        self.busy.insert(row.content.key.clone());
        let (client, collection, hurry) = (self.client.clone(), self.collection.clone(), self.hurry.clone());
        // Under its own key a write may be repeated: after a lost connection, and by a load that goes on after this one.
        let options = WriteOptions::new().idempotency_key(format!("load {} {}", self.load, row.number));
        let patience = Deadline::after(self.patience);
        let write = async move {
            let written = put(&client, &collection, &row.content, options, patience, &hurry).await;
            let outcome = match written {
                Ok(()) => Outcome::Loaded,
                Err(error) => match error.refusal() {
                    Some(refusal) if !may_help(&error) => {
                        Outcome::Rejected(Rejection::refused(row.line, &row.content.value, refusal))
                    }
                    _ => Outcome::Undecided(error),
                },
            };
            (row, outcome)
        };
        self.under_way.push(write.boxed());
    }

    /// The next row whose write has ended; `None` when none is under way.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Option<(Numbered, Outcome)> {
        let done = self.under_way.next().await;
        if let Some((row, _)) = &done {
            self.busy.remove(&row.content.key);
        }
        done
    }

    /// Has writes that were refused for now end instead of being tried again.
    pub(super) fn hurry(&self) {
        self.hurry.cancel();
    }
}

/// Whether the same write may succeed later.
fn may_help(error: &client::Error) -> bool {
    let is_unknown = |code| code == crate::protocol::Code::OutcomeUnknown;
    error.is_retryable()
        || matches!(error, client::Error::OutcomeUnknown)
        || error.refusal().and_then(client::Refusal::kind).is_some_and(is_unknown)
}

async fn put(
    client: &Client,
    collection: &str,
    row: &Content,
    options: WriteOptions,
    patience: Deadline,
    hurry: &CancellationToken,
) -> Result<(), client::Error> {
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
    loop {
        let Err(error) = client.put(collection, &row.key, &row.value, options.clone()).await else { return Ok(()) };
        let asked = error.refusal().and_then(|refusal| refusal.retry_after);
        let wait = asked.unwrap_or_default().max(backoff.next_wait());
        if !may_help(&error) || wait >= patience.left() {
            return Err(error);
        }
        if hurry.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
            return Err(error);
        }
    }
}
