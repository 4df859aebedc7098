//! A read that names a stamp gets that state or a newer one, from any node.
//!
//! # Source
//! docs/protocol.md, `min_stamp`; docs/coherence.md, section 7 and I10. An answer that was read in the database is final
//! whatever its stamp, but the database has every stamp that was told, unless history was lost; then its generation is
//! higher, and so is every stamp of it.

use std::collections::HashMap;

use super::{
    Judgement, Violation,
    floors::{Known, Point},
    line::Line,
};
use crate::{cli::verify::history::Event, record::Stamp};

pub(super) fn judge(line: &Line<'_>, judgement: &mut Judgement) {
    let told = line.states().map(|(_, state, known)| (state.stamp, known));
    let written = line.writes.iter().filter_map(|write| Some((write.stamp()?, Known::Write(write))));
    let known: HashMap<Stamp, Known<'_>> = told.chain(written).collect();
    for read in &line.reads {
        let Some(stamp) = read.min_stamp else { continue };
        let origin = known.get(&stamp).copied();
        let floor = Point { at: 0, stamp, known: origin.unwrap_or(Known::Read(read)) };
        judgement.check(line.reaches(&read.state, &floor, read.received), || {
            let what = format!("a read named the stamp {stamp} and got an older state");
            Violation::new(what, origin.map(Known::event).into_iter().chain([Event::Read((*read).clone())]))
        });
    }
}
