//! What L1 is compared with: LRU, a cache without a bound, and what no policy can exceed.

use std::collections::BinaryHeap;

use lru::LruCache;

use crate::{replay::Cache, trace::Trace};

/// A cache that gives up what was not used for longest, bounded by the sum of its entries' weights. Changed entries are
/// removed, as cache-aside does it.
pub struct Lru<'a> {
    entries: LruCache<u32, ()>,
    weights: &'a [u64],
    capacity: u64,
    weight: u64,
}

impl<'a> Lru<'a> {
    /// An empty cache; `weights` are those of all keys.
    pub fn new(capacity: u64, weights: &'a [u64]) -> Self {
        Lru { entries: LruCache::unbounded(), weights, capacity, weight: 0 }
    }

    /// A cache that keeps everything, and shows what any other can hope for.
    pub fn without_bound(weights: &'a [u64]) -> Self {
        Lru::new(u64::MAX, weights)
    }
}

impl Cache for Lru<'_> {
    fn read(&mut self, key: u32) -> bool {
        if self.entries.get(&key).is_some() {
            return true;
        }
        self.entries.put(key, ());
        self.weight += self.weights[key as usize];
        while self.weight > self.capacity {
            let (evicted, ()) = self.entries.pop_lru().expect("an empty cache weighs nothing");
            self.weight -= self.weights[evicted as usize];
        }
        false
    }

    fn change(&mut self, key: u32) -> bool {
        self.expire(key);
        false
    }

    fn expire(&mut self, key: u32) {
        if self.entries.pop(&key).is_some() {
            self.weight -= self.weights[key as usize];
        }
    }
}

/// Never used again.
const NEVER: u32 = u32::MAX;

/// For each access, when its key is accessed next.
fn next_uses(trace: &Trace) -> Vec<u32> {
    let mut next = vec![NEVER; trace.distinct];
    let mut uses = vec![NEVER; trace.accesses.len()];
    for (now, &key) in trace.accesses.iter().enumerate().rev() {
        uses[now] = std::mem::replace(&mut next[key as usize], now as u32);
    }
    uses
}

/// The highest hit rate, in percent, that any policy can reach with room for `capacity` entries of one size: what is used
/// again last gives way, and that may be the newcomer itself.
///
/// # Source
/// L. A. Belady, "A study of replacement algorithms for a virtual-storage computer", IBM Systems Journal 5(2), 1966.
pub fn optimum(trace: &Trace, capacity: usize) -> f64 {
    let uses = next_uses(trace);
    let mut kept_until: Vec<Option<u32>> = vec![None; trace.distinct];
    // Entries used since stay in the heap with a time that has passed, which never comes up as the latest.
    let mut latest = BinaryHeap::new();
    let (mut len, mut hits) = (0, 0_usize);
    for (&key, &next) in trace.accesses.iter().zip(&uses) {
        match kept_until[key as usize].replace(next) {
            Some(_) => hits += 1,
            None => len += 1,
        }
        latest.push((next, key));
        if len > capacity {
            let (_, evicted) = latest.pop().expect("every entry is in the heap");
            kept_until[evicted as usize] = None;
            len -= 1;
        }
    }
    100.0 * hits as f64 / trace.accesses.len() as f64
}

/// A hit rate, in percent, that no policy can exceed with room for the weight `capacity`. Finding the highest one is
/// NP-hard where weights differ; this lets an entry be kept while the room is free on average instead of at each moment.
///
/// # Source
/// D. S. Berger, N. Beckmann, M. Harchol-Balter, "Practical Bounds on Optimal Caching with Variable Object Sizes",
/// Proc. ACM Meas. Anal. Comput. Syst. 2(2), 2018: PFOO-L, whose lower bound on misses is this upper bound on hits.
pub fn bound_by_weight(trace: &Trace, capacity: u64, weights: &[u64]) -> f64 {
    let uses = next_uses(trace);
    let mut costs: Vec<u64> = (0_u32..)
        .zip(trace.accesses.iter().zip(&uses))
        .filter(|(_, (key, next))| **next != NEVER && weights[**key as usize] <= capacity)
        .map(|(now, (&key, &next))| u64::from(next - now) * weights[key as usize])
        .collect();
    costs.sort_unstable();
    let mut room = u128::from(capacity) * trace.accesses.len() as u128;
    let hits = costs.into_iter().take_while(|&cost| take(&mut room, cost)).count();
    100.0 * hits as f64 / trace.accesses.len() as f64
}

fn take(room: &mut u128, cost: u64) -> bool {
    room.checked_sub(u128::from(cost)).map(|left| *room = left).is_some()
}
