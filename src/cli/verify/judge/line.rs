//! Everything that a history holds of one key.

use std::collections::HashMap;

use super::floors::{Floors, Known, Point};
use crate::cli::verify::history::{Event, History, Micros, Pushed, Read, State, Subscribed, Truth, Write};

/// A key's part of a history, each list in the order in which it was noted.
#[derive(Debug, Default)]
pub(super) struct Line<'a> {
    pub(super) writes: Vec<&'a Write>,
    pub(super) reads: Vec<&'a Read>,
    pub(super) watches: Vec<Watch<'a>>,
    pub(super) truth: Option<&'a Truth>,
}

/// A key of one subscription.
#[derive(Debug)]
pub(super) struct Watch<'a> {
    pub(super) opened: &'a Subscribed,
    /// In the order in which they came.
    pub(super) pushes: Vec<&'a Pushed>,
    /// When it ended; `None`: it was open to the end.
    pub(super) ended: Option<Micros>,
}

/// The lines of all keys.
pub(super) fn lines(history: &History) -> Vec<Line<'_>> {
    let mut lines: Vec<Line<'_>> = history.keys.iter().map(|_| Line::default()).collect();
    let mut places: HashMap<(u32, u32), usize> = HashMap::new();
    let mut ended: HashMap<u32, Micros> = HashMap::new();
    for event in &history.events {
        match event {
            Event::Write(write) => lines[write.key as usize].writes.push(write),
            Event::Read(read) => lines[read.key as usize].reads.push(read),
            Event::Subscribed(opened) => {
                let watches = &mut lines[opened.key as usize].watches;
                places.insert((opened.subscription, opened.key), watches.len());
                watches.push(Watch { opened, pushes: Vec::new(), ended: None });
            }
            Event::Pushed(pushed) => {
                if let Some(&place) = places.get(&(pushed.subscription, pushed.key)) {
                    lines[pushed.key as usize].watches[place].pushes.push(pushed);
                }
            }
            Event::Ended { subscription, at } => {
                ended.entry(*subscription).or_insert(*at);
            }
            Event::Truth(truth) => lines[truth.key as usize].truth = Some(truth),
            Event::Stray { .. } => {}
        }
    }
    for watch in lines.iter_mut().flat_map(|line| &mut line.watches) {
        watch.ended = ended.get(&watch.opened.subscription).copied();
    }
    lines
}

impl<'a> Line<'a> {
    /// Every state that was told, with the moment and what told it.
    pub(super) fn states(&self) -> impl Iterator<Item = (Micros, &'a State, Known<'a>)> {
        let reads = self.reads.iter().map(|read| (read.received, &read.state, Known::Read(read)));
        let pushes = self.watches.iter().flat_map(|watch| &watch.pushes);
        let pushes = pushes.map(|pushed| (pushed.at, &pushed.state, Known::Pushed(pushed)));
        let truth = self.truth.iter().map(|truth| (truth.at, &truth.state, Known::Truth(truth)));
        reads.chain(pushes).chain(truth)
    }

    /// The acknowledged writes, by the moments of their answers.
    pub(super) fn acknowledged(&self) -> Floors<'a> {
        let point = |write: &&'a Write| {
            let stamp = write.stamp()?;
            Some(Point { at: write.ended, stamp, known: Known::Write(write) })
        };
        Floors::of(self.writes.iter().filter_map(point))
    }

    /// Whether `state`, told at `moment`, is that of `floor` or a newer one.
    ///
    /// An absence whose deletion is not told has no version. It is newer if some deletion may be: one that was
    /// sent by then, and neither has a stamp below the floor nor was over before the floor's write began.
    pub(super) fn reaches(&self, state: &State, floor: &Point<'_>, moment: Micros) -> bool {
        if state.stamp >= floor.stamp || (state.is_forgotten() && floor.known.is_absence()) {
            return true;
        }
        let may_follow = |write: &&&Write| {
            let stamp = write.stamp().filter(|stamp| stamp.version > 0);
            let may_be_above = stamp.is_none_or(|stamp| stamp > floor.stamp);
            write.sent <= moment && write.over() >= floor.known.sent() && may_be_above
        };
        let mut deletions = self.writes.iter().filter(|write| write.is_deletion() && write.may_have_happened());
        state.is_forgotten() && deletions.any(|write| may_follow(&write))
    }
}
