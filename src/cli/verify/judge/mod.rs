//! Whether a history keeps what Freshet promises: a pure function from a history to violations.
//!
//! Promises: each violation breaks a promise of docs/protocol.md or docs/coherence.md, whatever the timing; a write
//! whose outcome is not known may have happened or not, but where it shows it must be consistent. A promise can be broken
//! without a trace in the history, and is not found then.
//!
//! # Source
//! Terry, D. B., et al., "Session Guarantees for Weakly Consistent Replicated Data", PDIS 1994, for each key and
//! connection: read your writes (`stamps`, `sessions`), monotonic reads (`sessions`, `rising`), monotonic writes
//! (`acknowledged`). The states of a key are in one order, that of their stamps, so the history need not be searched for
//! an order that explains it, which is NP-complete (Gibbons and Korach, "Testing Shared Memories", 1997).

mod acknowledged;
mod ages;
mod contents;
mod ends;
mod floors;
mod line;
mod phantoms;
#[cfg(test)]
mod reference;
mod rising;
mod sessions;
mod stamps;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod told;

use std::time::Duration;

use serde::Serialize;

pub(super) use self::ends::has_arrived;
use self::line::Line;
use super::history::{Event, History, Micros};

/// The most violations of a claim that are kept; the rest are counted.
const KEPT_MAX: usize = 20;

/// A promise that is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Claim {
    Rising,
    Contents,
    Phantoms,
    Acknowledged,
    Stamps,
    Sessions,
    Ends,
    Ages,
}

impl Claim {
    /// In the order of the report.
    pub(super) const ALL: [Claim; 8] = [
        Claim::Rising,
        Claim::Contents,
        Claim::Phantoms,
        Claim::Acknowledged,
        Claim::Stamps,
        Claim::Sessions,
        Claim::Ends,
        Claim::Ages,
    ];

    /// The promise in words.
    pub(super) fn says(self) -> &'static str {
        match self {
            Claim::Rising => "versions of a subscription only rise",
            Claim::Contents => "one content per version",
            Claim::Phantoms => "nothing appears that was not written",
            Claim::Acknowledged => "no acknowledged write is lost",
            Claim::Stamps => "a read that names a stamp gets that state or a newer one",
            Claim::Sessions => "no connection reads an older state after a newer one",
            Claim::Ends => "every subscription ends on the final state",
            Claim::Ages => "no answer is older than it says",
        }
    }
}

/// What became of a claim.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Judgement {
    pub(super) claim: Claim,
    pub(super) says: &'static str,
    /// How often it was looked at.
    pub(super) checked: u64,
    pub(super) violations: u64,
    /// The first of them.
    pub(super) first: Vec<Violation>,
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Violation {
    /// What is wrong.
    pub(super) what: String,
    /// What shows it, in the order of the argument.
    pub(super) evidence: Vec<Event>,
}

impl Judgement {
    fn new(claim: Claim) -> Self {
        Judgement { claim, says: claim.says(), checked: 0, violations: 0, first: Vec::new() }
    }

    /// Notes that `holds` was looked at; `violation` explains where it does not.
    fn check(&mut self, holds: bool, violation: impl FnOnce() -> Violation) {
        self.checked += 1;
        if !holds {
            self.violations += 1;
            if self.first.len() < KEPT_MAX {
                self.first.push(violation());
            }
        }
    }
}

impl Violation {
    fn new(what: impl Into<String>, evidence: impl IntoIterator<Item = Event>) -> Self {
        Violation { what: what.into(), evidence: evidence.into_iter().collect() }
    }
}

/// Judges every claim. `fresh` is the age up to which an answer need not say its age (`tiers.freshness.fresh`).
pub(super) fn judge(history: &History, fresh: Duration) -> Vec<Judgement> {
    let lines = line::lines(history);
    Claim::ALL.map(|claim| judged(claim, &lines, history, fresh)).into()
}

fn judged(claim: Claim, lines: &[Line<'_>], history: &History, fresh: Duration) -> Judgement {
    let mut judgement = Judgement::new(claim);
    for line in lines {
        match claim {
            Claim::Rising => rising::judge(line, &mut judgement),
            Claim::Contents => contents::judge(line, &mut judgement),
            Claim::Phantoms => phantoms::judge(line, &mut judgement),
            Claim::Acknowledged => acknowledged::judge(line, &mut judgement),
            Claim::Stamps => stamps::judge(line, &mut judgement),
            Claim::Sessions => sessions::judge(line, &mut judgement),
            Claim::Ends => ends::judge(line, &mut judgement),
            Claim::Ages => ages::judge(line, micros(fresh), &mut judgement),
        }
    }
    if claim == Claim::Phantoms {
        phantoms::judge_strays(&history.events, &mut judgement);
    }
    judgement
}

fn micros(duration: Duration) -> Micros {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
