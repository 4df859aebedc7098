//! Under which history the entries of shards stand: the generation of each shard, and when everything was dropped last.

use std::{collections::HashMap, time::Instant};

use parking_lot::{RwLock, RwLockReadGuard};

use crate::record::ShardId;

/// The standing of every shard.
#[derive(Default)]
pub(super) struct Standings {
    /// When everything was dropped last. A read that began before may have missed changes that are not reported after it.
    reset_at: RwLock<Option<Instant>>,
    /// The highest generation met in each shard.
    generations: RwLock<HashMap<ShardId, u32>>,
}

/// Held by an install to its end: a reset waits for it, and then drops what was installed.
pub(super) struct Standing<'a> {
    _held: RwLockReadGuard<'a, Option<Instant>>,
}

impl Standings {
    /// The right to install what a statement read that began at `begun`; `None` if everything was dropped since. It counts
    /// when the statement began, not when its callers asked: one may have waited across a reset, and another may have joined
    /// a statement from before it.
    pub(super) fn hold(&self, begun: Instant) -> Option<Standing<'_>> {
        let held = self.reset_at.read();
        let is_after = held.is_none_or(|reset_at| begun > reset_at);
        is_after.then_some(Standing { _held: held })
    }

    /// Whether a state of `generation` may be used: not if it is of a lost history. At a higher generation than the one
    /// known, `drop_older` runs before any state of it may be used.
    pub(super) fn meet(&self, shard: ShardId, generation: u32, drop_older: impl FnOnce()) -> bool {
        if self.generations.read().get(&shard) == Some(&generation) {
            return true;
        }
        let mut generations = self.generations.write();
        // Looked at again: another read may have met a higher one since, and a generation only rises.
        let known = generations.get(&shard).copied();
        if known.is_some_and(|known| known > generation) {
            return false;
        }
        if known.is_some_and(|known| known < generation) {
            drop_older();
        }
        generations.insert(shard, generation);
        true
    }

    /// The generation known for a shard.
    pub(super) fn generation(&self, shard: ShardId) -> u32 {
        self.generations.read().get(&shard).copied().unwrap_or(1)
    }

    /// Lets `drop_everything` run while nothing is installed; from then on only what is read later is.
    pub(super) fn reset(&self, generations: &[(ShardId, u32)], drop_everything: impl FnOnce()) {
        let mut reset_at = self.reset_at.write();
        *reset_at = Some(Instant::now());
        self.generations.write().extend(generations.iter().copied());
        drop_everything();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_generation_only_rises() {
        let standings = Standings::default();
        let shard = ShardId(3);
        let nothing_is_dropped = || panic!("nothing is older");
        assert_eq!(standings.generation(shard), 1);
        assert!(standings.meet(shard, 5, nothing_is_dropped));
        let mut was_dropped = false;
        assert!(standings.meet(shard, 6, || was_dropped = true) && was_dropped);
        assert!(!standings.meet(shard, 5, nothing_is_dropped) && standings.meet(shard, 6, nothing_is_dropped));
        assert_eq!((standings.generation(shard), standings.generation(ShardId(4))), (6, 1));
    }

    #[test]
    fn what_began_before_a_reset_is_not_installed() {
        let standings = Standings::default();
        let before = Instant::now();
        assert!(standings.hold(before).is_some());
        standings.reset(&[(ShardId(0), 9)], || assert!(standings.reset_at.try_read().is_none()));
        assert!(standings.hold(before).is_none());
        assert!(standings.hold(Instant::now() + Duration::from_nanos(1)).is_some());
        assert_eq!(standings.generation(ShardId(0)), 9);
    }
}
