//! A version of a key has one content, whoever tells it; and a write makes one version, also if it is repeated under its
//! idempotency key.
//!
//! # Source
//! docs/coherence.md, R1 and section 1.

use std::collections::{HashMap, hash_map::Entry};

use super::{Judgement, Violation, floors::Known, line::Line};
use crate::{
    cli::verify::history::{Content, Write},
    record::Stamp,
};

/// A content with its version, and what showed it.
type Shown<'a> = (Stamp, Option<Content>, Known<'a>);

pub(super) fn judge(line: &Line<'_>, judgement: &mut Judgement) {
    let written = line.writes.iter().filter_map(|write| acknowledged(write));
    let told = line.states().map(|(_, state, known)| (state.stamp, state.content, known));
    // An absence without a version is any deletion's.
    let shown = written.chain(told).filter(|(stamp, ..)| stamp.version > 0);
    let (mut of_version, mut of_number) = (HashMap::new(), HashMap::new());
    for one in shown {
        judge_version(&mut of_version, one, judgement);
        if let Some(number) = one.1.and_then(|content| content.number) {
            judge_number(&mut of_number, number, one, judgement);
        }
    }
}

fn acknowledged(write: &Write) -> Option<Shown<'_>> {
    let content = write.number.map(|number| Content { number: Some(number), digest: None });
    Some((write.stamp()?, content, Known::Write(write)))
}

fn judge_version<'a>(seen: &mut HashMap<Stamp, Shown<'a>>, one: Shown<'a>, judgement: &mut Judgement) {
    match seen.entry(one.0) {
        Entry::Vacant(place) => drop(place.insert(one)),
        Entry::Occupied(mut place) => {
            let first = *place.get();
            let what = || format!("version {} has two contents", one.0);
            judgement.check(is_same(first.1, one.1), || Violation::new(what(), [first.2.event(), one.2.event()]));
            let knows_more = |content: Option<Content>| content.is_some_and(|content| content.digest.is_some());
            if knows_more(one.1) && !knows_more(first.1) {
                place.insert(one);
            }
        }
    }
}

fn is_same(a: Option<Content>, b: Option<Content>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => {
            a.number == b.number && (a.digest.is_none() || b.digest.is_none() || a.digest == b.digest)
        }
        (a, b) => a.is_none() && b.is_none(),
    }
}

/// Rows keep their versions when the generation rises, so only those are compared.
fn judge_number<'a>(seen: &mut HashMap<u64, Shown<'a>>, number: u64, one: Shown<'a>, judgement: &mut Judgement) {
    let first = *seen.entry(number).or_insert(one);
    let what = || format!("the write of {number} made two versions, {} and {}", first.0, one.0);
    judgement.check(first.0.version == one.0.version, || Violation::new(what(), [first.2.event(), one.2.event()]));
}
