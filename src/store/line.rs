//! Those who wait for records of one shard, and which of their keys go into the next statement.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;

use super::{Error, batch::Loaded};
use crate::{promise::Promise, record::Key, resilience::Deadline};

/// Keys in one statement, at the most.
const KEYS_MAX: usize = 256;

/// Which statement may answer a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// One already under way will do.
    Any,
    /// Only one begun after the load was asked for.
    Later,
}

/// One who waits for a record, and until when.
pub(super) struct Caller {
    pub(super) answer: Promise<Result<Loaded, Error>>,
    pub(super) deadline: Deadline,
}

pub(super) type Callers = Vec<Caller>;

/// Those who want one key.
#[derive(Default)]
struct Wanted {
    /// Answered by the statement under way; `None` when that does not read the key.
    flying: Option<Callers>,
    /// Answered by a later one. With callers here, the key is in the line's queue.
    waiting: Callers,
}

/// The keys of one statement.
pub(super) struct Flight {
    pub(super) keys: Vec<Key>,
    /// When the first of its callers gives up.
    pub(super) expiry: Deadline,
    /// When the last does.
    pub(super) deadline: Deadline,
}

/// The reads of one shard of one collection, of which one statement is under way at most.
#[derive(Default)]
pub(super) struct Line {
    wanted: HashMap<Key, Wanted, RandomState>,
    /// The keys of later statements, in the order they were first asked for.
    queue: VecDeque<Key>,
}

impl Line {
    /// Puts a caller in line.
    pub(super) fn join(&mut self, key: &Key, join: Join, caller: Caller) {
        match self.wanted.get_mut(key).and_then(|wanted| wanted.flying.as_mut()) {
            Some(callers) if join == Join::Any => callers.push(caller),
            _ => self.wait(key, [caller]),
        }
    }

    /// Puts callers in line for a statement that has not begun.
    fn wait(&mut self, key: &Key, callers: impl IntoIterator<Item = Caller>) {
        let wanted = self.wanted.entry(key.clone()).or_default();
        let is_queued = !wanted.waiting.is_empty();
        wanted.waiting.extend(callers);
        if !is_queued && !wanted.waiting.is_empty() {
            self.queue.push_back(key.clone());
        }
    }

    /// Moves the keys that wait longest into the next statement; `None` when nobody waits. It may take as long as the most
    /// patient of its callers waits: on a link that fell silent, the line is free again when they have given up.
    pub(super) fn depart(&mut self) -> Option<Flight> {
        let keys: Vec<Key> = self.queue.drain(..self.queue.len().min(KEYS_MAX)).collect();
        let mut span: Option<(Deadline, Deadline)> = None;
        for key in &keys {
            let wanted = self.wanted.get_mut(key)?;
            let callers = std::mem::take(&mut wanted.waiting);
            for Caller { deadline, .. } in &callers {
                let (first, last) = span.unwrap_or((*deadline, *deadline));
                span = Some((first.min(*deadline), last.max(*deadline)));
            }
            wanted.flying = Some(callers);
        }
        span.map(|(expiry, deadline)| Flight { keys, expiry, deadline })
    }

    /// Takes out the callers whose time is over: any of the statement under way, and of those behind it the first in line.
    /// Also says when the next one's may be.
    pub(super) fn expire(&mut self) -> (Callers, Option<Deadline>) {
        let mut late = Callers::new();
        let mut next: Option<Deadline> = None;
        let mut split = |callers: &mut Callers| {
            late.extend(callers.extract_if(.., |caller| caller.deadline.passed()));
            let first = callers.iter().map(|caller| caller.deadline).min();
            next = next.into_iter().chain(first).min();
        };
        self.wanted.values_mut().filter_map(|wanted| wanted.flying.as_mut()).for_each(&mut split);
        while let Some(key) = self.queue.front()
            && let Some(wanted) = self.wanted.get_mut(key)
        {
            split(&mut wanted.waiting);
            if !wanted.waiting.is_empty() {
                break;
            }
            if wanted.flying.is_none() {
                self.wanted.remove(key);
            }
            self.queue.pop_front();
        }
        (late, next)
    }

