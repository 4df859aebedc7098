//! The lowest stamp a key may still be answered with, remembered for longer than any entry.
//!
//! An entry may be evicted; its floor stays for a window of marks, so that a read begun before a change, and answered
//! after it, is recognised as old and is neither kept nor served.
//!
//! Their number is bounded: beyond it the oldest go before their window ends, and the [`Base`] rises first, so that the
//! reads which they would have judged are refused, and begin again. A backlog of the feed raises the base at once and takes
//! no floors: one for each row of a transaction of millions would be dropped before the last is made.

mod part;

use std::{
    hash::BuildHasher,
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    time::Instant,
};

use foldhash::fast::FixedState;
use parking_lot::{Mutex, MutexGuard};

use self::part::Part;
use super::base::Base;
use crate::record::{Position, RecordId, Stamp, State};

/// Independent parts, so that installs of different keys rarely meet.
const PARTS: usize = 64;

/// The floors of one level, its position, and the position from which on the floors are complete.
///
/// # Source
/// docs/coherence.md, section 4; invariant I6 names the order of the two pairs of steps.
pub struct Floors {
    parts: [Mutex<Part>; PARTS],
    hasher: FixedState,
    window: u64,
    floors_max: usize,
    held: AtomicUsize,
    /// Held by the one thread that drops floors because there are too many.
    shedding: Mutex<()>,
    applied: AtomicU64,
    base: Base,
    /// Set by the first reset. Before it nothing says what a replica must show.
    is_placed: AtomicBool,
}

