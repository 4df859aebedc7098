//! One Redis server: the chain, one slot for each key, and the scripts, each of which is one step.

use crate::{
    database::{KEYS, Stamp},
    rules::Rules,
};

/// A random number of 64 bits: two are equal only if one was copied from the other. States are renumbered after each step,
/// so that the same situation is one state whatever numbers were drawn.
pub type Random = u8;

/// What the slots count for. Without it the tier is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Chain {
    /// The incarnation: slots of another one do not count.
    pub inc: Random,
    /// Changes with each `apply`: it tells whether another keeper came in between.
    pub tail: Random,
    /// The mark all of whose changes the slots of this incarnation reflect.
    pub applied: u8,
}

/// What stands under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// A right to fill the slot.
    Lease {
        /// The chain's incarnation when it was granted.
        inc: Random,
        /// The stamp that the holder wants at least.
        wanted: Stamp,
        /// The holder.
        token: Random,
    },
    /// A value, or an absence.
    State {
        /// The chain's incarnation when it was filled.
        inc: Random,
        /// Which state of the key it is.
        stamp: Stamp,
    },
}

/// What the script `lease` answers.
#[derive(Debug, PartialEq, Eq)]
pub enum Leased {
    /// There is no chain.
    None,
    /// Another reader holds the lease.
    Held,
    /// A state that counts, at the chain's position.
    State(u8, Stamp),
    /// The caller may fill the slot.
    Granted,
}

/// What a server stores.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Redis {
    /// Written by keepers.
    pub chain: Option<Chain>,
    /// Filled by readers.
    pub slots: [Option<Slot>; KEYS],
}

impl Redis {
    /// One `MGET` of chain and slot: the position and the state, if the slot counts for one who wants `wanted`.
    pub fn get(&self, key: usize, wanted: Stamp, rules: &Rules) -> Option<(u8, Stamp)> {
        let (chain, Slot::State { inc, stamp }) = (self.chain?, self.slots[key]?) else { return None };
        let counts = inc == chain.inc || !rules.slot_counts_by_inc;
        (counts && stamp >= wanted).then_some((chain.applied, stamp))
    }

    /// The script `lease`.
    pub fn lease(&mut self, key: usize, wanted: Stamp, token: Random, rules: &Rules) -> Leased {
        let Some(Chain { inc, .. }) = self.chain else { return Leased::None };
        if let Some((position, stamp)) = self.get(key, wanted, rules) {
            return Leased::State(position, stamp);
        }
        match self.slots[key] {
            Some(Slot::Lease { inc: held, wanted: stamp, .. }) if held == inc && stamp >= wanted => Leased::Held,
            _ => {
                let wanted = if rules.lease_carries_stamp { wanted } else { Stamp::default() };
                self.slots[key] = Some(Slot::Lease { inc, wanted, token });
                Leased::Granted
            }
        }
    }

    /// The script `fill`.
    pub fn fill(&mut self, key: usize, by: Random, with: Stamp, rules: &Rules) {
        let (Some(chain), Some(Slot::Lease { inc, wanted, token })) = (self.chain, self.slots[key]) else { return };
        let is_holder = token == by || !rules.fill_checks_token;
        let is_current = inc == chain.inc || !rules.fill_checks_inc;
        let is_wanted = with >= wanted || !rules.fill_checks_lease_stamp;
        if is_holder && is_current && is_wanted {
            self.slots[key] = Some(Slot::State { inc: chain.inc, stamp: with });
        }
    }

    /// The script `apply` for one chunk of changes; `applied` is the position that it moves to, if it is the last one. False
    /// if it was refused.
    pub fn apply(
        &mut self,
        expected: Random,
        tail: Random,
        applied: Option<u8>,
        chunk: [Stamp; KEYS],
        rules: &Rules,
    ) -> bool {
        if !self.may_apply(expected, rules) {
            return false;
        }
        self.delete_older(chunk, rules);
        self.move_chain(tail, applied);
        true
    }

    /// A script `apply` of which only the writes before its last one are done. The chain is last.
    pub fn apply_cut(
        &mut self,
        expected: Random,
        tail: Random,
        applied: Option<u8>,
        chunk: [Stamp; KEYS],
        rules: &Rules,
    ) {
        if !self.may_apply(expected, rules) {
            return;
        }
        match rules.chain_last {
            true => self.delete_older(chunk, rules),
            false => self.move_chain(tail, applied),
        }
    }

    fn may_apply(&self, expected: Random, rules: &Rules) -> bool {
        self.chain.is_some_and(|chain| chain.tail == expected || !rules.apply_checks_tail)
    }

    fn delete_older(&mut self, chunk: [Stamp; KEYS], rules: &Rules) {
        for (slot, stamp) in self.slots.iter_mut().zip(chunk) {
            let is_older = match slot {
                Some(Slot::Lease { wanted, .. }) => *wanted < stamp && rules.apply_deletes_leases,
                Some(Slot::State { stamp: held, .. }) => *held < stamp,
                None => false,
            };
            if is_older {
                *slot = None;
            }
        }
    }

    fn move_chain(&mut self, tail: Random, applied: Option<u8>) {
        if let Some(chain) = &mut self.chain {
            chain.tail = tail;
            chain.applied = applied.unwrap_or(chain.applied);
        }
    }

    /// The script `claim`. False if the chain is not what was read.
    pub fn claim(&mut self, read: Option<Chain>, new: Chain, rules: &Rules) -> bool {
        let is_unchanged = self.chain == read || !rules.claim_compares;
        if is_unchanged {
            self.chain = Some(new);
        }
        is_unchanged
    }

    /// Lets `visit` see every random number.
    pub fn randoms(&mut self, visit: &mut impl FnMut(&mut Random)) {
        self.chain.iter_mut().for_each(|chain| chain.randoms(visit));
        for slot in self.slots.iter_mut().flatten() {
            match slot {
                Slot::Lease { inc, token, .. } => {
                    visit(inc);
                    visit(token);
                }
                Slot::State { inc, .. } => visit(inc),
            }
        }
    }
}

impl Chain {
    /// Lets `visit` see every random number.
    pub fn randoms(&mut self, visit: &mut impl FnMut(&mut Random)) {
        visit(&mut self.inc);
        visit(&mut self.tail);
    }
}
