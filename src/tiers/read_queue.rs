//! The callers that wait for records of one shard of a collection, and which of their keys go into the next batch.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;

use super::batch::Loaded;
use crate::{
    completion::Completion,
    record::{Key, Position},
    resilience::Deadline,
    store::Error,
};

/// Which statement may answer a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// One in flight already will do.
    Any,
    /// Only one begun after the load was asked for.
    Later,
}

/// A caller that waits for a record, and until when.
pub(super) struct Caller {
    pub(super) answer: Completion<Result<Loaded, Error>>,
    pub(super) deadline: Deadline,
    /// What a replica must show to answer it.
    pub(super) needed: Position,
    /// It wants to know what Redis has, and no database is to be asked for it alone.
    pub(super) is_shadow: bool,
}

impl Caller {
    /// A caller that any server may answer.
    pub(super) fn new(deadline: Deadline, answer: impl FnOnce(Result<Loaded, Error>) + Send + Sync + 'static) -> Self {
        let answer = Completion::new(|| Err(Error::shutting_down()), answer);
        Caller { answer, deadline, needed: Position::default(), is_shadow: false }
    }
}

pub(super) type Callers = Vec<Caller>;

/// The callers of one key.
#[derive(Default)]
struct Wanted {
    /// Answered by the batch in flight; `None` when that does not read the key.
    in_flight: Option<Callers>,
    /// Answered by a later one. With callers here, the key is in [`ReadQueue::keys`].
    waiting: Callers,
}

/// The keys of one statement.
pub(super) struct Batch {
    pub(super) keys: Vec<Key>,
    /// When the first of its callers gives up.
    pub(super) expiry: Deadline,
    /// When the last does.
    pub(super) deadline: Deadline,
    /// What a replica must show to answer all of them.
    pub(super) needed: Position,
}

/// The reads of one shard of one collection, of which at most one batch is in flight.
#[derive(Default)]
pub(super) struct ReadQueue {
    wanted: HashMap<Key, Wanted, RandomState>,
    /// The keys of later batches, in the order they were first asked for.
    keys: VecDeque<Key>,
}

impl ReadQueue {
    /// Adds a caller.
    pub(super) fn join(&mut self, key: &Key, join: Join, caller: Caller) {
        match self.wanted.get_mut(key).and_then(|wanted| wanted.in_flight.as_mut()) {
            Some(callers) if join == Join::Any => callers.push(caller),
            _ => self.wait(key, [caller]),
        }
    }

    /// Adds callers that a batch in flight may not answer.
    fn wait(&mut self, key: &Key, callers: impl IntoIterator<Item = Caller>) {
        let wanted = self.wanted.entry(key.clone()).or_default();
        let is_queued = !wanted.waiting.is_empty();
        wanted.waiting.extend(callers);
        if !is_queued && !wanted.waiting.is_empty() {
            self.keys.push_back(key.clone());
        }
    }

    /// Moves the keys that wait longest, `keys_max` of them at the most, into the next batch; `None` when the queue is empty. It may take until the last of its
    /// callers' deadlines: on a link that fell silent, the queue is free again when they have given up.
    pub(super) fn dispatch(&mut self, keys_max: usize) -> Option<Batch> {
        let keys: Vec<Key> = self.keys.drain(..self.keys.len().min(keys_max)).collect();
        let mut span: Option<(Deadline, Deadline)> = None;
        let mut needed = Position::default();
        for key in &keys {
            let wanted = self.wanted.get_mut(key)?;
            let callers = std::mem::take(&mut wanted.waiting);
            for Caller { deadline, needed: wanted, .. } in &callers {
                needed = needed.max(*wanted);
                let (first, last) = span.unwrap_or((*deadline, *deadline));
                span = Some((first.min(*deadline), last.max(*deadline)));
            }
            wanted.in_flight = Some(callers);
        }
        span.map(|(expiry, deadline)| Batch { keys, expiry, deadline, needed })
    }

    /// Takes out the callers whose deadline has passed: any of the batch in flight, and of those behind it the first in the
    /// queue. Also returns the next deadline.
    pub(super) fn expire(&mut self) -> (Callers, Option<Deadline>) {
        let mut late = Callers::new();
        let mut next: Option<Deadline> = None;
        let mut split = |callers: &mut Callers| {
            late.extend(callers.extract_if(.., |caller| caller.deadline.passed()));
            let first = callers.iter().map(|caller| caller.deadline).min();
            next = next.into_iter().chain(first).min();
        };
        self.wanted.values_mut().filter_map(|wanted| wanted.in_flight.as_mut()).for_each(&mut split);
        while let Some(key) = self.keys.front()
            && let Some(wanted) = self.wanted.get_mut(key)
        {
            split(&mut wanted.waiting);
            if !wanted.waiting.is_empty() {
                break;
            }
            if wanted.in_flight.is_none() {
                self.wanted.remove(key);
            }
            self.keys.pop_front();
        }
        (late, next)
    }

