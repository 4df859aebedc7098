//! The walk from the nearest tier to the furthest.
//!
//! The verdict on freshness is taken before the entry is looked up, and before the filter is asked: freshness vouches for
//! what was applied up to a moment, and an entry read earlier than the verdict could lack a change that the verdict vouches
//! for. Where an older entry could be served instead, the database is waited for 300 ms and not to the deadline.

use std::time::{Duration, Instant};

use crate::{
    completion,
    record::{RecordId, RecordRef, Stamp, State},
    resilience::Deadline,
    store::{Error, Origin},
};

use super::{
    Tiers,
    audit::Tier,
    batch::Loaded,
    entry::Entry,
    freshness::Verdict,
    read_queue::{Caller, Join},
    route::Route,
    view::View,
};

/// What a reader asks of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// At least this state: what the client has seen already.
    pub min_stamp: Option<Stamp>,
    /// The oldest value it would take when freshness cannot be proven; `None` leaves it to the configuration.
    pub stale_max: Option<Duration>,
}

/// Which tier answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The cache in this process.
    Local,
    /// The filter denied the key.
    Filter,
    /// The cache that all nodes share.
    Shared,
    /// A database.
    Store,
    /// The cache, past its freshness, because nothing else could answer.
    Stale,
}

impl Source {
    /// The label it is counted under.
    pub const fn label(self) -> &'static str {
        match self {
            Source::Local => "local",
            Source::Filter => "filter",
            Source::Shared => "shared",
            Source::Store => "store",
            Source::Stale => "stale",
        }
    }
}

/// A record with what is known about its freshness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The record's state.
    pub state: State,
    /// How old it may be, where it is not proven to be fresh.
    pub stale: Option<Duration>,
    /// The tier it came from.
    pub source: Source,
}

/// How long the store is waited for when a cached value, past its use, could be answered instead.
const PATIENCE: Duration = Duration::from_millis(300);

impl Tiers {
    /// Answers from L1 alone, without waiting; `None` when L1 has no answer that meets the options. `answer` is given the
    /// entry and how old it may be, where it is not proven to be fresh; it must not read records itself. `now` is the
    /// moment the question was read from its socket.
    pub fn answer_local<R>(
        &self,
        record: RecordRef<'_>,
        options: &ReadOptions,
        now: Instant,
        answer: impl FnOnce(&Entry, Option<Duration>) -> R,
    ) -> Option<R> {
        // The verdict first, the entry second: what the verdict vouches for was applied before the entry is looked at.
        let verdict = self.verdict_at(record, now);
        let answered = self.inner.local.get(&record, now, |entry| {
            let state = entry.state();
            if options.min_stamp.is_some_and(|min| state.stamp < min) {
                return None;
            }
            match verdict {
                Verdict::Fresh => Some(answer(entry, None)),
                Verdict::Usable(age) if state.value.is_some() && self.allows(options, age) => {
                    Some(answer(entry, Some(age)))
                }
                _ => None,
            }
        })??;
        self.inner.answers.count(Source::Local);
        self.inner.audits.sample(Tier::Local, record);
        Some(answered)
    }

    /// How many reads have been answered.
    pub fn answered(&self) -> u64 {
        self.inner.answers.sum()
    }

    fn get_local(&self, record: RecordRef<'_>, options: &ReadOptions) -> Option<Answer> {
        self.answer_local(record, options, Instant::now(), |entry, stale| Answer {
            state: entry.state().clone(),
            stale,
            source: Source::Local,
        })
    }

    /// Looks a record up in L1, the filter and then the store, filling L1 on the way.
    ///
    /// Absence is an answer. `deadline` covers the whole walk; concurrent misses on one key share a load.
    ///
    /// # Errors
    /// The store's [`Error`] when neither it nor, within the options, a cached value could answer.
    ///
    /// # Cancel safety
    /// Dropping the future drops this caller only; a load shared with others runs on.
    pub async fn get(&self, id: &RecordId, options: &ReadOptions, deadline: Deadline) -> Result<Answer, Error> {
        self.walk(id, options, self.route(id, options), deadline).await
    }

