//! A node: L1, floors, base and position, and what install, apply, advance and reset do to them.
//!
//! As in the server: an accepted read of the stamp that the floor has already leaves the floor's bucket as it is.

use crate::{
    database::{Database, KEYS, Poll, Stamp},
    own_write::Write,
    reader::Read,
    rules::Rules,
};

/// The lowest stamp that a key may be answered with, and the mark with which it may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Floor {
    /// The stamp.
    pub stamp: Stamp,
    /// Once the base has reached this mark, the floor is dropped.
    pub bucket: u8,
}

/// Where a state was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The primary. `is_young`: no floor was dropped since the statement began.
    Primary {
        /// See above.
        is_young: bool,
    },
    /// A replica.
    Replica,
    /// The shared tier.
    Shared,
}

/// A state with all that install judges it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Loaded {
    /// Where from.
    pub source: Source,
    /// The position at which it was read.
    pub position: u8,
    /// The state.
    pub stamp: Stamp,
    /// Whether a reset has happened since the statement began.
    pub is_old: bool,
}

impl Loaded {
    /// What a statement brings that began after the last reset.
    pub fn new(source: Source, position: u8, stamp: Stamp) -> Self {
        Loaded { source, position, stamp, is_old: false }
    }
}

/// What must never happen, noted when it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Breaches {
    /// I7: an answer was older than one before.
    pub older_answer: bool,
    /// I11: an answer lacked what the last applied poll had shown, or what was visible when the node started.
    pub unproven_answer: bool,
    /// I14: an answer was of an older generation than one before, of whatever key.
    pub fallen_generation: bool,
}

/// The state of a node with regard to one database.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    /// Whether it runs.
    pub is_started: bool,
    /// The known generation.
    pub generation: u8,
    /// The generation that the last applied poll brought.
    pub polled_generation: u8,
    /// Whether a poll has been applied: before it there is no base.
    pub is_placed: bool,
    /// Whether a read has shown a new generation and no poll has reset the node yet.
    pub reset_due: bool,
    /// The position from which on the floors are complete.
    pub base: u8,
    /// The last mark applied.
    pub applied: u8,
    /// The snapshot of the last applied poll.
    pub polled: u8,
    /// By key.
    pub floors: [Option<Floor>; KEYS],
    /// L1.
    pub entries: [Option<Stamp>; KEYS],
    /// Watched keys whose change has not been read yet.
    pub owed: [bool; KEYS],
    /// A poll in flight, and whether it shows that history was lost.
    pub poll: Option<(Poll, bool)>,
    /// Reads in flight.
    pub reads: Vec<Read>,
    /// An own write in flight.
    pub write: Option<Write>,
    /// The newest state of each key that was answered, or sent to its watcher.
    pub answered: [Stamp; KEYS],
    /// What the last applied poll showed, or what was visible when the node started.
    pub proven: [Stamp; KEYS],
    /// See there.
    pub breaches: Breaches,
}

impl Node {
    /// A node that is about to start.
    pub fn cold() -> Self {
        Node {
            is_started: false,
            generation: 1,
            polled_generation: 1,
            is_placed: false,
            reset_due: false,
            base: 0,
            applied: 0,
            polled: 0,
            floors: [None; KEYS],
            entries: [None; KEYS],
            owed: [false; KEYS],
            poll: None,
            reads: Vec::new(),
            write: None,
            answered: [Stamp::default(); KEYS],
            proven: [Stamp::default(); KEYS],
            breaches: Breaches::default(),
        }
    }

    /// A node that has run for long and has applied mark 1.
    pub fn warm() -> Self {
        Node { is_started: true, is_placed: true, base: 1, applied: 1, ..Self::cold() }
    }

    /// The lowest stamp worth asking the shared tier for.
    pub fn wanted(&self, key: usize) -> Stamp {
        let floor = self.floors[key].map_or(Stamp::default(), |floor| floor.stamp);
        floor.max(Stamp { generation: self.generation, version: 0 })
    }

    /// Judges a state and, if it is admitted, keeps it and answers with it.
    pub fn install(&mut self, key: usize, loaded: Loaded, rules: &Rules) -> bool {
        if !self.meet(loaded, rules) || !self.admits(key, loaded, rules) {
            return false;
        }
        if rules.read_becomes_floor {
            self.raise_by_read(key, loaded, rules);
        }
        self.entries[key] = self.entries[key].max(Some(loaded.stamp));
        self.answer(key, loaded.stamp);
        true
    }

    /// Generation and reset.
    fn meet(&mut self, loaded: Loaded, rules: &Rules) -> bool {
        let generation = loaded.stamp.generation;
        let is_refused = loaded.is_old && rules.install_checks_reset
            || generation < self.generation && rules.install_checks_generation;
        if !is_refused && generation > self.generation {
            (self.generation, self.reset_due) = (generation, true);
            if rules.higher_generation_drops_entries {
                self.entries = [None; KEYS];
            }
        }
        !is_refused
    }

    fn admits(&self, key: usize, loaded: Loaded, rules: &Rules) -> bool {
        let is_above_floor = self.floors[key].is_none_or(|floor| loaded.stamp >= floor.stamp);
        let is_above_base = match loaded.source {
            Source::Primary { is_young } => is_young || loaded.position >= self.base,
            _ => loaded.position >= self.base && (self.is_placed || !rules.first_poll_before_shared),
        };
        (is_above_floor || !rules.install_checks_floor) && (is_above_base || !rules.install_checks_base)
    }

