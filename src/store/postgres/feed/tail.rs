//! Reads the outbox by snapshot difference: exactly the rows that became visible since the poll before.
//!
//! A row is taken as soon as its transaction is visible, whatever its version, and an open transaction delays only
//! its own rows: no cursor over versions, and no wait for the oldest transaction of the cluster.
//!
//! A difference may be of any size: one transaction of millions of rows, or what gathered in an outage. So a poll reads at
//! most a few pages, of each transaction a part at most; where something is left over, the whole difference is read once
//! more, page by page through a cursor on a connection of its own ([`backlog`]), while polls go on from the new snapshot and
//! report what is committed later. The position and the certificate move only when the cursor has come to its end.
//!
//! Why a cursor: it has one snapshot, the server reads each row once and holds none back for sorting, and each page has a
//! time limit, not the whole. Pages without a transaction, by a key to go on from, would need an index on (xid, version),
//! which each write of every client would pay for. A cursor whose connection is lost begins anew with a later snapshot;
//! that repeats changes, which is harmless, and what was left over by polls meanwhile is in it.

mod backlog;
mod page;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::{BoxFuture, OptionFuture};

use self::{
    backlog::{Backlog, Rest},
    page::{Place, Taken},
};
use crate::{
    record::{Position, ShardId},
    resilience::{Backoff, Deadline},
    store::{
        Error, Poll, Proof,
        postgres::{
            Shared, failure,
            replication::{Connected, Connector, To},
        },
    },
};

/// Between two polls while a backlog is read.
const PAUSE: Duration = Duration::from_millis(20);
/// How long a poll waits for a lock on the feed's tables before it says so and waits on, in milliseconds: the database is not
/// silent meanwhile.
const LOCK_LIMIT_MS: u32 = 1_000;
/// Between two attempts to read a backlog.
const RETRY: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));

type Polled = Result<(Connected, Taken), Error>;

/// A place in the outbox of one database, and the connections that read it.
pub struct Tail {
    shared: Arc<Shared>,
    purpose: &'static str,
    connection: Option<Connected>,
    /// The snapshot of the last poll; `None` before the first.
    place: Option<Place>,
    /// The poll under way.
    polling: Option<BoxFuture<'static, Polled>>,
    behind: Option<Box<Behind>>,
    /// The shards' generations, as far as polls have reported them.
    generations: HashMap<ShardId, u32>,
    /// History is known to be lost, and the next poll has to say so.
    is_lost: bool,
}

/// A backlog that is being read.
struct Behind {
    since: Place,
    reading: BoxFuture<'static, (Backlog, Result<Rest, Error>)>,
    retry: Backoff,
    /// What holds at its end.
    proof: Proof,
    /// Since where polls have left something over that this backlog's cursor may not show. The next one begins there.
    next: Option<Place>,
}

impl Behind {
    /// Begins to read what became visible after `since`. `proof` is the last poll's: the cursor's snapshot is later, so
    /// it shows all that this poll, and each before it, left over.
    fn begin(shared: &Arc<Shared>, since: Place, proof: Proof) -> Box<Self> {
        let reading = Box::pin(Backlog::new(shared.clone(), since.clone()).next(Duration::ZERO));
        Box::new(Behind { since, reading, retry: RETRY, proof, next: None })
    }
}

impl Tail {
    /// A tail whose connections are called `purpose`, by which an operator tells them apart.
    pub(in crate::store::postgres) fn new(shared: Arc<Shared>, purpose: &'static str) -> Self {
        Tail {
            shared,
            purpose,
            connection: None,
            place: None,
            polling: None,
            behind: None,
            generations: HashMap::new(),
            is_lost: false,
        }
    }

    /// A tail whose first poll reports what the snapshot of `mark` does not show, and all generations; `None` where the mark is
    /// gone, and with it perhaps a part of that.
    pub(in crate::store::postgres) async fn from_mark(
        shared: Arc<Shared>,
        purpose: &'static str,
        mark: Position,
    ) -> Result<Option<Self>, Error> {
        let deadline = Deadline::after(shared.config.statement_limit);
        let mut connected = shared.follow(purpose, LOCK_LIMIT_MS, deadline).await?;
        let place = deadline.limit(page::place_at(&mut connected.connection, mark)).await;
        let place = place.map_err(|_| Error::Deadline)?.map_err(failure::error)?;
        Ok(place.map(|place| Tail { connection: Some(connected), place: Some(place), ..Tail::new(shared, purpose) }))
    }

    pub(in crate::store) async fn poll(&mut self) -> Result<Poll, Error> {
        loop {
            let polling = match &mut self.polling {
                Some(polling) => polling,
                None => self.polling.insert(Box::pin(poll(
                    self.shared.clone(),
                    self.purpose,
                    self.connection.take(),
                    self.place.clone(),
                    if self.behind.is_some() { PAUSE } else { Duration::ZERO },
                ))),
            };
            let rest = OptionFuture::from(self.behind.as_mut().map(|behind| &mut behind.reading));
            tokio::select! {
                polled = polling => {
                    self.polling = None;
                    let (connection, taken) = polled?;
                    self.connection = Some(connection);
                    return Ok(self.polled(taken));
                }
                Some((backlog, rest)) = rest => {
                    if let Some(poll) = self.advanced(backlog, rest) {
                        return Ok(poll);
                    }
                }
            }
        }
    }