    /// [`Self::get`], with the first read of the store where `route` says.
    async fn walk(
        &self,
        id: &RecordId,
        options: &ReadOptions,
        route: Route,
        deadline: Deadline,
    ) -> Result<Answer, Error> {
        if let Some(answer) = self.get_local(id.as_ref(), options) {
            return Ok(answer);
        }
        if let Some(denied) = self.deny(id, options) {
            return Ok(denied);
        }
        let begun = Instant::now();
        // With something to fall back on, a database that does not answer at once is not waited for to the end.
        let patience = if self.get_stale(id, options).is_some() { deadline.at_most(PATIENCE) } else { deadline };
        match self.load(id, options, route, patience).await {
            Ok(answer) => Ok(self.counted(answer, begun)),
            Err(error) => self.fall_back(id, options, begun, error),
        }
    }

    /// Answers a plain read that [`Self::answer_local`] could not: the filter denies the record, or a single load settles it
    /// when it completes. `answer` must not block.
    ///
    /// [`Self::get`] may read several times and wait between, and so is a future. Nearly every miss of a fresh node needs one
    /// load only; this spares it the task that would have to poll that future. Where one load is not enough, it runs
    /// [`Self::get`] in a task.
    pub fn answer_miss(
        &self,
        id: RecordId,
        deadline: Deadline,
        answer: impl FnOnce(Result<Answer, Error>) + Send + Sync + 'static,
    ) {
        if let Some(denied) = self.deny(&id, &ReadOptions::default()) {
            return answer(Ok(denied));
        }
        if self.verdict_at(id.as_ref(), Instant::now()) != Verdict::Fresh {
            // L1 may have something to fall back on, which the store is not waited for as long.
            let route = self.route(&id, &ReadOptions::default());
            return self.clone().get_in_task(id, route, deadline, answer);
        }
        self.inner.store_reads.inc();
        let (tiers, record, begun) = (self.clone(), id.clone(), Instant::now());
        let route = self.route(&id, &ReadOptions::default());
        let other = self.other_route(&id, Route::Primary);
        let settle = move |loaded: Result<Loaded, Error>| {
            let settled = loaded.map(|loaded| tiers.settle(&record, &loaded, &ReadOptions::default()));
            match settled {
                Ok(Some(settled)) => answer(Ok(tiers.counted(settled, begun))),
                Ok(None) => tiers.get_in_task(record, Route::Primary, deadline, answer),
                Err(Error::Unavailable { .. }) if let Some(other) = other => {
                    tiers.get_in_task(record, other, deadline, answer);
                }
                Err(error) => answer(tiers.fall_back(&record, &ReadOptions::default(), begun, error)),
            }
        };
        self.load_at(&id, Join::Any, route, Caller::new(deadline, settle));
    }

    fn get_in_task(
        self,
        id: RecordId,
        route: Route,
        deadline: Deadline,
        answer: impl FnOnce(Result<Answer, Error>) + Send + 'static,
    ) {
        tokio::spawn(async move { answer(self.walk(&id, &ReadOptions::default(), route, deadline).await) });
    }

    /// Reads the store until an answer is not older than what this node knew when it came: a record that changes faster
    /// than it can be read is tried until the deadline, and what overtook a read may have left its state in L1.
    async fn load(
        &self,
        id: &RecordId,
        options: &ReadOptions,
        mut route: Route,
        deadline: Deadline,
    ) -> Result<Answer, Error> {
        // A statement already under way may have begun before the client saw the stamp it names.
        let mut join = if options.min_stamp.is_some() { Join::Later } else { Join::Any };
        let mut other = self.other_route(id, Route::Primary);
        while !deadline.passed() {
            self.inner.store_reads.inc();
            let (answer, loaded) = completion::channel(|| Err(Error::shutting_down()));
            self.load_at(id, join, route, Caller::new(deadline, answer));
            let loaded = match deadline.limit(loaded).await.map_err(|_| Error::Deadline)? {
                Err(Error::Unavailable { .. }) if let Some(other) = other.take() => {
                    route = other;
                    continue;
                }
                loaded => loaded?,
            };
            if let Some(settled) = self.settle(id, &loaded, options) {
                // A commit that waits for a standby is shown by that one first.
                let (stamp, min) = (settled.state.stamp, options.min_stamp);
                let may_be_ahead = min.is_some_and(|min| stamp < min && stamp.generation == min.generation);
                let Some(replica) = other.take_if(|_| may_be_ahead) else { return Ok(settled) };
                route = replica;
                continue;
            }
            if let Some(answer) = self.get_local(id.as_ref(), options).filter(|answer| answer.stale.is_none()) {
                return Ok(Answer { source: Source::Store, ..answer });
            }
            (join, route) = (Join::Later, Route::Primary);
        }
        Err(Error::Deadline)
    }

