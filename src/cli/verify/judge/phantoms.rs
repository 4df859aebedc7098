//! Nothing appears that was not written: each state is that of a write of its key that was sent before, and was not
//! refused.
//!
//! # Source
//! docs/protocol.md, "Errors": a refused write did not happen.

use std::collections::HashMap;

use super::{Judgement, Violation, line::Line};
use crate::cli::verify::history::{Event, Micros, Outcome, State, Write};

pub(super) fn judge(line: &Line<'_>, judgement: &mut Judgement) {
    let mut writes: HashMap<u64, &Write> = HashMap::new();
    for write in line.writes.iter().filter(|write| !write.is_repeat) {
        writes.extend(write.number.map(|number| (number, *write)));
    }
    let deletions = line.writes.iter().filter(|write| write.is_deletion() && write.may_have_happened());
    let deleted = deletions.map(|write| write.sent).min();
    for (moment, state, known) in line.states() {
        let fault = fault(&writes, deleted, state, moment);
        judgement.check(fault.is_none(), || {
            let (what, write) = fault.unwrap_or_default();
            Violation::new(what, write.map(|write| Event::Write(write.clone())).into_iter().chain([known.event()]))
        });
    }
}

/// What is wrong with `state`, told at `moment`, and the write that it is about.
fn fault<'a>(
    writes: &HashMap<u64, &'a Write>,
    deleted: Option<Micros>,
    state: &State,
    moment: Micros,
) -> Option<(&'static str, Option<&'a Write>)> {
    let Some(content) = state.content else {
        let is_caused = state.is_forgotten() || deleted.is_some_and(|sent| sent <= moment);
        return (!is_caused).then_some(("a deletion, and the record was not deleted", None));
    };
    let write = content.number.and_then(|number| writes.get(&number).copied());
    match write {
        _ if state.stamp.version == 0 => Some(("a record without a version", write)),
        None => Some(("a content that was never written to this key", None)),
        Some(write) if write.sent > moment => Some(("a content that was written later", Some(write))),
        Some(Write { outcome: Outcome::Refused { .. }, .. }) => Some(("a write that was refused, and shows", write)),
        Some(_) => None,
    }
}

/// Messages that belong to nothing.
pub(super) fn judge_strays(events: &[Event], judgement: &mut Judgement) {
    for stray in events.iter().filter(|event| matches!(event, Event::Stray { .. })) {
        judgement.check(false, || Violation::new("a message that belongs to nothing", [stray.clone()]));
    }
}
