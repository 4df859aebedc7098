//! Hints on their way from Redis to the follower of a database.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    record::DatabaseId,
    resilience::Backoff,
    shared::{Cache, Hint, Hints, Slice},
    store::Store,
};

/// Hints that wait for the follower, at the most; others are dropped, and the next poll brings what they told.
const HINTS_MAX: usize = 256;
/// How often a database is looked for that was not met yet.
const RETRY: Duration = Duration::from_millis(500);

/// Listens to the keepers of one database.
pub struct Listener {
    database: DatabaseId,
    store: Store,
    cache: Cache,
    hints: mpsc::Sender<Hint>,
}

impl Listener {
    /// A listener for `database`, and where its hints arrive.
    pub fn new(database: DatabaseId, store: Store, cache: Cache) -> (Self, mpsc::Receiver<Hint>) {
        let (hints, received) = mpsc::channel(HINTS_MAX);
        (Listener { database, store, cache, hints }, received)
    }

    /// Listens until `stop`. An outage of Redis is waited out.
    pub async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.listen()).await;
    }

    async fn listen(&self) {
        let lineage = loop {
            match self.store.lineage(self.database) {
                Some(lineage) => break lineage,
                None => sleep(RETRY).await,
            }
        };
        let slices = Slice::all(self.store.name(self.database), lineage, self.cache.config().slices());
        let mut first = 0;
        let readers = self.cache.hints(&slices).into_iter().map(|hints| {
            let of_reader = first;
            first += hints.slices();
            self.pass_on(hints, of_reader)
        });
        join_all(readers).await;
    }

    /// `first` is the number of the reader's first slice.
    async fn pass_on(&self, mut hints: Hints, first: usize) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        loop {
            if !self.cache.switches().hints {
                self.cache.hints_on().await;
                hints.skip();
            }
            match hints.next().await {
                Ok(read) => {
                    backoff.reset();
                    if self.cache.switches().hints {
                        for hint in read {
                            drop(self.hints.try_send(Hint { slice: first + hint.slice, ..hint }));
                        }
                    }
                }
                Err(_) => sleep(backoff.next_wait()).await,
            }
        }
    }
}