    /// Ends the statement that reads `keys`; returns the callers of each. When it `was_late`, those who joined it later and
    /// can wait longer go into the next instead.
    pub(super) fn land(&mut self, keys: &[Key], was_late: bool) -> Vec<Callers> {
        let mut landed = Vec::with_capacity(keys.len());
        for key in keys {
            let mut callers = self.wanted.get_mut(key).and_then(|wanted| wanted.flying.take()).unwrap_or_default();
            if was_late {
                let patient: Callers = callers.extract_if(.., |caller| !caller.deadline.passed()).collect();
                self.wait(key, patient);
            }
            if self.wanted.get(key).is_some_and(|wanted| wanted.waiting.is_empty()) {
                self.wanted.remove(key);
            }
            landed.push(callers);
        }
        landed
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
        record::{Position, Stamp, State},
        store::ShardId,
    };

    type Answered = mpsc::Receiver<Result<Loaded, Error>>;

    impl Line {
        fn joined(&mut self, key: &Key, join: Join, after: u64) -> (Deadline, Answered) {
            let (give, answered) = mpsc::channel();
            let deadline = Deadline::after(Duration::from_millis(after));
            let answer = Promise::new(|| Err(Error::Overloaded), move |answer| drop(give.send(answer)));
            self.join(key, join, Caller { answer, deadline });
            (deadline, answered)
        }
    }

    fn key(text: &str) -> Key {
        Key::from_database(text)
    }

    fn answer(callers: impl IntoIterator<Item = Caller>) {
        let state = State::absent(Stamp::ABSENT);
        let loaded = Loaded { state, position: Position(1), shard: ShardId(0), begun: Instant::now() };
        callers.into_iter().for_each(|caller| caller.answer.keep(Ok(loaded.clone())));
    }

    #[tokio::test(start_paused = true)]
    async fn a_statement_lasts_as_long_as_its_callers_and_who_joined_later_goes_into_the_next() {
        let (mut line, a) = (Line::default(), key("a"));
        let (first, _first) = line.joined(&a, Join::Any, 300);
        let (latest, _latest) = line.joined(&a, Join::Any, 500);
        let flight = line.depart().expect("a key waits");
        assert_eq!((&*flight.keys, flight.expiry, flight.deadline), (&[a.clone()][..], first, latest));
        let (patient, _patient) = line.joined(&a, Join::Any, 900);
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(line.land(std::slice::from_ref(&a), true)[0].len(), 2, "their time is over");
        assert_eq!(line.depart().map(|flight| flight.deadline), Some(patient));
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(line.land(&[a], true)[0].len(), 1);
        assert!(line.depart().is_none() && line.wanted.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn keys_go_in_the_order_they_were_asked_for_and_a_later_statement_is_another() {
        let mut line = Line::default();
        let keys: Vec<Key> = (0..KEYS_MAX + 2).map(|n| key(&n.to_string())).collect();
        let _answers: Vec<_> = keys.iter().map(|key| line.joined(key, Join::Any, 500)).collect();
        let departed = line.depart().expect("keys wait").keys;
        assert_eq!(departed, keys[..KEYS_MAX]);
        let (_, joined) = line.joined(&keys[0], Join::Any, 500);
        let (_, later) = line.joined(&keys[0], Join::Later, 500);
        answer(line.land(&departed, false).into_iter().flatten());
        assert!(joined.try_recv().is_ok() && later.try_recv().is_err());
        let departed = line.depart().expect("keys wait").keys;
        assert_eq!(departed, [&keys[KEYS_MAX..], &keys[..1]].concat());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_behind_a_silent_statement_is_let_go_by_the_deadline() {
        let (mut line, a, b) = (Line::default(), key("a"), key("b"));
        let (_, _flying) = line.joined(&a, Join::Any, 300);
        let mut expiry = line.depart().expect("a key waits").expiry;
        let (_, _behind) = line.joined(&a, Join::Later, 400);
        let (last, _last) = line.joined(&b, Join::Any, 900);
        for (after, next) in [(300, None), (100, Some(last))] {
            assert_eq!(expiry.left(), Duration::from_millis(after));
            tokio::time::advance(expiry.left()).await;
            let (late, following) = line.expire();
            expiry = following.expect("somebody waits");
            assert_eq!(late.len(), 1);
            assert!(next.is_none_or(|next| next == expiry));
        }
        line.land(&[a], true);
        assert_eq!(line.depart().map(|flight| flight.keys), Some(vec![b]));
    }
}