    /// Moves to the snapshot of a poll.
    fn polled(&mut self, taken: Taken) -> Poll {
        let Taken { place, position, generations, changes, kept, whole } = taken;
        let (proof, before) = (place.proof(), self.place.replace(place));
        let since = before.as_ref().map_or(proof.begun, |before| before.begun);
        let is_first = self.generations.is_empty();
        let has_risen = generations.as_deref().is_some_and(|reported| self.meet_generations(reported));
        let generations = generations.filter(|_| has_risen || is_first || before.is_none());
        let complete = match before {
            None => !std::mem::take(&mut self.is_lost),
            Some(_) => kept && !has_risen,
        };
        match (before, &mut self.behind) {
            // Leftovers are read anew with all the rest.
            _ if !complete => self.behind = None,
            (None, _) => {}
            (Some(before), None) if !whole => self.behind = Some(Behind::begin(&self.shared, before, proof)),
            (Some(before), Some(behind)) if !whole => drop(behind.next.get_or_insert(before)),
            (Some(_), Some(behind)) if behind.next.is_none() => behind.proof = proof,
            (Some(_), _) => {}
        }
        let proof = self.behind.is_none().then_some(proof);
        Poll { position, since, changes, proof, backlog: None, generations, complete }
    }

    /// Whether the generation of a shard that was known has changed. One that is new here has no history to lose.
    fn meet_generations(&mut self, reported: &[(ShardId, u32)]) -> bool {
        let mut has_risen = false;
        for &(shard, generation) in reported {
            has_risen |= self.generations.insert(shard, generation).is_some_and(|known| known != generation);
        }
        has_risen
    }

    /// Takes a page of the backlog; `None` when there is nothing to report yet.
    fn advanced(&mut self, backlog: Backlog, rest: Result<Rest, Error>) -> Option<Poll> {
        let behind = self.behind.as_mut()?;
        let (position, opened, changes, more) = match rest {
            Ok(Rest::Page { position, opened, changes, more }) => (position, opened, changes, more),
            Ok(Rest::Lost) => {
                (self.behind, self.polling, self.place, self.is_lost) = (None, None, None, true);
                return None;
            }
            Err(error) => {
                tracing::warn!(%error, "a backlog of the change feed could not be read to its end, and is begun anew");
                behind.reading = Box::pin(backlog.next(behind.retry.next_wait()));
                return None;
            }
        };
        let (since, mut proof) = (behind.since.begun, None);
        if more {
            behind.reading = Box::pin(backlog.next(Duration::ZERO));
        } else {
            proof = Some(behind.proof);
            let next = behind.next.take().zip(self.place.as_ref());
            self.behind = next.map(|(since, place)| Behind::begin(&self.shared, since, place.proof()));
        }
        Some(Poll { position, since, changes, proof, backlog: Some(opened), generations: None, complete: true })
    }
}

/// Waits for `pause`, then reads what is not visible at `place` on `connection`, or a new one. A poll that fails or is
/// dropped closes the connection it used.
async fn poll(
    shared: Arc<Shared>,
    purpose: &'static str,
    connection: Option<Connected>,
    place: Option<Place>,
    pause: Duration,
) -> Polled {
    // A timer rounds up to a millisecond, one of nothing as well.
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
    let deadline = Deadline::after(shared.config.statement_limit);
    shared.servers.breaker.ask(Instant::now());
    let mut term = shared.servers.term();
    let mut connected = match connection.filter(|connected| shared.servers.is_current(connected.term)) {
        Some(connected) => connected,
        None => shared.follow(purpose, LOCK_LIMIT_MS, deadline).await?,
    };
    loop {
        let begun = Instant::now();
        let taken = page::take(&mut connected.connection, &shared.catalogue, place.as_ref(), begun);
        let taken = tokio::select! {
            taken = deadline.limit(taken) => taken.map_err(|_| Error::Deadline)?,
            // An old primary may have fallen silent: it is not waited for.
            Ok(()) = term.changed() => return Err(Error::primary_changed()),
        };
        shared.servers.breaker.note(&taken);
        match taken {
            // What an old primary says proves nothing.
            Ok(_) if !shared.servers.is_current(connected.term) => return Err(Error::primary_changed()),
            Ok(taken) => {
                shared.servers.meet_mark(taken.position);
                return Ok((connected, taken));
            }
            Err(error) if failure::is_held(&error) && !deadline.passed() => {}
            Err(error) => return Err(failure::error(error)),
        }
    }
}

impl Shared {
    /// A connection outside the pools, with plans that use the feed's indexes.
    pub(in crate::store::postgres) async fn connect(
        &self,
        purpose: &'static str,
        deadline: Deadline,
    ) -> Result<Connected, Error> {
        let connector = Connector::new(&self.servers, To::Primary, purpose);
        connector.connect(deadline.at_most(self.config.connect_limit)).await
    }

    /// A connection that reads the outbox in the order of its index: the first rows come at once, however many follow,
    /// where a bitmap would be made of all of them first. It waits for locks up to `lock_limit_ms`; 0 is without end.
    async fn follow(&self, purpose: &'static str, lock_limit_ms: u32, deadline: Deadline) -> Result<Connected, Error> {
        let connector = Connector::new(&self.servers, To::Primary, purpose)
            .with("enable_bitmapscan", "off")
            .with("enable_sort", "off")
            .with("lock_timeout", lock_limit_ms);
        connector.connect(deadline.at_most(self.config.connect_limit)).await
    }
}

impl Place {
    fn proof(&self) -> Proof {
        Proof { position: self.position, begun: self.begun }
    }
}
