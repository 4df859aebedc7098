//! Replays a trace against a cache, with expiry and changes.

use std::collections::VecDeque;

use crate::trace::Trace;

/// What is replayed against. Keys are those of a [`Trace`].
pub trait Cache {
    /// Reads `key` and keeps it, if the cache cares to; true for a hit.
    fn read(&mut self, key: u32) -> bool;

    /// The record was changed by somebody else; true if the cache read it again at once.
    fn change(&mut self, key: u32) -> bool;

    /// The entry's time is over.
    fn expire(&mut self, key: u32);
}

/// What happens to entries besides being read.
#[derive(Clone, Copy, Default)]
pub struct Upkeep<'a> {
    /// For how many accesses of the trace an entry is kept.
    pub ttl: Option<usize>,
    /// What changes meanwhile.
    pub changes: Option<Changes<'a>>,
}

/// Records that change while others are read.
#[derive(Clone, Copy)]
pub struct Changes<'a> {
    /// A change with every so many accesses.
    pub every: usize,
    /// The keys that change, one after the other; begun again at the end.
    pub keys: &'a [u32],
}

/// What came of a replay.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    accesses: usize,
    hits: usize,
    refreshes: usize,
}

impl Tally {
    /// The share of reads answered by the cache, in percent.
    pub fn hit_rate(&self) -> f64 {
        100.0 * self.hits as f64 / self.accesses as f64
    }

    /// Reads of the store for each 100 reads of the cache: its misses, and changed entries read again.
    pub fn store_reads(&self) -> f64 {
        100.0 * (self.accesses - self.hits + self.refreshes) as f64 / self.accesses as f64
    }
}

/// Replays the whole trace, beginning with an empty cache.
pub fn replay(trace: &Trace, upkeep: &Upkeep<'_>, cache: &mut impl Cache) -> Tally {
    let mut expiry = Expiry::new(upkeep.ttl, trace.distinct);
    let mut tally = Tally { accesses: trace.accesses.len(), ..Tally::default() };
    for (now, &key) in trace.accesses.iter().enumerate() {
        while let Some(expired) = expiry.next_due(now) {
            cache.expire(expired);
        }
        if let Some(changed) = upkeep.changes.and_then(|changes| changes.at(now))
            && cache.change(changed)
        {
            tally.refreshes += 1;
            expiry.filled(changed, now);
        }
        if cache.read(key) {
            tally.hits += 1;
        } else {
            expiry.filled(key, now);
        }
    }
    tally
}

impl Changes<'_> {
    fn at(&self, now: usize) -> Option<u32> {
        now.is_multiple_of(self.every).then(|| self.keys[now / self.every % self.keys.len()])
    }
}

/// When entries' time is over. Each lives equally long, so that the oldest fill is always the next to go.
struct Expiry {
    ttl: Option<usize>,
    fills: VecDeque<(usize, u32)>,
    last_fill: Vec<usize>,
}

impl Expiry {
    fn new(ttl: Option<usize>, distinct: usize) -> Self {
        Expiry { ttl, fills: VecDeque::new(), last_fill: vec![0; distinct] }
    }

    fn filled(&mut self, key: u32, now: usize) {
        if self.ttl.is_some() {
            self.fills.push_back((now, key));
            self.last_fill[key as usize] = now;
        }
    }

    /// The next key whose last fill is long enough ago.
    fn next_due(&mut self, now: usize) -> Option<u32> {
        let ttl = self.ttl?;
        while let Some((filled, key)) = self.fills.pop_front_if(|(filled, _)| *filled + ttl <= now) {
            if self.last_fill[key as usize] == filled {
                return Some(key);
            }
        }
        None
    }
}
