//! Merges reads: one load for concurrent misses on a key, one statement for misses on a shard, on the primary or a replica.
//!
//! Batching has no timer: reads that arrive while a statement is in flight go out together in the next one, so under load
//! batches grow by themselves. On an idle shard the statement is sent after one scheduler yield, so requests already
//! queued can share it: with 4,096 gets in flight, statements carried 15 keys each without the yield and carry 240 with
//! it. At most one statement is in flight for each shard and collection on the primary, and one on its
//! replicas.

use std::{
    collections::HashMap,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use prometheus::IntCounter;

use super::read_queue::{Batch, Caller, Callers, Join, ReadQueue};
use crate::{
    record::{CollectionId, DatabaseId, Key, Position, RecordId, ShardId, State},
    resilience::Deadline,
    store::{Error, Fetched, Origin, Store},
};

/// One record as it was read, with where and when.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The state found.
    pub state: State,
    /// The database that was read.
    pub database: DatabaseId,
    /// The position of the read there.
    pub position: Position,
    /// Who had it.
    pub origin: Origin,
    /// The shard that was read.
    pub shard: ShardId,
    /// Taken before the statement was sent: it shows every change that was visible then.
    pub begun: Instant,
}

/// How long a statement is waited for before it matters whether its database answers anything.
const PATIENCE: Duration = Duration::from_secs(2);

/// Which servers of a database a statement is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Server {
    /// The primary.
    Primary,
    /// A replica; the primary, if none answers.
    Replica,
}

/// Reads that share statements.
type QueueId = (CollectionId, ShardId, Server);
/// There is a queue only while a task serves it.
type Queues = Arc<Mutex<HashMap<QueueId, ReadQueue>>>;

/// Reads single records through shared statements. Cheap to clone.
#[derive(Clone)]
pub struct Batcher {
    store: Store,
    queues: Queues,
    statements: IntCounter,
}

impl Batcher {
    /// Batches reads of `store`, counting the `statements` it takes.
    pub fn new(store: Store, statements: IntCounter) -> Self {
        Batcher { store, queues: Arc::default(), statements }
    }

    /// Reads one record on the primary and hands it to `answer`, which runs between two statements and must not block. It
    /// costs no task and no timer of its own. A caller whose limit is no shorter than that of the callers before it is
    /// answered by its deadline; any other has to keep its deadline itself.
    ///
    /// # Errors
    /// [`Error::Deadline`], [`Error::Unavailable`], [`Error::NotOwned`].
    pub fn load(
        &self,
        id: &RecordId,
        join: Join,
        deadline: Deadline,
        answer: impl FnOnce(Result<Loaded, Error>) + Send + Sync + 'static,
    ) {
        self.join(id, join, Server::Primary, Caller::new(deadline, answer));
    }

    /// [`Self::load`] on a server of either kind.
    pub(super) fn join(&self, id: &RecordId, join: Join, server: Server, caller: Caller) {
        let admitted = self.store.shard_of(id.as_ref()).and_then(|shard| match server {
            Server::Primary => self.store.admit(shard).map(|()| shard),
            Server::Replica => Ok(shard),
        });
        match admitted {
            Ok(shard) => self.enqueue((id.collection, shard, server), &id.key, join, caller),
            Err(error) => caller.answer.complete(Err(error)),
        }
    }

    /// Adds a caller to a queue, and starts the task that serves the queue unless it runs.
    fn enqueue(&self, id: QueueId, key: &Key, join: Join, caller: Caller) {
        let mut queues = self.queues.lock();
        let is_idle = !queues.contains_key(&id);
        queues.entry(id).or_default().join(key, join, caller);
        drop(queues);
        if is_idle {
            tokio::spawn(self.clone().serve(id));
        }
    }

