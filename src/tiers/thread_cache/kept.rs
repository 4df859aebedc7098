//! What one thread keeps.

use std::sync::{Arc, Weak};

use super::budget::Budget;
use crate::tiers::entry::Entry;

/// Slots of a thread at the most.
///
/// # Source
/// Measured with 100,000 keys, zipf 0.99 (`cargo bench --bench results`).
const SLOTS_MAX: usize = 128 * 1024;
/// A slot for so many bytes of a thread's share.
const BYTES_A_SLOT: u64 = 512;
/// What a slot takes itself.
const SLOT_BYTES: u64 = size_of::<Option<Slot>>() as u64;
/// What is drawn at once: a part of a thread's share, within these bounds.
const GRANTS_A_SHARE: u64 = 64;
const GRANT_BYTES: (u64, u64) = (4 * 1024, 256 * 1024);

/// Entries in slots that their hashes give. Everything it takes, the slots included, was drawn from the budget, and is given
/// back when this value is dropped, as its thread ends.
pub(super) struct Kept {
    slots: Box<[Option<Slot>]>,
    /// What is used of `drawn`.
    bytes: u64,
    drawn: u64,
    /// The slot that is emptied next when there are too many bytes.
    hand: usize,
    budget: Weak<Budget>,
}

/// An entry, as it was when it was taken.
pub(super) struct Slot {
    pub hash: u64,
    /// The record's count then.
    pub count: u64,
    pub uses: u32,
    pub entry: Arc<Entry>,
}

impl Kept {
    /// Nothing, and nothing drawn yet.
    pub(super) fn new(budget: &Arc<Budget>) -> Self {
        budget.join();
        Kept { slots: Box::default(), bytes: 0, drawn: 0, hand: 0, budget: Arc::downgrade(budget) }
    }

    /// Whether it is within `budget`.
    pub(super) fn is_of(&self, budget: &Arc<Budget>) -> bool {
        Weak::as_ptr(&self.budget) == Arc::as_ptr(budget)
    }

    /// Whether nobody can ask for it any more.
    pub(super) fn is_orphan(&self) -> bool {
        self.budget.strong_count() == 0
    }

    /// The slot that `hash` gives, if it has something.
    pub(super) fn get(&mut self, hash: u64) -> Option<&mut Slot> {
        let at = self.place(hash)?;
        self.slots[at].as_mut()
    }

    fn place(&self, hash: u64) -> Option<usize> {
        ((hash >> 32) as usize).checked_rem(self.slots.len())
    }

    /// Keeps `slot`, in place of others, if there is room for it at all.
    pub(super) fn put(&mut self, slot: Slot, budget: &Budget) {
        let share = budget.share();
        // Threads have come since and get theirs, or so many have gone that more slots pay.
        if self.drawn > share || self.slots.len() < slots(share) / 2 {
            self.clear(budget);
        }
        if self.slots.is_empty() {
            self.make_slots(share, budget);
        }
        let Some(at) = self.place(slot.hash) else { return };
        self.empty(at);
        let len = slot.entry.bytes() as u64;
        if self.make_room(len, share, budget) {
            self.bytes += len;
            self.slots[at] = Some(slot);
        }
    }

    fn make_slots(&mut self, share: u64, budget: &Budget) {
        let len = slots(share);
        let bytes = len as u64 * SLOT_BYTES;
        if budget.draw(bytes) {
            self.slots = (0..len).map(|_| None).collect();
            (self.bytes, self.drawn, self.hand) = (bytes, bytes, 0);
        }
    }

    /// Sees to it that `len` bytes more are drawn: draws them, or empties slots. False when neither does.
    fn make_room(&mut self, len: u64, share: u64, budget: &Budget) -> bool {
        let grant = (share / GRANTS_A_SHARE).clamp(GRANT_BYTES.0, GRANT_BYTES.1);
        let mut passed = 0;
        while self.bytes + len > self.drawn {
            if self.drawn + grant <= share && budget.draw(grant) {
                self.drawn += grant;
            } else if passed < self.slots.len() {
                self.empty(self.hand);
                self.hand = (self.hand + 1) % self.slots.len();
                passed += 1;
            } else {
                return false;
            }
        }
        true
    }

