//! Merges reads: one load for concurrent misses on a key, one statement for misses on a shard.
//!
//! Batching without a timer: an idle shard's read goes out at once and alone; reads that arrive while a statement is
//! under way go out together in the next one. At most one statement is under way for each shard and collection.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use prometheus::IntCounter;
use tokio::sync::oneshot;

use super::{Error, Fetched, ShardId, Store};
use crate::{
    record::{CollectionId, Key, Position, RecordId, State},
    resilience::Deadline,
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
    answer: oneshot::Sender<Result<Loaded, Error>>,
    deadline: Deadline,
}

impl Caller {
    fn is_waiting(&self) -> bool {
        !self.answer.is_closed() && !self.deadline.passed()
    }
}

type Callers = HashMap<Key, Vec<Caller>>;
type LineId = (CollectionId, ShardId);

/// The reads of one shard of one collection; there is a line only while a statement is under way.
#[derive(Default)]
struct Line {
    flying: Callers,
    waiting: Callers,
}

/// Reads single records through shared statements. Cheap to clone.
#[derive(Clone)]
pub struct Batcher {
    store: Store,
    lines: Arc<Mutex<HashMap<LineId, Line>>>,
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
        let line = (id.collection, self.store.shard_of(id)?);
        let (answer, answered) = oneshot::channel();
        if self.enqueue(line, &id.key, join, Caller { answer, deadline }) {
            tokio::spawn(self.clone().drain(line));
        }
        match deadline.limit(answered).await {
            Err(_) => Err(Error::Deadline),
            // The line let go of a caller whose time was over.
            Ok(Err(_)) if deadline.passed() => Err(Error::Deadline),
            Ok(Err(_)) => Err(Error::Unavailable { reason: "the node is shutting down".into() }),
            Ok(Ok(result)) => result,
        }
    }

    /// Puts a caller in line; true if nobody serves the line yet.
    fn enqueue(&self, id: LineId, key: &Key, join: Join, caller: Caller) -> bool {
        let mut lines = self.lines.lock();
        let idle = !lines.contains_key(&id);
        let line = lines.entry(id).or_default();
        match line.flying.get_mut(key) {
            Some(callers) if join == Join::Any => callers.push(caller),
            _ => line.waiting.entry(key.clone()).or_default().push(caller),
        }
        idle
    }

    /// Sends statement after statement until nothing waits in the line.
    async fn drain(self, id: LineId) {
        while let Some((keys, deadline)) = self.depart(id) {
            let (collection, shard) = id;
            self.statements.inc();
            let fetched = self.store.read(shard, collection, &keys, deadline).await;
            let rows = fetched.map(|fetched| index(&fetched, shard));
            for (key, callers) in self.arrive(id, matches!(rows, Err(Error::Deadline))) {
                let result = match &rows {
                    Ok(rows) => rows.get(&key).cloned().ok_or_else(|| Error::broken("find a key in a read's answer")),
                    Err(error) => Err(error.clone()),
                };
                for caller in callers {
                    drop(caller.answer.send(result.clone()));
                }
            }
        }
    }

    /// Moves waiting keys, which somebody still wants, into the next statement. It may take as long as the most
    /// patient of its callers waits: on a link that fell silent, the line is free again when they have given up.
    fn depart(&self, id: LineId) -> Option<(Vec<Key>, Deadline)> {
        let mut lines = self.lines.lock();
        let line = lines.get_mut(&id)?;
        line.waiting.retain(|_, callers| callers.iter().any(Caller::is_waiting));
        let keys: Vec<Key> = line.waiting.keys().take(KEYS_MAX).cloned().collect();
        for key in &keys {
            if let Some((key, callers)) = line.waiting.remove_entry(key) {
                line.flying.insert(key, callers);
            }
        }
        let Some(deadline) = line.flying.values().flatten().map(|caller| caller.deadline).max() else {
            lines.remove(&id);
            return None;
        };
        Some((keys, deadline))
    }

    /// Ends the statement under way and hands out its callers. When it was `late`, those who joined it later
    /// and can wait longer go into the next instead.
    fn arrive(&self, id: LineId, late: bool) -> Callers {
        let mut lines = self.lines.lock();
        let Some(line) = lines.get_mut(&id) else { return Callers::new() };
        let mut flown = std::mem::take(&mut line.flying);
        if late {
            for (key, callers) in &mut flown {
                let patient: Vec<_> = callers.extract_if(.., |caller| caller.is_waiting()).collect();
                if !patient.is_empty() {
                    line.waiting.entry(key.clone()).or_default().extend(patient);
                }
            }
        }
        flown
    }
}

fn index(fetched: &Fetched, shard: ShardId) -> HashMap<Key, Loaded> {
    let loaded = |row: &super::Row| Loaded { state: row.state(fetched.generation), position: fetched.position, shard };
    fetched.rows.iter().map(|row| (row.key.clone(), loaded(row))).collect()
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

    #[tokio::test(start_paused = true)]
    async fn a_statement_lasts_as_long_as_its_callers_and_who_joined_later_goes_into_the_next() {
        let (batcher, key) = (batcher(), Key::from_database("a"));
        let id = (CollectionId(0), ShardId(0));
        let join = |after: u64| {
            let (answer, answered) = oneshot::channel();
            let deadline = Deadline::after(Duration::from_millis(after));
            batcher.enqueue(id, &key, Join::Any, Caller { answer, deadline });
            (deadline, answered)
        };
        let (first, _first_answer) = join(300);
        let (latest, _latest_answer) = join(500);
        assert!(first < latest);
        assert_eq!(batcher.depart(id), Some((vec![key.clone()], latest)));
        let (patient, _patient_answer) = join(900);
        tokio::time::advance(Duration::from_millis(500)).await;
        let late = batcher.arrive(id, true);
        assert_eq!(late[&key].len(), 2, "their time is over");
        assert_eq!(batcher.depart(id), Some((vec![key.clone()], patient)));
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(batcher.arrive(id, true)[&key].len(), 1);
        assert_eq!(batcher.depart(id), None, "the line is gone");
        assert!(batcher.lines.lock().is_empty());
    }
}
