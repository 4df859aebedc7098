//! Merges reads: one load for concurrent misses on a key, one statement for misses on a shard.
//!
//! Batching without a timer: an idle shard's read goes out at once and alone; reads that arrive while a statement is
//! under way go out together in the next one. At most one statement is under way for each shard and collection.

use std::{
    collections::{HashMap, VecDeque},
    pin::pin,
    sync::Arc,
};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use prometheus::IntCounter;
use tokio::sync::oneshot;

use super::{Error, Fetched, ShardId, Store};
use crate::{
    record::{CollectionId, Key, Position, RecordId, State},
    resilience::{Deadline, Promise},
};

/// Keys in one statement, at the most.
const KEYS_MAX: usize = 256;

/// One record as it was read, with where and when.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The state found.
    pub state: State,
    /// The position of the read.
    pub position: Position,
    /// The shard that was read.
    pub shard: ShardId,
}

/// Which statement may answer a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// One already under way will do.
    Any,
    /// Only one begun after the load was asked for.
    Later,
}

/// One who waits for a record, and until when.
struct Caller {
    answer: Promise<Result<Loaded, Error>>,
    deadline: Deadline,
}

type Callers = Vec<Caller>;
type Lines = Arc<Mutex<HashMap<LineId, Line>>>;
type LineId = (CollectionId, ShardId);

/// Those who want one key.
#[derive(Default)]
struct Wanted {
    /// Answered by the statement under way; `None` when that does not read the key.
    flying: Option<Callers>,
    /// Answered by a later one. With callers here, the key is in the line's queue.
    waiting: Callers,
}

/// The reads of one shard of one collection; there is a line only while it is served.
#[derive(Default)]
struct Line {
    wanted: HashMap<Key, Wanted, RandomState>,
    /// The keys of later statements, in the order they were first asked for.
    queue: VecDeque<Key>,
}

impl Line {
    /// Puts callers in line for a statement that has not begun.
    fn wait(&mut self, key: &Key, callers: impl IntoIterator<Item = Caller>) {
        let wanted = self.wanted.entry(key.clone()).or_default();
        let is_queued = !wanted.waiting.is_empty();
        wanted.waiting.extend(callers);
        if !is_queued && !wanted.waiting.is_empty() {
            self.queue.push_back(key.clone());
        }
    }

