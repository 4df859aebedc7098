//! The change feed of the memory store.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::watch, time::timeout};

use crate::store::{Poll, Proof};

use super::Shared;
use crate::record::ShardId;

/// How long a poll waits for something new before it reports that there is nothing.
const WAIT: Duration = Duration::from_millis(25);

/// A reader of the change log, with its place in it. Tails do not disturb each other.
pub struct Tail {
    shared: Arc<Shared>,
    newest: watch::Receiver<u64>,
    /// The last version taken; `None` before the first poll.
    place: Option<u64>,
    /// When the last poll began.
    begun: Instant,
}

impl Tail {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let newest = shared.newest.subscribe();
        Tail { shared, newest, place: None, begun: Instant::now() }
    }

    /// Waits up to 25 ms for a change and takes what became visible since the poll before, in version order.
    ///
    /// The first poll returns at once and without changes. The position counts up while polls go on, idle or not,
    /// and a read taken at it reflects every change polled so far. Changes are complete unless more were committed
    /// since the poll before than the log holds; then none are reported, and the next poll takes up from here. The log
    /// bounds what one poll reports, so each carries its proof.
    ///
    /// # Cancel safety
    /// The place moves only when the poll is returned.
    pub async fn poll(&mut self) -> Poll {
        if let Some(place) = self.place {
            // Neither a timeout nor an error matters here: the log is looked at in any case.
            let _ = timeout(WAIT, self.newest.wait_for(|newest| *newest > place)).await;
        }
        self.take()
    }

    pub(super) fn take(&mut self) -> Poll {
        let begun = Instant::now();
        let mut contents = self.shared.contents.write();
        let taken = match self.place {
            None => Some(Vec::new()),
            Some(place) => contents.since(place),
        };
        let starts = self.place.is_none() || taken.is_none();
        self.place = Some(contents.version());
        let proof = Proof { position: contents.mark(starts), begun };
        let (complete, changes) = (taken.is_some(), taken.unwrap_or_default());
        let generation = contents.generation();
        let all = || (0..self.shared.modulus).map(|shard| (ShardId(shard), generation)).collect();
        Poll {
            position: proof.position,
            since: std::mem::replace(&mut self.begun, begun),
            changes,
            proof: Some(proof),
            backlog: None,
            generations: starts.then(all),
            complete,
        }
    }
}
