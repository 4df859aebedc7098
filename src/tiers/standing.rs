//! Under which history the entries of shards stand: the generation of each, and when its entries were dropped last.

use std::time::Instant;

use parking_lot::{RwLock, RwLockReadGuard};

use crate::record::ShardId;

/// How a shard stands.
#[derive(Debug, Default)]
struct Standing {
    /// When the shard's entries were dropped last. A read that began before may have missed changes that are not reported
    /// after it.
    reset_at: Option<Instant>,
    /// The highest generation met.
    generation: Option<u32>,
}

/// The standing of every shard.
pub(super) struct Standings {
    shards: Box<[RwLock<Standing>]>,
}

/// Held by an install to its end: a reset waits for it, and then drops what was installed.
pub(super) struct Held<'a> {
    _standing: RwLockReadGuard<'a, Standing>,
}

impl Standings {
    /// Nothing is known of any of `shards` shards.
    pub(super) fn new(shards: u32) -> Self {
        Standings { shards: (0..shards.max(1)).map(|_| RwLock::default()).collect() }
    }

    /// The right to install a state of `generation`, which a statement read that began at `begun`; `None` if it is of a lost
    /// history, or the shard's entries were dropped since. It counts when the statement began, not when its callers asked: one
    /// may have waited across a reset, and another may have joined a statement from before it.
    ///
    /// At a higher generation than the one known, `drop_older` runs first, while nothing of the shard is installed.
    pub(super) fn hold(
        &self,
        shard: ShardId,
        generation: u32,
        begun: Instant,
        drop_older: impl FnOnce(),
    ) -> Option<Held<'_>> {
        let mut standing = self.standing(shard).read();
        if standing.generation.is_none_or(|known| known < generation) {
            drop(standing);
            self.rise(shard, generation, drop_older);
            standing = self.standing(shard).read();
        }
        let is_after = standing.reset_at.is_none_or(|reset_at| begun > reset_at);
        // Looked at again: another read may have met a higher one since.
        (is_after && standing.generation == Some(generation)).then_some(Held { _standing: standing })
    }

    fn rise(&self, shard: ShardId, generation: u32, drop_older: impl FnOnce()) {
        let mut standing = self.standing(shard).write();
        if standing.generation.is_some_and(|known| known < generation) {
            drop_older();
        }
        standing.generation = standing.generation.max(Some(generation));
    }

    /// The generation known for a shard.
    pub(super) fn generation(&self, shard: ShardId) -> u32 {
        self.standing(shard).read().generation.unwrap_or(1)
    }

    /// Lets `drop_entries` run while nothing of `shards` is installed; from then on only what is read later is. With each
    /// shard, in rising order, comes its generation where that is known anew. Shards beyond those served are passed over.
    pub(super) fn reset(&self, shards: &[(ShardId, Option<u32>)], drop_entries: impl FnOnce()) {
        let shards = shards.iter().filter(|(shard, _)| (shard.0 as usize) < self.shards.len());
        let mut standings: Vec<_> =
            shards.map(|(shard, generation)| (self.standing(*shard).write(), generation)).collect();
        let now = Instant::now();
        for (standing, generation) in &mut standings {
            standing.reset_at = Some(now);
            standing.generation = generation.or(standing.generation);
        }
        drop_entries();
    }

    fn standing(&self, shard: ShardId) -> &RwLock<Standing> {
        // A shard is a remainder by the modulus, and so below it.
        &self.shards[shard.0 as usize % self.shards.len()]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_generation_only_rises() {
        let (standings, shard, now) = (Standings::new(8), ShardId(3), Instant::now());
        let nothing_is_dropped = || panic!("nothing is older");
        assert_eq!(standings.generation(shard), 1);
        assert!(standings.hold(shard, 5, now, nothing_is_dropped).is_some());
        let mut was_dropped = false;
        assert!(standings.hold(shard, 6, now, || was_dropped = true).is_some() && was_dropped);
        assert!(standings.hold(shard, 5, now, nothing_is_dropped).is_none());
        assert!(standings.hold(shard, 6, now, nothing_is_dropped).is_some());
        assert_eq!((standings.generation(shard), standings.generation(ShardId(4))), (6, 1));
    }

    #[test]
    fn what_began_before_a_reset_is_not_installed() {
        let (standings, shard, other) = (Standings::new(8), ShardId(0), ShardId(1));
        let before = Instant::now();
        let may_install = |shard, generation, begun| standings.hold(shard, generation, begun, || ()).is_some();
        assert!(may_install(shard, 1, before));
        let nothing_is_installed = || assert!(standings.standing(shard).try_read().is_none());
        standings.reset(&[(shard, Some(9))], nothing_is_installed);
        assert!(!may_install(shard, 9, before) && may_install(other, 1, before), "its own shard only");
        assert!(may_install(shard, 9, Instant::now() + Duration::from_nanos(1)));
        assert_eq!(standings.generation(shard), 9);
    }
}
