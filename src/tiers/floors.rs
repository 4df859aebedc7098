//! The lowest stamp a key may still be answered with, remembered for longer than any entry.
//!
//! An entry may be evicted; its floor stays for a window of marks, so that a read begun before a change, and answered
//! after it, is recognised as old and is neither kept nor served.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    hash::BuildHasher,
    sync::atomic::{AtomicU64, Ordering},
};

use foldhash::fast::FixedState;
use parking_lot::Mutex;

use crate::record::{Position, RecordId, Stamp, State};

/// Independent parts, so that installs of different keys rarely meet.
const PARTS: usize = 64;

#[derive(Clone, Copy, Debug)]
struct Floor {
    stamp: Stamp,
    live: bool,
    bucket: u64,
}

#[derive(Default)]
struct Part {
    floors: HashMap<RecordId, Floor, FixedState>,
    /// Keys by the mark with which their floor may go, oldest first. A key whose floor was raised since is in a
    /// later bucket too, and stays.
    buckets: VecDeque<(u64, Vec<RecordId>)>,
}

impl Part {
    fn raise(&mut self, id: &RecordId, stamp: Stamp, live: bool, bucket: u64) {
        let moved = match self.floors.entry(id.clone()) {
            Entry::Vacant(vacant) => {
                vacant.insert(Floor { stamp, live, bucket });
                true
            }
            Entry::Occupied(mut held) => {
                let floor = held.get_mut();
                if stamp > floor.stamp {
                    (floor.stamp, floor.live) = (stamp, live);
                }
                let later = bucket > floor.bucket;
                floor.bucket = floor.bucket.max(bucket);
                later
            }
        };
        if moved {
            let at = self.buckets.partition_point(|(mark, _)| *mark < bucket);
            match self.buckets.get_mut(at) {
                Some((mark, ids)) if *mark == bucket => ids.push(id.clone()),
                _ => self.buckets.insert(at, (bucket, vec![id.clone()])),
            }
        }
    }

    fn drop_through(&mut self, mark: u64) {
        while let Some((bucket, ids)) = self.buckets.pop_front_if(|(bucket, _)| *bucket <= mark) {
            for id in ids {
                if self.floors.get(&id).is_some_and(|floor| floor.bucket == bucket) {
                    self.floors.remove(&id);
                }
            }
        }
    }
}

/// The floors of one level, its position, and the position from which on the floors are complete.
///
/// # Source
/// coherence protocol, section 4; invariant I6 names the order of the two pairs of steps.
pub struct Floors {
    parts: [Mutex<Part>; PARTS],
    hasher: FixedState,
    window: u64,
    applied: AtomicU64,
    base: AtomicU64,
}

impl Floors {
    /// Floors that are kept for `window` marks.
    pub fn new(window: u64) -> Self {
        Floors {
            parts: std::array::from_fn(|_| Mutex::default()),
            hasher: FixedState::default(),
            window: window.max(3),
            applied: AtomicU64::new(0),
            base: AtomicU64::new(0),
        }
    }

    /// The last mark applied.
    pub fn applied(&self) -> Position {
        Position(self.applied.load(Ordering::Acquire))
    }

    /// Records that `id` reached `stamp`, as a poll that showed mark `seen` reported.
    ///
    /// The snapshot of the mark after `seen` may have been taken before the poll's, and lack the change; only the one
    /// after that shows it for certain, hence two ahead. And ahead of the mark seen, not of the last one applied: a
    /// poll after an outage jumps many marks, and its floors must not fall out of the window in the same step.
    pub fn raise(&self, id: &RecordId, stamp: Stamp, live: bool, seen: Position) {
        self.part(id).lock().raise(id, stamp, live, seen.0 + 2);
    }

    /// Judges a state that was read at `position`: `None` when it is too old to be used, else the state, an absence
    /// with the stamp of the tombstone that is known here. An accepted state becomes the key's floor.
    pub fn admit(&self, id: &RecordId, state: &State, position: Position) -> Option<State> {
        let mut part = self.part(id).lock();
        // The floor first, the base second: a floor dropped in between was dropped after the base had passed it.
        let floor = part.floors.get(id).copied();
        let base = self.base.load(Ordering::Acquire);
        let mut state = state.clone();
        if let Some(floor) = floor {
            if state.value.is_none() && state.stamp.version == 0 && !floor.live {
                state.stamp = state.stamp.max(floor.stamp);
            }
            if state.stamp < floor.stamp {
                return None;
            }
        }
        if position.0 < base {
            return None;
        }
        // A read of the primary may show what no mark up to the next covers, hence two ahead.
        let bucket = self.applied.load(Ordering::Acquire).max(position.0) + 2;
        part.raise(id, state.stamp, state.value.is_some(), bucket);
        Some(state)
    }