    /// Installs what was read; returns what stands and how old that may be, where it is not proven to be fresh. `None` when
    /// it has to be read again: it was overtaken, or is older than the options allows.
    fn settle(&self, id: &RecordId, loaded: &Loaded, options: &ReadOptions) -> Option<Answer> {
        // The age first, the install second: what the certificate vouches for was applied before the floors judge the state.
        let freshness = self.freshness_of(loaded.database);
        let is_primarys = loaded.origin == Origin::Primary;
        let stale = if is_primarys { freshness.staleness(loaded.begun) } else { freshness.unproven() };
        let state = self.install(id, loaded)?;
        if !is_primarys && options.min_stamp.is_some_and(|min| state.stamp < min) {
            return None;
        }
        let source = if loaded.origin == Origin::Shared { Source::Shared } else { Source::Store };
        stale.is_none_or(|age| self.allows(options, age)).then_some(Answer { state, stale, source })
    }

    /// What L1 still has within the options, in place of the store's `error`.
    fn fall_back(&self, id: &RecordId, options: &ReadOptions, begun: Instant, error: Error) -> Result<Answer, Error> {
        self.get_stale(id, options).map(|answer| self.counted(answer, begun)).ok_or(error)
    }

    /// The filter's answer, if it denies the record. Its word counts only while the node is fresh, and not against what a client has seen. The verdict comes
    /// first: a filter that was asked before it may lack what the verdict vouches for. The filter knows no tombstones:
    /// where this node has answered one not long ago, an absence without a version would be a step back.
    fn deny(&self, id: &RecordId, options: &ReadOptions) -> Option<Answer> {
        let view = self.view_of(id.as_ref())?;
        let denies =
            options.min_stamp.is_none() && view.freshness.verdict() == Verdict::Fresh && self.is_denied(view, id);
        denies.then(|| {
            self.inner.audits.sample(Tier::Filter, id.as_ref());
            let state = State::absent(Stamp::new(self.generation_of(id.as_ref()), 0));
            self.inner.answers.count(Source::Filter);
            Answer { state, stale: None, source: Source::Filter }
        })
    }

    /// Whether the filter of a view denies a record against which nothing speaks.
    pub(super) fn is_denied(&self, view: &View, id: &RecordId) -> bool {
        view.filters.denies(id.as_ref()) && view.floors.get(id).is_none()
    }

    fn get_stale(&self, id: &RecordId, options: &ReadOptions) -> Option<Answer> {
        let age = self.view_of(id.as_ref()).map_or_else(|| self.freshness().age(), |view| view.freshness.age());
        let state = self.inner.local.get(&id.as_ref(), Instant::now(), |entry| entry.state().clone())?;
        let seen = options.min_stamp.is_none_or(|min| state.stamp >= min);
        let answer = Answer { state, stale: Some(age), source: Source::Stale };
        (seen && self.allows(options, age)).then_some(answer)
    }

    /// What may be done with a cached value of the record.
    fn verdict_at(&self, record: RecordRef<'_>, now: Instant) -> Verdict {
        self.inner.views.verdict_at(now, || self.owner_of(record))
    }

    fn allows(&self, options: &ReadOptions, age: Duration) -> bool {
        age <= options.stale_max.unwrap_or_else(|| self.freshness().stale_max())
    }

    /// The answer to a read that was `begun` when L1 and the filter had none.
    fn counted(&self, answer: Answer, begun: Instant) -> Answer {
        self.inner.answers.count_waited(answer.source, begun);
        answer
    }
}
