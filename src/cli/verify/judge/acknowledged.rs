//! No acknowledged write is lost: the key ends on it or on a newer state, a later write comes after it, and no write whose
//! condition held passed over another.
//!
//! # Source
//! docs/coherence.md, R1 and I1: version order is commit order. docs/protocol.md, "Writing": `if_stamp`, and the order of
//! one connection's writes of a key.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
};

use super::{
    Judgement, Violation,
    floors::{Floors, Known, Point},
    line::Line,
};
use crate::{
    cli::verify::history::{Event, Outcome, State, Write},
    record::Stamp,
};

/// Of the states that a conditional write passed over, so many events are shown.
const SHOWN_MAX: usize = 8;

pub(super) fn judge(line: &Line<'_>, judgement: &mut Judgement) {
    let floors = line.acknowledged();
    judge_truth(line, judgement);
    judge_order(line, &floors, judgement);
    judge_connections(line, judgement);
    judge_conditions(line, judgement);
}

/// Each is the state on which the key ended, or below it.
fn judge_truth(line: &Line<'_>, judgement: &mut Judgement) {
    let Some(truth) = line.truth else { return };
    for write in &line.writes {
        let Some(stamp) = write.stamp() else { continue };
        let floor = Point { at: write.ended, stamp, known: Known::Write(write) };
        let what = "a write was acknowledged, and the key ended on an older state";
        judgement.check(line.reaches(&truth.state, &floor, truth.at), || {
            Violation::new(what, [Event::Write((*write).clone()), Event::Truth(truth.clone())])
        });
    }
}

/// A write, or a refusal for the state that the record was in, comes after every write that was answered before it was
/// sent.
fn judge_order(line: &Line<'_>, floors: &Floors<'_>, judgement: &mut Judgement) {
    for write in line.writes.iter().filter(|write| !write.is_repeat) {
        let Some(floor) = floors.before(write.sent) else { continue };
        let is_after = match &write.outcome {
            Outcome::Acknowledged { stamp } => is_after(line, write, *stamp, floor),
            Outcome::Refused { current: Some(current), .. } => is_found_after(line, write, *current, floor),
            _ => continue,
        };
        let what = "a write was acknowledged, and a later write did not come after it";
        judgement.check(is_after, || Violation::new(what, [floor.known.event(), Event::Write((*write).clone())]));
    }
}

/// A deletion of an absent record changes nothing and is answered with the earlier deletion's stamp, or none.
fn is_after(line: &Line<'_>, write: &Write, stamp: Stamp, floor: &Point<'_>) -> bool {
    match write.is_deletion() {
        true => line.reaches(&absence(stamp), floor, write.ended),
        false => stamp > floor.stamp,
    }
}

fn is_found_after(line: &Line<'_>, write: &Write, current: Stamp, floor: &Point<'_>) -> bool {
    current >= floor.stamp || (current.version == 0 && line.reaches(&absence(current), floor, write.ended))
}

fn absence(stamp: Stamp) -> State {
    State { stamp, content: None, stale_ms: None }
}

/// The writes of one connection, answered or not when the next was sent, are carried out in their order.
fn judge_connections(line: &Line<'_>, judgement: &mut Judgement) {
    let mut sorted: Vec<&Write> = line.writes.iter().copied().filter(|write| !write.is_repeat).collect();
    sorted.sort_by_key(|write| write.sent);
    let mut newest: HashMap<u32, &Write> = HashMap::new();
    for write in sorted {
        let (Some(session), Some(stamp)) = (write.session, write.stamp()) else { continue };
        let Some(before) = newest.get(&session).copied() else {
            newest.insert(session, write);
            continue;
        };
        // The moments of two writes that left together do not tell which was first.
        let floor = before.stamp().filter(|_| before.sent < write.sent);
        let is_in_order = floor.is_none_or(|floor| stamp > floor || (write.is_deletion() && stamp.version == 0));
        let is_in_order = is_in_order || (write.is_deletion() && Some(stamp) == floor);
        let what = "a connection's writes of a key were carried out in another order";
        judgement.check(is_in_order, || Violation::new(what, [before, write].map(|write| Event::Write(write.clone()))));
        if before.stamp() < Some(stamp) {
            newest.insert(session, write);
        }
    }
}

/// Between the state that a write named and the one that it made there is no other.
fn judge_conditions(line: &Line<'_>, judgement: &mut Judgement) {
    let known = known_states(line);
    for write in line.writes.iter().filter(|write| !write.is_repeat) {
        let (Some(named), Some(made)) = (write.if_stamp, write.stamp()) else { continue };
        if named >= made || named.generation != made.generation {
            continue;
        }
        let is_next = known.range((Bound::Excluded(named), Bound::Excluded(made))).next().is_none();
        let what = format!("a write on the condition that the record is at {named} passed over a state after that");
        judgement.check(is_next, || {
            let from_named = known.range(named..made).flat_map(|(_, shown)| shown.iter().flatten());
            let shown = from_named.map(|known| known.event()).take(SHOWN_MAX);
            Violation::new(what, shown.chain([Event::Write((*write).clone())]))
        });
    }
}

/// Every state of a key that is known, with the write that made it and what told of it first.
fn known_states<'a>(line: &Line<'a>) -> BTreeMap<Stamp, [Option<Known<'a>>; 2]> {
    let mut known: BTreeMap<Stamp, [Option<Known<'a>>; 2]> = BTreeMap::new();
    for write in line.writes.iter().filter(|write| !write.is_repeat) {
        if let Some(stamp) = write.stamp() {
            known.entry(stamp).or_default()[0].get_or_insert(Known::Write(write));
        }
    }
    let mut told: Vec<_> = line.states().collect();
    told.sort_by_key(|(at, ..)| *at);
    for (_, state, by) in told {
        known.entry(state.stamp).or_default()[1].get_or_insert(by);
    }
    known
}
