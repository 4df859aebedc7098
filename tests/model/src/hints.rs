//! Hints: what keepers tell nodes about changes before the nodes have polled them.
//!
//! A hint stays in the stream for ever and may be read at any time, any number of times or never. That covers hints that are
//! late, doubled, reordered and lost.

use crate::{
    database::{Poll, Stamp},
    node::Node,
    rules::Rules,
};

/// An entry of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hint {
    /// The record's key.
    pub key: u8,
    /// The changed state.
    pub stamp: Stamp,
    /// The keeper's position.
    pub position: u8,
}

impl Hint {
    /// What a keeper appends after it has applied a poll.
    pub fn of(poll: &Poll) -> impl Iterator<Item = Hint> + use<> {
        let (position, generation) = (poll.mark, poll.generation);
        let changed = poll.changed.into_iter().enumerate().filter(|(_, version)| *version > 0);
        changed.map(move |(key, version)| Hint { key: key as u8, stamp: Stamp { generation, version }, position })
    }
}

impl Node {
    /// Reads a hint. One that is not compared with the known generation is taken for one of it, as versions of polls are.
    pub fn take_hint(&mut self, hint: Hint, rules: &Rules) {
        if hint.stamp.generation != self.generation && rules.hint_of_known_generation {
            return;
        }
        let (key, stamp) = (usize::from(hint.key), Stamp { generation: self.generation, ..hint.stamp });
        if rules.hint_raises_floor {
            self.raise(key, stamp, hint.position + 2);
        }
        if rules.hint_drops_entry {
            self.drop_older(key, stamp);
        }
        if rules.hint_owes_read {
            self.owed[key] |= stamp > self.answered[key];
        }
    }
}
