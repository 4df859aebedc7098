//! No answer is older than it says: one without `stale_ms` shows every change that was visible `fresh` before it, one with
//! it every change that was visible so many milliseconds before it.
//!
//! A node gives its verdict after the request has left, so what was acknowledged that long before the request was sent
//! must show. No other slack is needed: nothing compares the clocks of two machines. `stale_ms` is cut to whole
//! milliseconds, so it stands for up to one more.
//!
//! A push is an answer only as the snapshot of its subscription. Any other is a change, and may be late: of a write whose
//! answer a silent link holds back, the node that made it hears when the link speaks again, and pushes it then. That is newer
//! than what the subscription has, and not proven; `freshet_freshness` has said so.
//!
//! # Source
//! docs/coherence.md, section 8 and I11.

use super::{
    Judgement, Violation,
    line::{Line, Watch},
};
use crate::cli::verify::history::{Event, Micros, Pushed, State, Write};

/// What cutting an age to milliseconds may hide.
const ROUNDING: Micros = 1_000;

pub(super) fn judge(line: &Line<'_>, fresh: Micros, judgement: &mut Judgement) {
    let floors = line.acknowledged();
    let answers = line.reads.iter().map(|read| (read.sent, read.received, &read.state, Event::Read((*read).clone())));
    let snapshots = line.watches.iter().filter_map(|watch| {
        let first = watch.pushes.first().filter(|first| !may_be_late_change(line, watch, first))?;
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

/// Whether the first push of a subscription may be a change and not the snapshot: there is none where the subscription named
/// the state that it had, and its node had no other. Then it is of a write that was not answered yet; and if all were that made
/// such a state, it was known when the subscription began, and what comes first is no older than the snapshot would be.
fn may_be_late_change(line: &Line<'_>, watch: &Watch<'_>, first: &Pushed) -> bool {
    let is_its = |write: &Write| write.number == first.state.content.and_then(|content| content.number);
    let is_unanswered = |write: &Write| write.may_have_happened() && write.over() > watch.opened.sent;
    watch.opened.since.is_some() && line.writes.iter().any(|write| is_its(write) && is_unanswered(write))
}

fn claimed(state: &State, fresh: Micros) -> Micros {
    state.stale_ms.map_or(fresh, |millis| millis.saturating_mul(1_000).saturating_add(ROUNDING))
}