    fn raise_by_read(&mut self, key: usize, loaded: Loaded, rules: &Rules) {
        let ahead = if rules.floor_two_ahead { 2 } else { 0 };
        match self.floors[key] {
            Some(floor) if floor.stamp == loaded.stamp => {}
            _ => self.raise(key, loaded.stamp, self.applied.max(loaded.position) + ahead),
        }
    }

    /// Raises a floor and lifts its bucket.
    pub fn raise(&mut self, key: usize, stamp: Stamp, bucket: u8) {
        let floor = self.floors[key].get_or_insert(Floor { stamp, bucket });
        *floor = Floor { stamp: floor.stamp.max(stamp), bucket: floor.bucket.max(bucket) };
    }

    /// Drops the entry if it is older.
    pub fn drop_older(&mut self, key: usize, stamp: Stamp) {
        self.entries[key] = self.entries[key].filter(|entry| *entry >= stamp);
    }

    fn answer(&mut self, key: usize, stamp: Stamp) {
        let newest = self.answered.iter().map(|answered| answered.generation).max();
        self.breaches.older_answer |= stamp < self.answered[key];
        self.breaches.unproven_answer |= stamp < self.proven[key];
        self.breaches.fallen_generation |= Some(stamp.generation) < newest;
        self.answered[key] = self.answered[key].max(stamp);
        // A floor that is above what was answered is that of a change whose read is still owed.
        self.owed[key] &= self.floors[key].is_some_and(|floor| floor.stamp > stamp);
    }

    /// Starts the node.
    pub fn start(&mut self, database: &Database) {
        self.is_started = true;
        self.proven = database.poll(0).stamps();
    }

    /// Begins a poll.
    pub fn take_poll(&mut self, database: &Database, rules: &Rules) {
        let is_lost = database.mark(self.applied).is_none() && rules.poll_looks_for_mark
            || database.generation != self.polled_generation && rules.poll_looks_for_generation;
        self.poll = Some((database.poll(self.polled), is_lost || !self.is_placed));
    }

    /// Ends a poll.
    pub fn apply_poll(&mut self, rules: &Rules) {
        let Some((poll, is_lost)) = self.poll.take() else { return };
        match is_lost {
            true => self.reset(&poll, rules),
            false => self.apply(&poll, rules),
        }
        (self.polled, self.polled_generation) = (poll.snapshot, poll.generation);
        self.proven = poll.stamps();
    }

    fn apply(&mut self, poll: &Poll, rules: &Rules) {
        for (key, version) in poll.changed.into_iter().enumerate().filter(|(_, version)| *version > 0) {
            let stamp = Stamp { generation: poll.generation, version };
            let is_news = self.floors[key].is_none_or(|floor| floor.stamp < stamp);
            if is_news || rules.no_news_lifts_floor {
                self.raise(key, stamp, poll.mark + if rules.floor_two_ahead { 2 } else { 0 });
            }
            self.drop_older(key, stamp);
            self.owed[key] |= stamp > self.answered[key];
        }
        self.advance(poll.mark, rules);
    }

    /// Moves to mark `n`. The window is as short as the protocol permits it to be: no mark.
    fn advance(&mut self, n: u8, rules: &Rules) {
        let before = self.applied;
        if n > before {
            let base = if rules.base_behind_poll_before { n.min(before) } else { n };
            self.base = self.base.max(base);
            self.applied = n;
            self.drop_floors();
        }
    }

    fn drop_floors(&mut self) {
        let base = self.base;
        let kept = self.floors.map(|floor| floor.filter(|floor| floor.bucket > base));
        if kept != self.floors {
            self.floors = kept;
            self.age_reads(|loaded| loaded.source = Source::Primary { is_young: false });
        }
    }

    fn reset(&mut self, poll: &Poll, rules: &Rules) {
        let bucket = poll.mark + 2;
        self.base = if rules.reset_base_two_ahead { bucket } else { poll.mark };
        if poll.mark < self.applied || !rules.reset_keeps_floors {
            self.floors = [None; KEYS];
        }
        self.floors.iter_mut().flatten().for_each(|floor| floor.bucket = floor.bucket.max(bucket));
        (self.applied, self.is_placed, self.reset_due) = (poll.mark, true, false);
        self.generation = self.generation.max(poll.generation);
        (self.entries, self.owed) = ([None; KEYS], [true; KEYS]);
        self.age_reads(|loaded| {
            loaded.is_old = true;
            loaded.source = Source::Primary { is_young: false };
        });
        self.reads.iter_mut().filter_map(Read::loaded_mut).for_each(|loaded| loaded.is_old = true);
    }

    /// Lets `change` see every state in flight that was read on the primary.
    fn age_reads(&mut self, change: impl Fn(&mut Loaded)) {
        let reads = self.reads.iter_mut().filter_map(Read::loaded_mut);
        let writes = self.write.iter_mut().map(|write| &mut write.loaded);
        reads.chain(writes).filter(|loaded| matches!(loaded.source, Source::Primary { .. })).for_each(change);
    }
}