    /// The earliest time at which a caller's time may be over: of those the statement answers, and of the first in line.
    fn next_expiry(&self) -> Option<Deadline> {
        let flying = self.wanted.values().filter_map(|wanted| wanted.flying.as_ref()).flatten();
        let first =
            self.queue.front().and_then(|key| self.wanted.get(key)).into_iter().flat_map(|first| &first.waiting);
        flying.chain(first).map(|caller| caller.deadline).min()
    }
}

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
        let line = lines.entry(id).or_default();
        match line.wanted.get_mut(key).and_then(|wanted| wanted.flying.as_mut()) {
            Some(callers) if join == Join::Any => callers.push(caller),
            _ => line.wait(key, [caller]),
        }
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
            let Some((keys, deadline)) = self.depart(id) else { return };
            self.statements.inc();
            let fetched = self.read(id, &keys, deadline).await;
            self.arrive(id, &keys, fetched);
        }
    }

    /// Reads `keys`, and answers those whose time is over meanwhile.
    async fn read(&self, id: LineId, keys: &[Key], deadline: Deadline) -> Result<Fetched, Error> {
        let (collection, shard) = id;
        let mut read = pin!(self.store.read(shard, collection, keys, deadline));
        loop {
            let next = self.lines.lock().get(&id).and_then(Line::next_expiry).unwrap_or(deadline);
            match next.limit(read.as_mut()).await {
                Ok(fetched) => return fetched,
                Err(_) => self.expire(id),
            }
        }
    }

    /// Moves the keys that wait longest into the next statement. It may take as long as the most patient of its callers
    /// waits: on a link that fell silent, the line is free again when they have given up.
    fn depart(&self, id: LineId) -> Option<(Vec<Key>, Deadline)> {
        let mut lines = self.lines.lock();
        let line = lines.get_mut(&id)?;
        let keys: Vec<Key> = line.queue.drain(..line.queue.len().min(KEYS_MAX)).collect();
        let mut latest = None;
        for key in &keys {
            let wanted = line.wanted.get_mut(key)?;
            let callers = std::mem::take(&mut wanted.waiting);
            latest = latest.max(callers.iter().map(|caller| caller.deadline).max());
            wanted.flying = Some(callers);
        }
        if latest.is_none() {
            lines.remove(&id);
        }
        Some(keys).zip(latest)
    }

    /// Answers the callers whose time is over: any of the statement under way, and of those behind it the first in line.
    fn expire(&self, id: LineId) {
        let mut late = Vec::new();
        if let Some(line) = self.lines.lock().get_mut(&id) {
            for callers in line.wanted.values_mut().filter_map(|wanted| wanted.flying.as_mut()) {
                late.extend(callers.extract_if(.., |caller| caller.deadline.passed()));
            }
            while let Some(key) = line.queue.front()
                && let Some(wanted) = line.wanted.get_mut(key)
            {
                late.extend(wanted.waiting.extract_if(.., |caller| caller.deadline.passed()));
                if !wanted.waiting.is_empty() {
                    break;
                }
                if wanted.flying.is_none() {
                    line.wanted.remove(key);
                }
                line.queue.pop_front();
            }
        }
        for caller in late {
            caller.answer.keep(Err(Error::Deadline));
        }
    }

    /// Ends the statement under way and answers its callers. When it was late, those who joined it later and can wait
    /// longer go into the next instead.
    fn arrive(&self, id: LineId, keys: &[Key], fetched: Result<Fetched, Error>) {
        let flown = self.land(id, keys, matches!(fetched, Err(Error::Deadline)));
        match fetched {
            Ok(fetched) => {
                let (position, shard) = (fetched.position, id.1);
                for (row, callers) in fetched.rows.iter().zip(flown) {
                    let loaded = Loaded { state: row.state(fetched.generation), position, shard };
                    answer_all(callers, &Ok(loaded));
                }
            }
            Err(error) => flown.into_iter().for_each(|callers| answer_all(callers, &Err(error.clone()))),
        }
    }

    /// The callers of each key of the statement under way, which is over.
    fn land(&self, id: LineId, keys: &[Key], was_late: bool) -> Vec<Callers> {
        let mut lines = self.lines.lock();
        let Some(line) = lines.get_mut(&id) else { return Vec::new() };
        let mut flown = Vec::with_capacity(keys.len());
        for key in keys {
            let mut callers = line.wanted.get_mut(key).and_then(|wanted| wanted.flying.take()).unwrap_or_default();
            if was_late {
                let patient: Callers = callers.extract_if(.., |caller| !caller.deadline.passed()).collect();
                line.wait(key, patient);
            }
            if line.wanted.get(key).is_some_and(|wanted| wanted.waiting.is_empty()) {
                line.wanted.remove(key);
            }
            flown.push(callers);
        }
        flown
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
    Err(Error::Unavailable { reason: "the node is shutting down".into() })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{store::Memory, telemetry::Telemetry};

    fn batcher() -> Batcher {
        let schema = r#"
            name = "prices"
            key = "id"
            columns = [{ name = "id", type = "text" }]"#;
        let memory = Memory::new(vec![toml::from_str(schema).expect("a schema")], 1).expect("a store");
        Batcher::new(Store::Memory(Arc::new(memory)), Telemetry::new().counter("statements", "Help."))
    }

    const LINE: LineId = (CollectionId(0), ShardId(0));

    impl Batcher {
        /// Puts a caller in line, whom nobody serves.
        fn join(&self, key: &Key, join: Join, after: u64) -> (Deadline, oneshot::Receiver<Result<Loaded, Error>>) {
            self.lines.lock().entry(LINE).or_default();
            let (give, answered) = oneshot::channel();
            let deadline = Deadline::after(Duration::from_millis(after));
            let answer = Promise::new(abandoned, move |answer| drop(give.send(answer)));
            self.enqueue(LINE, key, join, Caller { answer, deadline });
            (deadline, answered)
        }
    }

    fn key(text: &str) -> Key {
        Key::from_database(text)
    }

    fn is_late(answered: &mut oneshot::Receiver<Result<Loaded, Error>>) -> bool {
        matches!(answered.try_recv(), Ok(Err(Error::Deadline)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_statement_lasts_as_long_as_its_callers_and_who_joined_later_goes_into_the_next() {
        let (batcher, a) = (batcher(), key("a"));
        let (first, mut first_answer) = batcher.join(&a, Join::Any, 300);
        let (latest, mut latest_answer) = batcher.join(&a, Join::Any, 500);
        assert!(first < latest);
        assert_eq!(batcher.depart(LINE), Some((vec![a.clone()], latest)));
        let (patient, mut patient_answer) = batcher.join(&a, Join::Any, 900);
        tokio::time::advance(Duration::from_millis(500)).await;
        batcher.arrive(LINE, std::slice::from_ref(&a), Err(Error::Deadline));
        assert!(is_late(&mut first_answer) && is_late(&mut latest_answer), "their time is over");
        assert_eq!(batcher.depart(LINE), Some((vec![a.clone()], patient)));
        tokio::time::advance(Duration::from_millis(500)).await;
        batcher.arrive(LINE, &[a], Err(Error::Deadline));
        assert!(is_late(&mut patient_answer));
        assert_eq!(batcher.depart(LINE), None, "the line is gone");
        assert!(batcher.lines.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn keys_go_in_the_order_they_were_asked_for_and_a_later_statement_is_another() {
        let batcher = batcher();
        let mut keys: Vec<Key> = (0..KEYS_MAX + 2).map(|n| key(&n.to_string())).collect();
        let _answers: Vec<_> = keys.iter().map(|key| batcher.join(key, Join::Any, 500)).collect();
        let (departed, _) = batcher.depart(LINE).expect("keys wait");
        assert_eq!(departed, keys[..KEYS_MAX]);
        let (_, mut joined) = batcher.join(&keys[0], Join::Any, 500);
        let (_, mut later) = batcher.join(&keys[0], Join::Later, 500);
        let fetched = batcher.store.read(LINE.1, LINE.0, &departed, Deadline::after(Duration::from_secs(1))).await;
        batcher.arrive(LINE, &departed, fetched);
        assert!(matches!(joined.try_recv(), Ok(Ok(_))) && later.try_recv().is_err());
        let (departed, _) = batcher.depart(LINE).expect("keys wait");
        let first = keys.remove(0);
        assert_eq!(departed, [&keys[KEYS_MAX - 1..], &[first]].concat());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_behind_a_silent_statement_is_answered_by_the_deadline() {
        let (batcher, a, b) = (batcher(), key("a"), key("b"));
        let (_, mut flying) = batcher.join(&a, Join::Any, 300);
        batcher.depart(LINE).expect("a key waits");
        let (_, mut behind) = batcher.join(&a, Join::Later, 400);
        let (_, mut last) = batcher.join(&b, Join::Any, 900);
        for (after, expired) in [(300, &mut flying), (100, &mut behind)] {
            let next = batcher.lines.lock()[&LINE].next_expiry().expect("somebody waits");
            assert_eq!(next.left(), Duration::from_millis(after));
            tokio::time::advance(next.left()).await;
            batcher.expire(LINE);
            assert!(is_late(expired));
        }
        assert!(last.try_recv().is_err(), "there is time left");
        batcher.arrive(LINE, &[a], Err(Error::Deadline));
        assert_eq!(batcher.depart(LINE).map(|(keys, _)| keys), Some(vec![b]));
    }
}