    fn empty(&mut self, at: usize) {
        self.bytes -= self.slots[at].take().map_or(0, |slot| slot.entry.bytes() as u64);
    }

    fn clear(&mut self, budget: &Budget) {
        self.slots = Box::default();
        budget.give_back(self.drawn);
        (self.bytes, self.drawn) = (0, 0);
    }
}

/// How many slots a share is worth.
fn slots(share: u64) -> usize {
    usize::try_from(share / BYTES_A_SLOT).unwrap_or(usize::MAX).min(SLOTS_MAX)
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(budget) = self.budget.upgrade() {
            self.clear(&budget);
            budget.leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use bytes::Bytes;

    use super::*;
    use crate::{
        record::{CollectionId, Key, RecordId, ShardId, Stamp, State},
        tiers::era::Eras,
    };

    fn slot(n: u64) -> Slot {
        let state = State { stamp: Stamp::new(1, 1), value: Some(Bytes::from(vec![b'1'; 1_000])) };
        let id = RecordId::new(CollectionId(0), Key::from_database(n.to_string().as_str()));
        let entry =
            Arc::new(Entry::new(id, state, Instant::now() + Duration::from_secs(9), Eras::new(1).of(ShardId(0))));
        Slot { hash: n << 32, count: 0, uses: 0, entry }
    }

    /// Puts so many entries that every share is full.
    fn fill(kept: &mut Kept, budget: &Budget) {
        (0..4_000).for_each(|n| kept.put(slot(n), budget));
    }

    /// What it truly takes.
    fn taken(kept: &Kept) -> u64 {
        let entries: u64 = kept.slots.iter().flatten().map(|slot| slot.entry.bytes() as u64).sum();
        entries + kept.slots.len() as u64 * SLOT_BYTES
    }

    #[test]
    fn a_thread_keeps_its_share_and_counts_its_slots() {
        let budget = Arc::new(Budget::new(512 * 1024, 2));
        let mut kept = Kept::new(&budget);
        fill(&mut kept, &budget);
        assert_eq!(taken(&kept), kept.bytes);
        assert!(kept.bytes <= kept.drawn && kept.drawn == budget.drawn() && kept.drawn <= budget.share());
        assert!(kept.bytes > budget.share() * 9 / 10, "{} of {} bytes are kept", kept.bytes, budget.share());
        drop(kept);
        assert_eq!((budget.drawn(), budget.share()), (0, 256 * 1024));
    }

    #[test]
    fn threads_beyond_the_usual_share_what_there_is() {
        let budget = Arc::new(Budget::new(512 * 1024, 2));
        let mut all: Vec<_> = (0..2).map(|_| Kept::new(&budget)).collect();
        all.iter_mut().for_each(|kept| fill(kept, &budget));
        // Those who come later get nothing that is not there, until the others have noticed them.
        all.extend((0..6).map(|_| Kept::new(&budget)));
        for _ in 0..2 {
            for at in (0..all.len()).rev() {
                fill(&mut all[at], &budget);
                let held: u64 = all.iter().map(taken).sum();
                assert!(held <= budget.drawn() && budget.drawn() <= 512 * 1024, "{held} of {}", budget.drawn());
            }
        }
        for kept in &all {
            assert!(kept.bytes > budget.share() / 2, "{} of {} bytes are kept", kept.bytes, budget.share());
        }
        all.truncate(1);
        fill(&mut all[0], &budget);
        assert!(all[0].drawn > 200 * 1024, "what others gave back is there for who stays");
    }

    #[test]
    fn where_there_is_no_room_nothing_is_kept() {
        let budget = Arc::new(Budget::new(600, 1));
        let mut kept = Kept::new(&budget);
        kept.put(slot(1), &budget);
        assert!(kept.get(1 << 32).is_none() && budget.drawn() <= 600);
    }
}