    /// The highest stamp known for a key.
    pub fn get(&self, id: &RecordId) -> Option<Stamp> {
        self.part(id).lock().floors.get(id).map(|floor| floor.stamp)
    }

    /// Moves on to mark `n`, all of whose changes have been applied, and forgets floors older than the window.
    pub fn advance(&self, n: Position) {
        let before = self.applied.fetch_max(n.0, Ordering::AcqRel);
        let Some(mark) = n.0.checked_sub(self.window) else { return };
        if n.0 <= before {
            return;
        }
        // The base first, the drop second.
        self.base.fetch_max(mark, Ordering::AcqRel);
        for part in &self.parts {
            part.lock().drop_through(mark);
        }
    }

    /// Starts over at `n` after history was lost: nothing read before is accepted.
    pub fn reset(&self, n: Position) {
        self.base.store(n.0, Ordering::Release);
        self.applied.store(n.0, Ordering::Release);
        for part in &self.parts {
            *part.lock() = Part::default();
        }
    }

    fn part(&self, id: &RecordId) -> &Mutex<Part> {
        &self.parts[self.hasher.hash_one(id) as usize % PARTS]
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::record::{CollectionId, Key};

    fn id(key: &str) -> RecordId {
        RecordId::new(CollectionId(0), Key::from_database(key))
    }

    fn live(version: u64) -> State {
        State { stamp: Stamp::new(1, version), value: Some(Bytes::from_static(b"{}")) }
    }

    #[test]
    fn a_read_from_before_a_change_is_refused_after_it() {
        let floors = Floors::new(10);
        floors.raise(&id("a"), Stamp::new(1, 7), true, floors.applied());
        assert_eq!(floors.admit(&id("a"), &live(6), Position(0)), None);
        assert_eq!(floors.admit(&id("a"), &live(7), Position(0)), Some(live(7)));
    }

    #[test]
    fn a_read_older_than_the_window_is_refused_even_where_no_floor_is_left() {
        let floors = Floors::new(10);
        floors.raise(&id("a"), Stamp::new(1, 7), true, floors.applied());
        (1..=30).for_each(|n| floors.advance(Position(n)));
        assert_eq!(floors.get(&id("a")), None, "the floor has left the window");
        assert_eq!(floors.admit(&id("a"), &live(6), Position(5)), None);
        assert_eq!(floors.admit(&id("a"), &live(7), Position(30)), Some(live(7)));
    }

    #[test]
    fn a_change_of_a_poll_that_jumps_past_the_window_still_refuses_older_reads() {
        let floors = Floors::new(10);
        floors.advance(Position(1));
        // Nothing was heard for a hundred marks; the change came in that time, and so did a read that lacks it.
        floors.raise(&id("a"), Stamp::new(1, 7), true, Position(100));
        floors.advance(Position(100));
        assert_eq!(floors.admit(&id("a"), &live(6), Position(95)), None);
        assert_eq!(floors.admit(&id("a"), &live(6), Position(89)), None, "and this one is from before the window");
    }

    #[test]
    fn a_floor_raised_again_outlives_its_first_bucket() {
        let floors = Floors::new(10);
        floors.raise(&id("a"), Stamp::new(1, 1), true, floors.applied());
        (1..=8).for_each(|n| floors.advance(Position(n)));
        floors.raise(&id("a"), Stamp::new(1, 2), true, floors.applied());
        (9..=17).for_each(|n| floors.advance(Position(n)));
        assert_eq!(floors.get(&id("a")), Some(Stamp::new(1, 2)));
    }

    #[test]
    fn an_absence_without_a_tombstone_takes_the_known_one_and_never_beats_a_live_floor() {
        let floors = Floors::new(10);
        let absent = State::absent(Stamp::new(1, 0));
        floors.raise(&id("gone"), Stamp::new(1, 9), false, floors.applied());
        assert_eq!(floors.admit(&id("gone"), &absent, Position(1)), Some(State::absent(Stamp::new(1, 9))));
        floors.raise(&id("there"), Stamp::new(1, 9), true, floors.applied());
        assert_eq!(floors.admit(&id("there"), &absent, Position(1)), None);
    }

    #[test]
    fn an_accepted_read_is_a_floor_for_the_next() {
        let floors = Floors::new(10);
        assert!(floors.admit(&id("a"), &live(5), Position(3)).is_some());
        assert_eq!(floors.admit(&id("a"), &live(4), Position(3)), None);
    }

    #[test]
    fn a_new_generation_beats_every_old_version() {
        let floors = Floors::new(10);
        floors.raise(&id("a"), Stamp::new(1, 99), true, floors.applied());
        let reborn = State { stamp: Stamp::new(2, 1), value: None };
        assert_eq!(floors.admit(&id("a"), &reborn, Position(0)), Some(reborn));
    }
}
