//! When writing stops, every subscription that is open ends on the state on which its key ended.
//!
//! # Source
//! docs/coherence.md, I9.

use super::{Judgement, Violation, line::Line};
use crate::{
    cli::verify::history::{Event, Outcome, State, Write},
    record::Stamp,
};

pub(super) fn judge(line: &Line<'_>, judgement: &mut Judgement) {
    let Some(truth) = line.truth else { return };
    for watch in line.watches.iter().filter(|watch| watch.ended.is_none()) {
        let last = watch.pushes.last();
        let last_state = last.map(|pushed| &pushed.state);
        let has_arrived = has_arrived(watch.opened.since, last_state, &truth.state);
        let has_passed = || last_state.is_some_and(|last| is_of_late_write(line, last, &truth.state));
        judgement.check(has_arrived || has_passed(), || {
            let last = last.map(|pushed| Event::Pushed((*pushed).clone()));
            let last = last.unwrap_or_else(|| Event::Subscribed(watch.opened.clone()));
            Violation::new("a subscription did not arrive at the final state", [Event::Truth(truth.clone()), last])
        });
    }
}

/// Whether a state is that of a write without an answer, which came after the truth was read.
fn is_of_late_write(line: &Line<'_>, state: &State, truth: &State) -> bool {
    let is_its = |write: &Write| match state.content {
        Some(content) => write.number.is_some() && write.number == content.number,
        None => write.is_deletion(),
    };
    let unknown = |write: &&Write| matches!(write.outcome, Outcome::Unknown { .. });
    state.stamp > truth.stamp && line.writes.iter().copied().filter(unknown).any(is_its)
}

/// Whether a key of a subscription shows its `truth`: `last` was pushed last. A key that is still at its `since` gets no
/// push, unless it is absent.
pub(in crate::cli::verify) fn has_arrived(since: Option<Stamp>, last: Option<&State>, truth: &State) -> bool {
    let Some(last) = last else { return !truth.is_absent() && since == Some(truth.stamp) };
    match (last.content, truth.content) {
        // The stamps of absences may differ where a deletion is not told any more.
        (None, None) => true,
        (Some(content), Some(expected)) => last.stamp == truth.stamp && content.number == expected.number,
        _ => false,
    }
}