impl Floors {
    /// Floors that are kept for `window` marks, `floors_max` of them at most.
    pub fn new(window: u64, floors_max: usize) -> Self {
        Floors {
            parts: std::array::from_fn(|_| Mutex::default()),
            hasher: FixedState::default(),
            window: window.max(3),
            floors_max: floors_max.max(1),
            held: AtomicUsize::new(0),
            shedding: Mutex::default(),
            applied: AtomicU64::new(0),
            base: Base::new(),
            is_placed: AtomicBool::new(false),
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
    ///
    /// The floor stays that long even if it was as high before: a read or a write of this node may have brought the state
    /// when no mark showed it yet. True if it was lower.
    pub fn raise(&self, id: &RecordId, stamp: Stamp, live: bool, seen: Position) -> bool {
        let mut part = self.part(id).lock();
        let is_news = part.get(id).is_none_or(|floor| floor.stamp < stamp);
        let is_more = part.raise(id, stamp, live, seen.0 + 2);
        self.count(part, is_more);
        is_news
    }

    /// Takes the place of floors for changes that were all visible before `moment`, in a snapshot that showed mark `seen`:
    /// what was read earlier is accepted no more. Two marks ahead for the reason that [`Self::raise`] names.
    pub fn raise_base(&self, seen: Position, moment: Instant) {
        self.base.raise_moment(moment);
        self.base.raise(seen.0 + 2);
    }

    /// Judges a state that was read at `position`, on the primary by a read that began at `begun`: `None` when it is too old to be
    /// used, else the state, an absence with the stamp of the tombstone that is known here. An accepted state becomes the key's
    /// floor.
    pub fn admit(&self, id: &RecordId, state: &State, position: Position, begun: Option<Instant>) -> Option<State> {
        let mut part = self.part(id).lock();
        // The floor first, the base second: a floor dropped in between was dropped after the base had passed it.
        let floor = part.get(id);
        let is_above_base = match begun {
            Some(_) => self.base.admits(position, begun),
            None => self.admits_at(position),
        };
        let mut state = state.clone();
        if let Some(floor) = floor {
            if state.value.is_none() && state.stamp.version == 0 && !floor.live {
                state.stamp = state.stamp.max(floor.stamp);
            }
            if state.stamp < floor.stamp {
                return None;
            }
        }
        if !is_above_base {
            return None;
        }
        let bucket = match floor {
            // Whatever reached it showed the state to every later mark: a record that is read again and again stays with replicas.
            Some(floor) if floor.stamp == state.stamp => floor.bucket,
            // A read of the primary may show what no mark up to the next covers, hence two ahead.
            _ => self.applied.load(Ordering::Acquire).max(position.0) + 2,
        };
        let is_more = part.raise(id, state.stamp, state.value.is_some(), bucket);
        self.count(part, is_more);
        Some(state)
    }

    /// Whether a state that is known to show mark `position`, and no more, may be used where the key's floor admits it.
    pub fn admits_at(&self, position: Position) -> bool {
        self.is_placed.load(Ordering::Acquire) && self.base.admits(position, None)
    }

    /// The highest stamp known for a key.
    pub fn get(&self, id: &RecordId) -> Option<Stamp> {
        self.part(id).lock().get(id).map(|floor| floor.stamp)
    }

    /// What a key's floor asks of a read: its stamp, and the position that every server which shows it has reached.
    pub fn required(&self, id: &RecordId) -> (Option<Stamp>, Position) {
        let floor = self.part(id).lock().get(id);
        let position = match self.is_placed.load(Ordering::Acquire) {
            true => self.base.position().max(floor.map_or(0, |floor| floor.bucket)),
            false => u64::MAX,
        };
        (floor.map(|floor| floor.stamp), Position(position))
    }

    /// Moves on to mark `n`, all of whose changes have been applied, and forgets floors older than the window.
    ///
    /// It does not forget those of states that the poll before could not show: a write of this node may have its place at an old
    /// mark and be committed after the poll's snapshot, which then lacks it. The poll after reports it.
    pub fn advance(&self, n: Position) {
        let before = self.applied.fetch_max(n.0, Ordering::AcqRel);
        let Some(mark) = n.0.checked_sub(self.window) else { return };
        if n.0 > before {
            self.drop_through(mark.min(before));
        }
    }

    /// Starts over after history was lost, with a poll that showed mark `n`: no read that began before now is accepted, and
    /// none of a replica that does not show all that the poll could have reported, two marks ahead for the reason that
    /// [`Self::raise`] names.
    ///
    /// Floors stay, for the window that begins now: a state may have been answered after the poll's snapshot was taken. They
    /// go where positions go back, as in a restored database: its stamps may be lower.
    pub fn reset(&self, n: Position) {
        self.base.reset(Position(n.0 + 2), Instant::now());
        self.is_placed.store(true, Ordering::Release);
        let is_restored = self.applied.swap(n.0, Ordering::AcqRel) > n.0;
        for part in &self.parts {
            let mut part = part.lock();
            if is_restored {
                let gone = std::mem::take(&mut *part);
                self.held.fetch_sub(gone.len(), Ordering::AcqRel);
            } else {
                part.lift(n.0 + 2);
            }
        }
    }

    /// Accepts no more what shows less than mark `position`, unless it is of a read of the primary that begins later.
    pub fn raise_position(&self, position: Position) {
        self.base.raise_moment(Instant::now());
        self.base.raise(position.0);
    }

    /// Drops the floor of a key if it is `stamp`, which is of no state that the key ever had: reads above it would never come. The
    /// base rises first, past all changes that the floor may have swallowed: those of polls, which have lifted its bucket, and
    /// own writes. `position` is that of a mark whose snapshot is taken after this call.
    pub fn forget(&self, id: &RecordId, stamp: Stamp, position: Position) {
        let mut part = self.part(id).lock();
        let Some(floor) = part.get(id).filter(|floor| floor.stamp == stamp) else { return };
        // Under the lock, as where floors leave the window.
        self.raise_position(Position(position.0.max(floor.bucket)));
        part.remove(id);
        self.held.fetch_sub(1, Ordering::AcqRel);
    }

    /// Floors held, about.
    pub fn len(&self) -> usize {
        self.held.load(Ordering::Acquire)
    }

    /// Counts a floor more under its part's lock, so that it is not taken off before; drops others, if there are too many.
    fn count(&self, part: MutexGuard<'_, Part>, is_more: bool) {
        let is_too_many = is_more && self.held.fetch_add(1, Ordering::AcqRel) >= self.floors_max;
        drop(part);
        if is_too_many {
            self.shed();
        }
    }

    /// Drops the oldest floors while there are too many.
    fn shed(&self) {
        // Other threads need not wait: the one that drops floors looks at the number again.
        let Some(_shedding) = self.shedding.try_lock() else { return };
        while self.len() > self.floors_max {
            let Some(oldest) = self.parts.iter().filter_map(|part| part.lock().oldest()).min() else { return };
            self.drop_through(oldest);
        }
    }

    /// Drops the floors of each bucket up to `mark`.
    fn drop_through(&self, mark: u64) {
        // The base first, the drop second.
        self.base.raise(mark);
        for part in &self.parts {
            let mut part = part.lock();
            if part.oldest().is_some_and(|oldest| oldest <= mark) {
                // Under the lock: no floor that goes was raised later.
                self.base.raise_moment(Instant::now());
                self.held.fetch_sub(part.drop_through(mark), Ordering::AcqRel);
            }
        }
    }

    fn part(&self, id: &RecordId) -> &Mutex<Part> {
        &self.parts[self.hasher.hash_one(id) as usize % PARTS]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::record::{CollectionId, Key};

    fn id(key: &str) -> RecordId {
        RecordId::new(CollectionId(0), Key::from_database(key))
    }

    fn live(version: u64) -> State {
        State { stamp: Stamp::new(1, version), value: Some(Bytes::from_static(b"{}")) }
    }

    /// When a read began that only its position speaks for.
    fn before() -> Option<Instant> {
        Instant::now().checked_sub(Duration::from_secs(60))
    }

    #[test]
    fn a_read_from_before_a_change_is_refused_after_it() {
        let floors = Floors::new(10, 1_000);
        floors.raise(&id("a"), Stamp::new(1, 7), true, floors.applied());
        assert_eq!(floors.admit(&id("a"), &live(6), Position(0), before()), None);
        assert_eq!(floors.admit(&id("a"), &live(7), Position(0), before()), Some(live(7)));
    }

    #[test]
    fn a_read_older_than_the_window_is_refused_even_where_no_floor_is_left() {
        let floors = Floors::new(10, 1_000);
        floors.raise(&id("a"), Stamp::new(1, 7), true, floors.applied());
        (1..=30).for_each(|n| floors.advance(Position(n)));
        assert_eq!(floors.get(&id("a")), None, "the floor has left the window");
        assert_eq!(floors.admit(&id("a"), &live(6), Position(5), before()), None);
        assert_eq!(floors.admit(&id("a"), &live(7), Position(30), before()), Some(live(7)));
    }

    #[test]
    fn a_change_of_a_poll_that_jumps_past_the_window_still_refuses_older_reads() {
        let floors = Floors::new(10, 1_000);
        floors.advance(Position(1));
        // Nothing was heard for a hundred marks; the change came in that time, and so did a read that lacks it.
        floors.raise(&id("a"), Stamp::new(1, 7), true, Position(100));
        floors.advance(Position(100));
        assert_eq!(floors.admit(&id("a"), &live(6), Position(95), before()), None);
        assert_eq!(
            floors.admit(&id("a"), &live(6), Position(89), before()),
            None,
            "and this one is from before the window"
        );
    }

    #[test]
    fn a_floor_raised_again_outlives_its_first_bucket() {
        let floors = Floors::new(10, 1_000);
        floors.raise(&id("a"), Stamp::new(1, 1), true, floors.applied());
        (1..=8).for_each(|n| floors.advance(Position(n)));
        floors.raise(&id("a"), Stamp::new(1, 2), true, floors.applied());
        (9..=17).for_each(|n| floors.advance(Position(n)));
        assert_eq!(floors.get(&id("a")), Some(Stamp::new(1, 2)));
    }

    #[test]
    fn an_absence_without_a_tombstone_takes_the_known_one_and_never_beats_a_live_floor() {
        let floors = Floors::new(10, 1_000);
        let absent = State::absent(Stamp::new(1, 0));
        floors.raise(&id("gone"), Stamp::new(1, 9), false, floors.applied());
        assert_eq!(floors.admit(&id("gone"), &absent, Position(1), before()), Some(State::absent(Stamp::new(1, 9))));
        floors.raise(&id("there"), Stamp::new(1, 9), true, floors.applied());
        assert_eq!(floors.admit(&id("there"), &absent, Position(1), before()), None);
    }

    #[test]
    fn an_accepted_read_is_a_floor_for_the_next() {
        let floors = Floors::new(10, 1_000);
        assert!(floors.admit(&id("a"), &live(5), Position(3), before()).is_some());
        assert_eq!(floors.admit(&id("a"), &live(4), Position(3), before()), None);
    }

    #[test]
    fn a_floor_that_was_forgotten_lets_later_reads_pass_and_no_earlier_ones() {
        let floors = placed();
        let earlier = Instant::now();
        assert!(floors.admit(&id("a"), &live(99), Position(3), Some(earlier)).is_some());
        // Swallowed by the higher floor.
        floors.raise(&id("a"), Stamp::new(1, 7), true, Position(6));
        floors.forget(&id("a"), Stamp::new(1, 98), Position(20));
        assert_eq!((floors.get(&id("a")), floors.len()), (Some(Stamp::new(1, 99)), 1), "it is another floor");
        floors.forget(&id("a"), Stamp::new(1, 99), Position(20));
        assert_eq!((floors.get(&id("a")), floors.len()), (None, 0));
        assert_eq!(floors.admit(&id("a"), &live(6), Position(5), Some(earlier)), None, "it may lack the change");
        assert_eq!(floors.admit(&id("a"), &live(6), Position(19), None), None, "and so may a replica");
        std::thread::sleep(Duration::from_millis(1));
        assert!(floors.admit(&id("a"), &live(7), Position(5), Some(Instant::now())).is_some());
        assert!(floors.admit(&id("a"), &live(7), Position(20), None).is_some());
    }

    #[test]
    fn a_record_that_is_read_again_asks_no_more_of_replicas() {
        let floors = placed();
        assert!(floors.admit(&id("a"), &live(5), Position(3), Some(Instant::now())).is_some());
        floors.advance(Position(8));
        assert!(floors.admit(&id("a"), &live(5), Position(8), Some(Instant::now())).is_some());
        assert_eq!(floors.required(&id("a")), (Some(Stamp::new(1, 5)), Position(5)));
    }

    #[test]
    fn a_new_generation_beats_every_old_version() {
        let floors = Floors::new(10, 1_000);
        floors.raise(&id("a"), Stamp::new(1, 99), true, floors.applied());
        let reborn = State { stamp: Stamp::new(2, 1), value: None };
        assert_eq!(floors.admit(&id("a"), &reborn, Position(0), before()), Some(reborn));
    }

    #[test]
    fn floors_beyond_the_bound_give_way_to_the_base() {
        let floors = Floors::new(1_000, 100);
        for n in 0..10_000u64 {
            floors.raise(&id(&n.to_string()), Stamp::new(1, 7), true, Position(n / 10));
            assert!(floors.len() <= 100, "{} floors are held", floors.len());
        }
        for n in [0, 5_000, 9_999] {
            let id = id(&n.to_string());
            assert_eq!(floors.admit(&id, &live(6), Position(n / 10), before()), None, "{n}: older than its change");
            assert!(floors.admit(&id, &live(7), Position(1_010), before()).is_some(), "{n}: a later read");
        }
    }

    #[test]
    fn a_read_begun_after_floors_were_dropped_passes_where_no_mark_is_written() {
        let floors = Floors::new(1_000, 100);
        let early = Instant::now();
        for n in 0..1_000 {
            floors.raise(&id(&n.to_string()), Stamp::new(1, 7), true, Position(1));
        }
        assert!(floors.len() <= 100);
        assert_eq!(floors.admit(&id("0"), &live(6), Position(1), Some(early)), None);
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!(floors.admit(&id("0"), &live(7), Position(1), Some(Instant::now())), Some(live(7)));
    }

    #[test]
    fn a_raised_base_stands_for_the_floors_of_a_backlog() {
        let floors = Floors::new(10, 1_000);
        let early = Instant::now();
        std::thread::sleep(Duration::from_millis(1));
        floors.raise_base(Position(5), Instant::now());
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!(
            floors.admit(&id("a"), &live(6), Position(6), Some(early)),
            None,
            "mark 6 may lack what the backlog shows"
        );
        assert_eq!(floors.admit(&id("a"), &live(7), Position(5), Some(Instant::now())), Some(live(7)));
        assert_eq!(floors.admit(&id("b"), &live(7), Position(7), Some(early)), Some(live(7)));
    }

    /// After a first poll that showed no mark.
    fn placed() -> Floors {
        let floors = Floors::new(10, 1_000);
        floors.reset(Position(0));
        floors
    }

    #[test]
    fn before_the_first_poll_a_replica_vouches_for_nothing() {
        let floors = Floors::new(10, 1_000);
        assert_eq!(floors.required(&id("a")), (None, Position(u64::MAX)));
        assert_eq!(floors.admit(&id("a"), &live(7), Position(1_000_000), REPLICA), None);
        assert!(floors.admit(&id("a"), &live(7), Position(1), before()).is_some(), "the primary does");
    }

    /// A replica's read: when it began says nothing.
    const REPLICA: Option<Instant> = None;

    #[test]
    fn a_replica_that_may_lack_what_the_first_poll_could_report_is_not_asked_to_vouch() {
        let floors = Floors::new(10, 1_000);
        // The first poll shows mark 5 and a change that no mark shows yet; nothing reports it.
        floors.reset(Position(5));
        for behind in [5, 6] {
            assert_eq!(floors.admit(&id("a"), &live(6), Position(behind), REPLICA), None, "at {behind}");
        }
        assert!(floors.admit(&id("a"), &live(7), Position(7), REPLICA).is_some());
        assert!(floors.admit(&id("b"), &live(7), Position(5), Some(Instant::now())).is_some(), "the primary shows it");
    }

    #[test]
    fn a_reset_forgets_no_state_that_was_answered_while_its_poll_was_under_way() {
        let floors = Floors::new(10, 1_000);
        (1..=20).for_each(|n| floors.advance(Position(n)));
        // The poll was sent before this read of the primary, and before the commit of a write that took its place long ago.
        let position = Position(1_000);
        for (key, read_at) in [("read", position), ("written", Position(20))] {
            assert!(floors.admit(&id(key), &live(7), read_at, Some(Instant::now())).is_some());
        }
        floors.reset(position);
        floors.advance(Position(position.0 + 3));
        for key in ["read", "written"] {
            assert_eq!(floors.admit(&id(key), &live(6), Position(position.0 + 2), REPLICA), None, "{key}");
        }
    }

    #[test]
    fn a_restored_database_whose_positions_go_back_is_read_from_the_start() {
        let floors = Floors::new(10, 1_000);
        floors.advance(Position(1_000));
        floors.raise(&id("a"), Stamp::new(1, 7), true, Position(1_000));
        floors.reset(Position(400));
        assert_eq!((floors.len(), floors.applied()), (0, Position(400)));
        assert!(floors.admit(&id("a"), &live(6), Position(402), REPLICA).is_some());
    }

    #[test]
    fn a_poll_that_jumps_past_the_window_keeps_the_floor_of_a_write_that_overtook_it() {
        let floors = placed();
        floors.advance(Position(1));
        // Polls were silent for a hundred marks. A write that took its place at mark 1 is committed and answered; the poll's
        // snapshot is from just before.
        assert!(floors.admit(&id("a"), &live(7), Position(1), Some(Instant::now())).is_some());
        floors.advance(Position(100));
        assert_eq!(floors.admit(&id("a"), &live(6), Position(99), REPLICA), None);
    }

    #[test]
    fn a_change_that_is_no_news_keeps_its_floor_until_a_replica_must_show_it() {
        let floors = placed();
        floors.advance(Position(100));
        assert!(
            floors.admit(&id("a"), &live(7), Position(1), Some(Instant::now())).is_some(),
            "a write, committed late"
        );
        assert!(!floors.raise(&id("a"), Stamp::new(1, 7), true, Position(105)), "no news");
        (101..=115).for_each(|n| floors.advance(Position(n)));
        assert_eq!(floors.admit(&id("a"), &live(6), Position(106), REPLICA), None, "mark 106 may lack it");
        (116..=117).for_each(|n| floors.advance(Position(n)));
        assert_eq!(floors.get(&id("a")), None);
    }
}
