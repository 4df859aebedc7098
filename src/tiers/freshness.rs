//! How long ago this node last knew that it had applied every change.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::record::Position;

/// The least that [`Config::fresh`] may be: two polls of an unused node and something more, or its first reads would be unproven.
pub const FRESH_MIN: Duration = Duration::from_millis(250);

/// How old a node's knowledge may be.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Up to this age answers are fresh: no mark on them, and absences may be believed.
    #[serde(with = "humantime_serde")]
    pub fresh: Duration,
    /// Up to this age cached values are still the first choice, marked with their age.
    #[serde(with = "humantime_serde")]
    pub usable: Duration,
    /// The oldest cached value that is served when no database can answer, unless the request says otherwise.
    #[serde(with = "humantime_serde")]
    pub stale_max: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            fresh: Duration::from_secs(3),
            usable: Duration::from_secs(10),
            stale_max: Duration::from_secs(60 * 60),
        }
    }
}

/// What may be done with a cached value now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is as good as the database's.
    Fresh,
    /// It may be served with its age.
    Usable(Duration),
    /// Ask the database first.
    Expired(Duration),
}

/// The node's certificate: the latest moment before which every visible change is known to be applied.
///
/// Only the monotonic clock of this process takes part.
///
/// # Source
/// docs/coherence.md, section 8. A poll of the primary begun at `t` reports everything visible before `t`, so when it
/// is applied it proves `t` by itself.
#[derive(Debug)]
pub struct Freshness {
    config: Config,
    start: Instant,
    /// Nanoseconds after `start`, plus one; 0 while nothing was proven.
    proven: AtomicU64,
    /// The newest mark that was seen, and when it was seen first.
    marked: Mutex<(Position, Instant)>,
    /// When the newest page of a backlog was applied.
    paged: Mutex<Option<Instant>>,
}

impl Freshness {
    /// Nothing is proven yet.
    pub fn new(config: Config) -> Self {
        let start = Instant::now();
        let marked = Mutex::new((Position::default(), start));
        Freshness { config, start, proven: AtomicU64::new(0), marked, paged: Mutex::default() }
    }

    /// The database shows mark `newest`.
    pub fn meet_mark(&self, newest: Position) {
        let mut marked = self.marked.lock();
        if newest > marked.0 {
            *marked = (newest, Instant::now());
        }
    }

    /// History was lost, and what comes after it may have lower marks.
    pub fn forget_mark(&self) {
        self.marked.lock().0 = Position::default();
    }

    /// How long no new mark was seen. Changes reach their watchers without marks, but the window of reads stands still, no
    /// history is pruned, and the database most likely takes no writes.
    pub fn since_mark(&self) -> Duration {
        self.marked.lock().1.elapsed()
    }

    /// A page of a backlog has been applied, which proves nothing before the last one.
    pub fn meet_page(&self) {
        *self.paged.lock() = Some(Instant::now());
    }

    /// How long ago a page of a backlog was applied, if ever.
    pub fn since_page(&self) -> Option<Duration> {
        self.paged.lock().map(|at| at.elapsed())
    }

    /// Every change visible before `moment` has been applied.
    pub fn prove(&self, moment: Instant) {
        let nanos = moment.saturating_duration_since(self.start).as_nanos();
        self.proven.fetch_max(u64::try_from(nanos).unwrap_or(u64::MAX - 1) + 1, Ordering::AcqRel);
    }

    /// The newest proven moment.
    pub fn proven(&self) -> Option<Instant> {
        let nanos = self.proven.load(Ordering::Acquire).checked_sub(1)?;
        Some(self.start + Duration::from_nanos(nanos))
    }

    /// How old what is cached here may be: the time since the newest proven moment or, while nothing is proven, since
    /// the start, before which nothing was cached. Whether anything was proven is said by [`Self::verdict`] alone.
    pub fn age(&self) -> Duration {
        self.age_at(Instant::now())
    }

    /// What may be done with a cached value.
    pub fn verdict(&self) -> Verdict {
        self.verdict_at(Instant::now())
    }

    /// [`Self::verdict`] for a reader who has looked at the clock already, just now.
    pub fn verdict_at(&self, now: Instant) -> Verdict {
        match self.age_at(now) {
            age if self.proven.load(Ordering::Acquire) == 0 => Verdict::Expired(age),
            age if age <= self.config.fresh => Verdict::Fresh,
            age if age <= self.config.usable => Verdict::Usable(age),
            age => Verdict::Expired(age),
        }
    }

    fn age_at(&self, now: Instant) -> Duration {
        let proven = Duration::from_nanos(self.proven.load(Ordering::Acquire).saturating_sub(1));
        now.saturating_duration_since(self.start).saturating_sub(proven)
    }

    /// How old an answer may be that reflects what has been applied here and what was visible at `read`, where the younger
    /// of the two is too old to be fresh. A read is as old as its beginning: nobody knows what its snapshot lacks of what
    /// came after.
    pub fn staleness(&self, read: Instant) -> Option<Duration> {
        let now = Instant::now();
        let since_read = now.saturating_duration_since(read);
        if since_read <= self.config.fresh {
            return None;
        }
        match self.verdict_at(now) {
            Verdict::Fresh => None,
            Verdict::Usable(age) | Verdict::Expired(age) => Some(age.min(since_read)),
        }
    }

    /// How old an answer may be that reflects no more than what has been applied here; `None` while that is fresh.
    pub fn unproven(&self) -> Option<Duration> {
        match self.verdict() {
            Verdict::Fresh => None,
            Verdict::Usable(age) | Verdict::Expired(age) => Some(age),
        }
    }

    /// Up to which age it is fresh.
    pub fn fresh(&self) -> Duration {
        self.config.fresh
    }

    /// The oldest value served when nothing else can answer.
    pub fn stale_max(&self) -> Duration {
        self.config.stale_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_fresh_before_the_first_proof_and_age_decides_after() {
        let config = Config { fresh: Duration::from_secs(3), usable: Duration::from_secs(10), ..Config::default() };
        let freshness = Freshness::new(config);
        assert!(matches!(freshness.verdict(), Verdict::Expired(_)));
        freshness.prove(Instant::now());
        assert_eq!(freshness.verdict(), Verdict::Fresh);
    }

    #[test]
    fn a_mark_that_was_seen_before_is_no_sign_of_life() {
        let freshness = Freshness::new(Config::default());
        freshness.meet_mark(Position(7));
        std::thread::sleep(Duration::from_millis(20));
        for seen in [7, 6] {
            freshness.meet_mark(Position(seen));
            assert!(freshness.since_mark() >= Duration::from_millis(20));
        }
        let before = freshness.since_mark();
        freshness.meet_mark(Position(8));
        assert!(freshness.since_mark() < before);
    }

    #[test]
    fn lower_marks_are_a_sign_of_life_once_history_was_lost() {
        let freshness = Freshness::new(Config::default());
        freshness.meet_mark(Position(7));
        std::thread::sleep(Duration::from_millis(20));
        freshness.forget_mark();
        assert!(freshness.since_mark() >= Duration::from_millis(20));
        freshness.meet_mark(Position(2));
        assert!(freshness.since_mark() < Duration::from_millis(20));
    }

    #[test]
    fn an_older_proof_takes_nothing_back() {
        let freshness = Freshness::new(Config::default());
        let now = Instant::now();
        freshness.prove(now);
        freshness.prove(now - Duration::from_secs(60));
        assert_eq!(freshness.verdict(), Verdict::Fresh);
    }
}
