//! The standing audit: what the tiers answer is compared with the primary, all the time.
//!
//! What it is for: the rules say that no tier holds what a change has overtaken. If one does all the same, by a mistake or because
//! somebody has put it there, this finds it in running nodes, and says so.
//!
//! A share of the reads of each tier is followed by an audit of the record: the primary is read; then, once the tier has proven
//! that it applied every change which that read shows, the tier is looked at. What it holds must not be older, and must be the
//! same where the stamps are equal. Something newer is compared with another read of the primary. Between the read and the proof
//! the record may change as it likes: only what the tier must have seen counts against it.
//!
//! Promises: at most [`Config::per_second_max`] audits begin in a second, whatever is read, and each tier gets its share of them;
//! a read waits for none of them. What is found wrong is counted, logged and removed, but for what watchers have been sent.
//!
//! # Source
//! docs/coherence.md, section 8b, and invariants I5, I12 and I15, which speak of L1, the filter and Redis.

mod comparison;
mod examination;
mod sampling;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use prometheus::IntCounter;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use self::sampling::Sampler;
use crate::{
    record::{Key, RecordId, RecordRef},
    telemetry::Telemetry,
};

/// How much is audited.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The share of reads after which the record is compared; 0 audits nothing.
    pub share: f64,
    /// The most audits of this node in a second; each costs a read on a primary, and some more where something is wrong.
    pub per_second_max: u32,
}

impl Default for Config {
    fn default() -> Self {
        Config { share: 0.001, per_second_max: 10 }
    }
}

/// What is audited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tier {
    Local,
    Filter,
    Shared,
    /// Redis, where its answers are not given.
    Shadow,
}

impl Tier {
    const ALL: [Tier; 4] = [Tier::Local, Tier::Filter, Tier::Shared, Tier::Shadow];

    const fn label(self) -> &'static str {
        match self {
            Tier::Local => "local",
            Tier::Filter => "filter",
            Tier::Shared => "shared",
            Tier::Shadow => "shadow",
        }
    }
}

/// What an audit came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The tier holds what the primary has.
    Right,
    /// It does not.
    Wrong,
    /// The tier holds the record no longer.
    Gone,
    /// The primary did not answer, the tier proved nothing in time, or the record changed too often.
    Unproven,
}

impl Outcome {
    const ALL: [Outcome; 4] = [Outcome::Right, Outcome::Wrong, Outcome::Gone, Outcome::Unproven];

    const fn label(self) -> &'static str {
        match self {
            Outcome::Right => "right",
            Outcome::Wrong => "wrong",
            Outcome::Gone => "gone",
            Outcome::Unproven => "unproven",
        }
    }
}

/// What audits have found since the node started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Records that were compared.
    pub audited: u64,
    /// Those that were wrong.
    pub wrong: u64,
    /// The last of them.
    pub last: Option<Finding>,
}

/// A record that was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// When it was found.
    pub at: Instant,
    /// In words.
    pub text: String,
}

/// The records to be audited, and what was found.
pub(super) struct Audits {
    sampler: Sampler,
    pause: Duration,
    /// The next of each tier. Others are not audited meanwhile.
    next: Mutex<[Option<RecordId>; 4]>,
    /// Whether there is one, for readers that have one to offer.
    is_taken: [AtomicBool; 4],
    is_next: Notify,
    outcomes: [[IntCounter; 4]; 4],
    last: Mutex<Option<Finding>>,
}

impl Audits {
    pub(super) fn new(config: &Config, telemetry: &Telemetry) -> Self {
        let help = "Cached answers that were compared with the primary, by tier and outcome.";
        let outcomes = telemetry.counters("freshet_tiers_audits_total", help, &["tier", "outcome"]);
        let counter = |tier: Tier, outcome: Outcome| outcomes.with_label_values(&[tier.label(), outcome.label()]);
        Audits {
            sampler: Sampler::new(config.share),
            pause: Duration::from_secs(1) / config.per_second_max.max(1),
            next: Mutex::default(),
            is_taken: Default::default(),
            is_next: Notify::new(),
            outcomes: Tier::ALL.map(|tier| Outcome::ALL.map(|outcome| counter(tier, outcome))),
            last: Mutex::default(),
        }
    }

    /// A tier has answered a read; now and then the record is audited.
    pub(super) fn sample(&self, tier: Tier, record: RecordRef<'_>) {
        if self.sampler.picks(tier) && !self.is_taken[tier as usize].load(Ordering::Relaxed) {
            self.offer(tier, RecordId::new(record.collection, Key::from_database(record.key)));
        }
    }

    /// Has a record audited, unless another record of the tier is waiting.
    pub(super) fn offer(&self, tier: Tier, id: RecordId) {
        let mut next = self.next.lock();
        if next[tier as usize].is_none() {
            next[tier as usize] = Some(id);
            self.is_taken[tier as usize].store(true, Ordering::Relaxed);
            drop(next);
            self.is_next.notify_one();
        }
    }

    /// The next record, of each tier in turn.
    async fn next(&self, after: Tier) -> (Tier, RecordId) {
        loop {
            let turns = (1..=Tier::ALL.len()).map(|step| Tier::ALL[(after as usize + step) % Tier::ALL.len()]);
            let take = |tier: Tier| {
                let taken = self.next.lock()[tier as usize].take()?;
                self.is_taken[tier as usize].store(false, Ordering::Relaxed);
                Some((tier, taken))
            };
            match turns.into_iter().find_map(take) {
                Some(taken) => return taken,
                None => self.is_next.notified().await,
            }
        }
    }

    /// Counts what an audit of a tier came to.
    fn count(&self, tier: Tier, outcome: Outcome) {
        self.outcomes[tier as usize][outcome as usize].inc();
    }

    fn findings(&self) -> Findings {
        let sum = |outcome: Outcome| self.outcomes.iter().map(|counts| counts[outcome as usize].get()).sum::<u64>();
        let wrong = sum(Outcome::Wrong);
        Findings { audited: sum(Outcome::Right) + wrong, wrong, last: self.last.lock().clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::CollectionId;

    fn id(key: &str) -> RecordId {
        RecordId::new(CollectionId(0), Key::from_database(key))
    }

    #[tokio::test]
    async fn tiers_take_turns_and_one_that_answers_much_takes_nobody_elses() {
        let audits = Audits::new(&Config { share: 1.0, ..Config::default() }, &Telemetry::new());
        for n in 0..100 {
            audits.sample(Tier::Local, id(&n.to_string()).as_ref());
        }
        audits.sample(Tier::Shared, id("a").as_ref());
        assert_eq!(audits.next(Tier::Shadow).await, (Tier::Local, id("0")));
        audits.sample(Tier::Local, id("100").as_ref());
        assert_eq!(audits.next(Tier::Local).await, (Tier::Shared, id("a")));
        assert_eq!(audits.next(Tier::Shared).await, (Tier::Local, id("100")));
    }

    #[test]
    fn findings_are_of_all_tiers() {
        let audits = Audits::new(&Config::default(), &Telemetry::new());
        for (tier, outcome) in [
            (Tier::Local, Outcome::Right),
            (Tier::Shared, Outcome::Wrong),
            (Tier::Filter, Outcome::Gone),
            (Tier::Shadow, Outcome::Unproven),
        ] {
            audits.count(tier, outcome);
        }
        assert_eq!(audits.findings(), Findings { audited: 2, wrong: 1, last: None });
    }
}
