//! The newest state that was known by a moment.

use crate::{
    cli::verify::history::{Event, Micros, Pushed, Read, Truth, Write},
    record::Stamp,
};

/// What shows that a state was reached.
#[derive(Clone, Copy, Debug)]
pub(super) enum Known<'a> {
    Write(&'a Write),
    Read(&'a Read),
    Pushed(&'a Pushed),
    Truth(&'a Truth),
}

/// A state that was reached at the latest when it was known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point<'a> {
    pub(super) at: Micros,
    pub(super) stamp: Stamp,
    pub(super) known: Known<'a>,
}

/// Points in the order of their moments, each with the newest up to it.
#[derive(Debug)]
pub(super) struct Floors<'a> {
    points: Vec<Point<'a>>,
    /// The place of the newest of the points up to each.
    newest: Vec<usize>,
}

impl Known<'_> {
    pub(super) fn event(self) -> Event {
        match self {
            Known::Write(write) => Event::Write(write.clone()),
            Known::Read(read) => Event::Read(read.clone()),
            Known::Pushed(pushed) => Event::Pushed(pushed.clone()),
            Known::Truth(truth) => Event::Truth(truth.clone()),
        }
    }

    /// Before this moment the state cannot have been made by what is known; 0 where only the state is, or a write that was
    /// repeated: its first sending may have made it.
    pub(super) fn sent(self) -> Micros {
        match self {
            Known::Write(write) if !write.is_repeat => write.sent,
            _ => 0,
        }
    }

    pub(super) fn is_absence(self) -> bool {
        match self {
            Known::Write(write) => write.is_deletion(),
            Known::Read(read) => read.state.is_absent(),
            Known::Pushed(pushed) => pushed.state.is_absent(),
            Known::Truth(truth) => truth.state.is_absent(),
        }
    }
}

impl<'a> Floors<'a> {
    pub(super) fn of(points: impl Iterator<Item = Point<'a>>) -> Self {
        let mut points: Vec<_> = points.collect();
        points.sort_by_key(|point| point.at);
        let mut newest: Vec<usize> = Vec::with_capacity(points.len());
        for (place, point) in points.iter().enumerate() {
            let before = newest.last().copied().filter(|&before| points[before].stamp >= point.stamp);
            newest.push(before.unwrap_or(place));
        }
        Floors { points, newest }
    }

    /// The newest that was known before `moment`.
    pub(super) fn before(&self, moment: Micros) -> Option<&Point<'a>> {
        let known = self.points.partition_point(|point| point.at < moment);
        known.checked_sub(1).map(|last| &self.points[self.newest[last]])
    }
}
