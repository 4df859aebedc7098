//! The stretch of a shard's history that an entry of L1 belongs to. When that is over, all of the shard's entries are past
//! their use at once, and none has to be looked for.

use crate::{
    record::ShardId,
    sync::atomic::{AtomicU32, Ordering},
};

/// A stretch between two resets of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Era {
    shard: ShardId,
    resets: u32,
}

/// The present era of every shard.
#[derive(Debug)]
pub struct Eras {
    resets: Box<[AtomicU32]>,
}

impl Eras {
    /// The first eras of `shards` shards.
    pub fn new(shards: u32) -> Self {
        Eras { resets: (0..shards.max(1)).map(|_| AtomicU32::new(0)).collect() }
    }

    /// The present era of `shard`.
    pub fn of(&self, shard: ShardId) -> Era {
        Era { shard, resets: self.count(shard).load(Ordering::Acquire) }
    }

    /// Whether `era` is not over.
    pub fn is_present(&self, era: Era) -> bool {
        self.count(era.shard).load(Ordering::Acquire) == era.resets
    }

    /// Ends the present era of `shard`, and begins the next.
    pub fn end(&self, shard: ShardId) {
        self.count(shard).fetch_add(1, Ordering::AcqRel);
    }

    fn count(&self, shard: ShardId) -> &AtomicU32 {
        // A shard is a remainder by the modulus, and so below it.
        &self.resets[shard.0 as usize % self.resets.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_era_ends_for_its_own_shard() {
        let eras = Eras::new(4);
        let (first, other) = (eras.of(ShardId(2)), eras.of(ShardId(3)));
        eras.end(ShardId(2));
        assert!(!eras.is_present(first) && eras.is_present(other));
        assert!(eras.is_present(eras.of(ShardId(2))));
    }
}
