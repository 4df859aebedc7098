//! Merges reads: one load for concurrent misses on a key, one statement for misses on a shard.
//!
//! Batching has no timer: reads that arrive while a statement is under way go out together in the next one, so under load
//! batches grow by themselves. On an idle shard the statement is sent after one scheduler yield, so requests already
//! queued can share it: with 4,096 gets under way, statements carried 15 keys each without the yield and carry 240 with
//! it. At most one statement is under way for each shard and collection.

use std::{collections::HashMap, pin::pin, sync::Arc, time::Instant};

use parking_lot::Mutex;
use prometheus::IntCounter;
use tokio::sync::oneshot;

use super::{
    Error, Fetched, ShardId, Store,
    line::{Caller, Callers, Flight, Join, Line},
};
use crate::{
    promise::Promise,
    record::{CollectionId, Key, Position, RecordId, State},
    resilience::Deadline,
};

/// One record as it was read, with where and when.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The state found.
    pub state: State,
    /// The position of the read.
    pub position: Position,
    /// The shard that was read.
    pub shard: ShardId,
    /// Taken before the statement was sent: it shows every change that was visible then.
    pub begun: Instant,
}

type LineId = (CollectionId, ShardId);
/// There is a line only while it is served.
type Lines = Arc<Mutex<HashMap<LineId, Line>>>;

/// Reads single records through shared statements. Cheap to clone.
#[derive(Clone)]
pub struct Batcher {
    store: Store,
    lines: Lines,
    statements: IntCounter,
}

impl Batcher {
    /// Batches reads of `store`, counting the `statements` it takes.
    pub fn new(store: Store, statements: IntCounter) -> Self {
        Batcher { store, lines: Arc::default(), statements }
    }

    /// Reads one record on the primary.
    ///
    /// # Errors
    /// [`Error::Deadline`], [`Error::Unavailable`], [`Error::NotOwned`].
    ///
    /// # Cancel safety
    /// Dropping the future drops this caller only; the statement runs on for others.
    pub async fn load(&self, id: &RecordId, join: Join, deadline: Deadline) -> Result<Loaded, Error> {
        let (give, answered) = oneshot::channel();
        self.load_then(id, join, deadline, move |answer| drop(give.send(answer)));
        match deadline.limit(answered).await {
            Err(_) => Err(Error::Deadline),
            Ok(answer) => answer.unwrap_or_else(|_| abandoned()),
        }
    }

    /// Reads one record on the primary and hands it, or what [`Self::load`] would fail with, to `answer`, which runs
    /// between two statements and must not block. Costs no task and no timer of its own: whoever asks with the same
    /// limit as those before is answered by its deadline.
    pub fn load_then(
        &self,
        id: &RecordId,
        join: Join,
        deadline: Deadline,
        answer: impl FnOnce(Result<Loaded, Error>) + Send + Sync + 'static,
    ) {
        let caller = Caller { answer: Promise::new(abandoned, answer), deadline };
        match self.store.shard_of(id) {
            Ok(shard) => self.enqueue((id.collection, shard), &id.key, join, caller),
            Err(error) => caller.answer.keep(Err(error)),
        }
    }

    /// Puts a caller in line, and has the line served if nobody does.
    fn enqueue(&self, id: LineId, key: &Key, join: Join, caller: Caller) {
        let mut lines = self.lines.lock();
        let is_idle = !lines.contains_key(&id);
        lines.entry(id).or_default().join(key, join, caller);
        drop(lines);
        if is_idle {
            tokio::spawn(self.clone().serve(id));
        }
    }

    /// Sends statement after statement until nothing waits in the line.
    async fn serve(self, id: LineId) {
        let _line = Served { lines: self.lines.clone(), id };
        loop {
            // Whoever is about to ask goes first: a statement of many keys costs each far less than one of few.
            tokio::task::yield_now().await;
            let Some(flight) = self.depart(id) else { return };
            self.statements.inc();
            let begun = Instant::now();
            let fetched = self.read(id, &flight).await;
            self.arrive(id, &flight.keys, begun, fetched);
        }
    }

    /// The next statement's keys. Without any the line is gone, and whoever comes begins another.
    fn depart(&self, id: LineId) -> Option<Flight> {
        let mut lines = self.lines.lock();
        let flight = lines.get_mut(&id)?.depart();
        if flight.is_none() {
            lines.remove(&id);
        }
        flight
    }

    /// Reads the keys of a flight, and answers those whose time is over meanwhile.
    async fn read(&self, id: LineId, flight: &Flight) -> Result<Fetched, Error> {
        let (collection, shard) = id;
        let mut read = pin!(self.store.read(shard, collection, &flight.keys, flight.deadline));
        let mut expiry = flight.expiry;
        loop {
            match expiry.limit(read.as_mut()).await {
                Ok(fetched) => return fetched,
                Err(_) => expiry = self.expire(id).unwrap_or(flight.deadline),
            }
        }
    }

    /// Answers those whose time is over; returns when the next one's may be.
    fn expire(&self, id: LineId) -> Option<Deadline> {
        let (late, next) = self.lines.lock().get_mut(&id)?.expire();
        answer_all(late, &Err(Error::Deadline));
        next
    }

    /// Answers those whom a statement was for.
    fn arrive(&self, id: LineId, keys: &[Key], begun: Instant, fetched: Result<Fetched, Error>) {
        let was_late = matches!(fetched, Err(Error::Deadline));
        let Some(landed) = self.lines.lock().get_mut(&id).map(|line| line.land(keys, was_late)) else { return };
        match fetched {
            Ok(fetched) => {
                let (position, shard) = (fetched.position, id.1);
                for (row, callers) in fetched.rows.iter().zip(landed) {
                    let loaded = Loaded { state: row.state(fetched.generation), position, shard, begun };
                    answer_all(callers, &Ok(loaded));
                }
            }
            Err(error) => landed.into_iter().for_each(|callers| answer_all(callers, &Err(error.clone()))),
        }
    }
}

/// A line that is served: should that end by a panic, its callers are let go, and the next begins the line anew.
struct Served {
    lines: Lines,
    id: LineId,
}

impl Drop for Served {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Dropped after the lock: a broken promise is an answer, too.
            let line = self.lines.lock().remove(&self.id);
            drop(line);
        }
    }
}

fn answer_all(callers: Callers, answer: &Result<Loaded, Error>) {
    for caller in callers {
        caller.answer.keep(answer.clone());
    }
}

fn abandoned() -> Result<Loaded, Error> {
    Err(Error::shutting_down())
}
