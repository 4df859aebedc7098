//! Versions of a key on one subscription strictly rise, except after a reset.
//!
//! # Source
//! docs/protocol.md, "Subscribing" and "Resuming"; docs/coherence.md, I8.

use super::{
    Judgement, Violation,
    line::{Line, Watch},
};
use crate::{
    cli::verify::history::{Event, Pushed},
    record::Stamp,
};

pub(super) fn judge(line: &Line<'_>, judgement: &mut Judgement) {
    for watch in &line.watches {
        let mut known = watch.opened.since;
        for (place, pushed) in watch.pushes.iter().enumerate() {
            let fault = fault(known, pushed, place == 0);
            judgement.check(fault.is_none(), || violation(watch, place, fault.unwrap_or_default()));
            known = known.max(Some(pushed.state.stamp));
        }
    }
}

/// What is wrong with a push after `known`, the newest state of the subscription before it or its `since`.
fn fault(known: Option<Stamp>, pushed: &Pushed, is_first: bool) -> Option<&'static str> {
    let (known, stamp) = (known?, pushed.state.stamp);
    // The first push of an absent key always comes, and its tombstone may be forgotten.
    let is_told_again = is_first && pushed.state.is_absent() && (stamp == known || stamp.version == 0);
    let has_risen = stamp.generation > known.generation;
    match () {
        () if is_told_again => None,
        () if stamp == known => Some("a subscription got a state twice"),
        () if stamp < known => Some("a subscription got an older state after a newer one"),
        () if pushed.reset && !has_risen => Some("a reset, and the generation has not risen"),
        () if has_risen && !pushed.reset => Some("the generation has risen, and the push is no reset"),
        () => None,
    }
}

fn violation(watch: &Watch<'_>, place: usize, what: &str) -> Violation {
    let shown = watch.pushes[..=place].iter();
    let newest = watch.pushes[..place].iter().max_by_key(|pushed| pushed.state.stamp);
    let before = match newest {
        Some(newest) => Event::Pushed((*newest).clone()),
        None => Event::Subscribed(watch.opened.clone()),
    };
    Violation::new(what, std::iter::once(before).chain(shown.last().map(|pushed| Event::Pushed((*pushed).clone()))))
}
