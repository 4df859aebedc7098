//! What a connection was told of a key, by an answer, a push or the answer of its own write, is what a later request on it
//! is answered with, or a newer state.
//!
//! A connection leads to one node. Two connections may lead to two, behind one address, and a node that was started
//! again has forgotten what it answered; so nothing is compared between connections.
//!
//! # Source
//! docs/protocol.md, "Writing" and "Subscribing"; docs/coherence.md, I7.

use std::collections::HashMap;

use super::{
    Judgement, Violation,
    floors::{Floors, Known, Point},
    line::Line,
};
use crate::cli::verify::history::Event;

pub(super) fn judge(line: &Line<'_>, judgement: &mut Judgement) {
    let mut told: HashMap<u32, Vec<Point<'_>>> = HashMap::new();
    for (at, state, known) in line.states() {
        let session = match known {
            Known::Read(read) => read.session,
            Known::Pushed(pushed) => pushed.session,
            _ => continue,
        };
        told.entry(session).or_default().push(Point { at, stamp: state.stamp, known });
    }
    for write in &line.writes {
        if let (Some(session), Some(stamp)) = (write.session, write.stamp()) {
            told.entry(session).or_default().push(Point { at: write.ended, stamp, known: Known::Write(write) });
        }
    }
    let told: HashMap<u32, Floors<'_>> =
        told.into_iter().map(|(session, points)| (session, Floors::of(points.into_iter()))).collect();
    for read in &line.reads {
        let Some(floor) = told.get(&read.session).and_then(|floors| floors.before(read.sent)) else { continue };
        let what = "a connection was told a state, and read an older one after that";
        judgement.check(line.reaches(&read.state, floor, read.received), || {
            Violation::new(what, [floor.known.event(), Event::Read((*read).clone())])
        });
    }
}
