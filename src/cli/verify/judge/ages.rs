//! No answer is older than it says: one without `stale_ms` shows every change that was visible `fresh` before it, one with
//! it every change that was visible so many milliseconds before it.
//!
//! A node gives its verdict after the request has left, so what was acknowledged that long before the request was sent
//! must show. No other slack is needed: nothing compares the clocks of two machines. `stale_ms` is cut to whole
//! milliseconds, so it stands for up to one more.
//!
//! # Source
//! docs/coherence.md, section 8 and I11.

use super::{Judgement, Violation, line::Line};
use crate::cli::verify::history::{Event, Micros, State};

/// What cutting an age to milliseconds may hide.
const ROUNDING: Micros = 1_000;

pub(super) fn judge(line: &Line<'_>, fresh: Micros, judgement: &mut Judgement) {
    let floors = line.acknowledged();
    let answers = line.reads.iter().map(|read| (read.sent, read.received, &read.state, Event::Read((*read).clone())));
    // A snapshot is an answer; if none came, because nothing had changed, what comes first is newer than it would be.
    let snapshots = line.watches.iter().filter_map(|watch| {
        let first = watch.pushes.first()?;
        Some((watch.opened.sent, first.at, &first.state, Event::Pushed((*first).clone())))
    });
    for (sent, received, state, event) in answers.chain(snapshots) {
        let age = claimed(state, fresh);
        let Some(floor) = sent.checked_sub(age).and_then(|moment| floors.before(moment)) else { continue };
        judgement.check(line.reaches(state, floor, received), || {
            let told = state.stale_ms.map_or("no stale_ms".to_owned(), |millis| format!("stale_ms {millis}"));
            let lacked = (sent - floor.at) / 1_000;
            let what = format!("an answer with {told} lacks a write acknowledged {lacked} ms before the request");
            Violation::new(what, [floor.known.event(), event])
        });
    }
}

fn claimed(state: &State, fresh: Micros) -> Micros {
    state.stale_ms.map_or(fresh, |millis| millis.saturating_mul(1_000).saturating_add(ROUNDING))
}