    /// Sends statement after statement until the queue is empty.
    async fn serve(self, id: QueueId) {
        let _served = Served { queues: self.queues.clone(), id };
        loop {
            // Callers that are about to ask go first: in a statement of many keys each costs far less than in one of few.
            tokio::task::yield_now().await;
            let Some(batch) = self.dispatch(id) else { return };
            self.statements.inc();
            let begun = Instant::now();
            let fetched = self.read(id, &batch).await;
            // Where no replica answered, either, another one may answer the next.
            let is_primarys = id.2 == Server::Primary && fetched.is_err();
            let silence = is_primarys.then(|| self.store.check_silence(id.1).err()).flatten();
            self.complete(id, &batch.keys, begun, fetched);
            // What waits for the next statement would be asked in vain, one batch after another.
            while let Some(error) = &silence
                && let Some(batch) = self.dispatch(id)
            {
                self.complete(id, &batch.keys, begun, Err(error.clone()));
            }
            if silence.is_some() {
                return;
            }
        }
    }

    /// The next batch. Without one the queue is removed, and the next caller makes another.
    fn dispatch(&self, id: QueueId) -> Option<Batch> {
        let owner = self.store.owner(id.1);
        let keys_max = owner.map_or(Store::KEYS_AT_ONCE_MAX, |owner| self.store.keys_at_once(owner, id.0));
        let mut queues = self.queues.lock();
        let batch = queues.get_mut(&id)?.dispatch(keys_max);
        if batch.is_none() {
            queues.remove(&id);
        }
        batch
    }

    /// Reads the keys of a batch, once more where another server becomes the primary meanwhile. Callers whose deadline passes
    /// get [`Error::Deadline`], and all get [`Error::Unavailable`] when the database turns out to be silent.
    async fn read(&self, id: QueueId, batch: &Batch) -> Result<Fetched, Error> {
        let (collection, shard, server) = id;
        if server == Server::Replica {
            let (keys, needed) = (&batch.keys, batch.needed);
            if let Ok(read) = self.store.read_replica(shard, collection, keys, needed, batch.expiry).await {
                return Ok(read);
            }
            self.store.admit(shard)?;
        }
        let mut term = self.store.primary_term(self.store.owner(shard)?);
        let send = || self.store.read(shard, collection, &batch.keys, batch.deadline);
        let mut read = pin!(send());
        let (begun, mut expiry) = (Instant::now(), batch.expiry);
        loop {
            let limit = expiry.at_most(PATIENCE);
            tokio::select! {
                fetched = limit.limit(read.as_mut()) => if let Ok(fetched) = fetched { return fetched },
                Ok(()) = term.changed() => {
                    read.set(send());
                    continue;
                }
            }
            if begun.elapsed() >= PATIENCE {
                self.store.check_silence(shard)?;
            }
            if expiry.passed() {
                expiry = self.expire(id).unwrap_or(batch.deadline);
            }
        }
    }

    /// Answers callers whose deadline has passed; returns the next deadline.
    fn expire(&self, id: QueueId) -> Option<Deadline> {
        let (late, next) = self.queues.lock().get_mut(&id)?.expire();
        answer_all(late, &Err(Error::Deadline));
        next
    }

    /// Answers the callers of a batch.
    fn complete(&self, id: QueueId, keys: &[Key], begun: Instant, fetched: Result<Fetched, Error>) {
        let was_late = matches!(fetched, Err(Error::Deadline));
        let Some(completed) = self.queues.lock().get_mut(&id).map(|queue| queue.complete(keys, was_late)) else {
            return;
        };
        match fetched {
            Ok(fetched) => {
                let (database, position, origin, shard) = (fetched.database, fetched.position, fetched.origin, id.1);
                for (row, callers) in fetched.rows.iter().zip(completed) {
                    let loaded =
                        Loaded { state: row.state(fetched.generation), database, position, origin, shard, begun };
                    answer_all(callers, &Ok(loaded));
                }
            }
            Err(error) => completed.into_iter().for_each(|callers| answer_all(callers, &Err(error.clone()))),
        }
    }
}

/// Guards the task that serves a queue: if it panics, its callers get an error, and the next caller makes a new queue.
struct Served {
    queues: Queues,
    id: QueueId,
}

impl Drop for Served {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Dropped after the lock: an abandoned completion calls its caller.
            let queue = self.queues.lock().remove(&self.id);
            drop(queue);
        }
    }
}

fn answer_all(callers: Callers, answer: &Result<Loaded, Error>) {
    for caller in callers {
        caller.answer.complete(answer.clone());
    }
}