    /// Ends the batch that reads `keys`; returns the callers of each. When it `was_late`, callers that joined it later and can
    /// wait longer go into the next instead.
    pub(super) fn complete(&mut self, keys: &[Key], was_late: bool) -> Vec<Callers> {
        let mut completed = Vec::with_capacity(keys.len());
        for key in keys {
            let mut callers = self.wanted.get_mut(key).and_then(|wanted| wanted.in_flight.take()).unwrap_or_default();
            if was_late {
                let patient: Callers = callers.extract_if(.., |caller| !caller.deadline.passed()).collect();
                self.wait(key, patient);
            }
            if self.wanted.get(key).is_some_and(|wanted| wanted.waiting.is_empty()) {
                self.wanted.remove(key);
            }
            completed.push(callers);
        }
        completed
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::mpsc,
        time::{Duration, Instant},
    };

    use super::*;
    use crate::{
        record::{DatabaseId, ShardId, Stamp, State},
        store::Origin,
    };

    const KEYS_MAX: usize = 256;

    type Answered = mpsc::Receiver<Result<Loaded, Error>>;

    impl ReadQueue {
        fn joined(&mut self, key: &Key, join: Join, after: u64) -> (Deadline, Answered) {
            let (give, answered) = mpsc::channel();
            let deadline = Deadline::after(Duration::from_millis(after));
            let answer = Completion::new(|| Err(Error::Overloaded), move |answer| drop(give.send(answer)));
            self.join(key, join, Caller { answer, deadline, needed: Position::default(), is_shadow: false });
            (deadline, answered)
        }
    }

    fn key(text: &str) -> Key {
        Key::from_database(text)
    }

    fn answer(callers: impl IntoIterator<Item = Caller>) {
        let state = State::absent(Stamp::ABSENT);
        let (database, position, shard, begun) = (DatabaseId(0), Position(1), ShardId(0), Instant::now());
        let loaded = Loaded { state, database, position, origin: Origin::Primary, shard, begun };
        callers.into_iter().for_each(|caller| caller.answer.complete(Ok(loaded.clone())));
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_lasts_as_long_as_its_callers_and_those_that_joined_later_go_into_the_next() {
        let (mut queue, a) = (ReadQueue::default(), key("a"));
        let (first, _first) = queue.joined(&a, Join::Any, 300);
        let (latest, _latest) = queue.joined(&a, Join::Any, 500);
        let batch = queue.dispatch(KEYS_MAX).expect("a key waits");
        assert_eq!((&*batch.keys, batch.expiry, batch.deadline), (&[a.clone()][..], first, latest));
        let (patient, _patient) = queue.joined(&a, Join::Any, 900);
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(queue.complete(std::slice::from_ref(&a), true)[0].len(), 2, "their time is over");
        assert_eq!(queue.dispatch(KEYS_MAX).map(|batch| batch.deadline), Some(patient));
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(queue.complete(&[a], true)[0].len(), 1);
        assert!(queue.dispatch(KEYS_MAX).is_none() && queue.wanted.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn keys_go_in_the_order_they_were_asked_for_and_a_later_batch_is_another() {
        let mut queue = ReadQueue::default();
        let keys: Vec<Key> = (0..KEYS_MAX + 2).map(|n| key(&n.to_string())).collect();
        let _answers: Vec<_> = keys.iter().map(|key| queue.joined(key, Join::Any, 500)).collect();
        let dispatched = queue.dispatch(KEYS_MAX).expect("keys wait").keys;
        assert_eq!(dispatched, keys[..KEYS_MAX]);
        let (_, joined) = queue.joined(&keys[0], Join::Any, 500);
        let (_, later) = queue.joined(&keys[0], Join::Later, 500);
        answer(queue.complete(&dispatched, false).into_iter().flatten());
        assert!(joined.try_recv().is_ok() && later.try_recv().is_err());
        let dispatched = queue.dispatch(KEYS_MAX).expect("keys wait").keys;
        assert_eq!(dispatched, [&keys[KEYS_MAX..], &keys[..1]].concat());
    }

    #[tokio::test(start_paused = true)]
    async fn callers_behind_a_silent_statement_are_let_go_by_their_deadline() {
        let (mut queue, a, b) = (ReadQueue::default(), key("a"), key("b"));
        let (_, _flying) = queue.joined(&a, Join::Any, 300);
        let mut expiry = queue.dispatch(KEYS_MAX).expect("a key waits").expiry;
        let (_, _behind) = queue.joined(&a, Join::Later, 400);
        let (last, _last) = queue.joined(&b, Join::Any, 900);
        for (after, next) in [(300, None), (100, Some(last))] {
            assert_eq!(expiry.left(), Duration::from_millis(after));
            tokio::time::advance(expiry.left()).await;
            let (late, following) = queue.expire();
            expiry = following.expect("somebody waits");
            assert_eq!(late.len(), 1);
            assert!(next.is_none_or(|next| next == expiry));
        }
        queue.complete(&[a], true);
        assert_eq!(queue.dispatch(KEYS_MAX).map(|batch| batch.keys), Some(vec![b]));
    }
}
