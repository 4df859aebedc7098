//! A simulated readership: what a shop's visitors and crawlers would ask for while the sales go on.
//!
//! For: tiers that have something to do when nobody looks but the one viewer of the page.
//! Promises: at most `rate` reads a second and [`IN_FLIGHT_MAX`] at once; what cannot be read in time is not made up for, and
//! readers of a database that does not answer hold up no others.
//! Leaves to others: the answers, which nobody sees, and to say on the page that these readers are made up.

use std::{num::NonZeroU32, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use rand::{
    Rng as _, SeedableRng as _,
    distr::{Distribution as _, weighted::WeightedIndex},
    rngs::StdRng,
};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{COLLECTION, catalogue::Product};
use crate::{service::Service, tiers::ReadOptions};

/// How many reads a second there are by default: enough to be seen, too few to be felt.
pub const DEFAULT_RATE: u32 = 300;

/// The share of reads that name a product the shop never had: old links, typing errors, crawlers that guess.
const ABSENT_SHARE: f64 = 0.05;
/// Reads under way at once: all that begin within the deadline, at the default rate.
const IN_FLIGHT_MAX: usize = 1_500;
/// The time between two bursts of reads.
const TICK: Duration = Duration::from_millis(50);

/// Readers under way.
pub(super) struct Readers {
    service: Service,
    choice: Choice,
    rate: NonZeroU32,
}

impl Readers {
    /// Readers of `products`; `None` when there is nothing to choose from.
    pub(super) fn new(service: Service, products: &[Product], rate: NonZeroU32) -> Option<Self> {
        Some(Readers { service, choice: Choice::new(products, StdRng::from_os_rng())?, rate })
    }

    /// Reads until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut owed = 0.0;
        let mut reads = FuturesUnordered::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(()) = reads.next() => {}
                _ = ticks.tick() => {
                    owed += f64::from(self.rate.get()) * TICK.as_secs_f64();
                    let room = IN_FLIGHT_MAX - reads.len();
                    reads.extend((0..room.min(owed as usize)).map(|_| read(self.service.clone(), self.choice.key())));
                    owed = owed.fract();
                }
            }
        }
    }
}

/// One visit. A reader that gets an error goes away; the node has counted it.
async fn read(service: Service, key: String) {
    if let Ok(id) = service.record(COLLECTION, &key) {
        drop(service.get(&id, &ReadOptions::default()).await);
    }
}

/// What readers ask for: products by how often they were ordered, and some that never were.
struct Choice {
    skus: Vec<String>,
    popularity: WeightedIndex<i64>,
    chance: StdRng,
}

impl Choice {
    fn new(products: &[Product], chance: StdRng) -> Option<Self> {
        // One on top, so that a product nobody ordered is looked at now and then.
        let popularity =
            WeightedIndex::new(products.iter().map(|product| product.attributes.orders.max(0) + 1)).ok()?;
        Some(Choice { skus: products.iter().map(|product| product.sku.clone()).collect(), popularity, chance })
    }

    /// The next key. The shop's codes are five digits and letters; six digits were never one of them.
    fn key(&mut self) -> String {
        if self.chance.random_bool(ABSENT_SHARE) {
            return self.chance.random_range(100_000..1_000_000).to_string();
        }
        self.skus[self.popularity.sample(&mut self.chance)].clone()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;
    use crate::cli::demo::catalogue;

    #[test]
    fn readers_choose_by_popularity_and_sometimes_what_does_not_exist() {
        let products = catalogue::embedded().expect("a sound catalogue");
        let known: HashSet<_> = products.iter().map(|product| product.sku.clone()).collect();
        let mut choice = Choice::new(&products, StdRng::seed_from_u64(1)).expect("there are products");
        let mut reads: HashMap<String, u32> = HashMap::new();
        for _ in 0..20_000 {
            *reads.entry(choice.key()).or_default() += 1;
        }
        let absent: u32 = reads.iter().filter(|(key, _)| !known.contains(*key)).map(|(_, count)| count).sum();
        assert!((800..1_200).contains(&absent), "{absent} of 20,000 do not exist");
        let most = reads.iter().max_by_key(|(_, count)| **count).expect("there are reads").0;
        let ordered = products.iter().map(|product| product.attributes.orders).max();
        let chosen = products.iter().find(|product| product.sku == *most).map(|product| product.attributes.orders);
        assert!(chosen >= ordered.map(|orders| orders / 2), "{most} is read most and was ordered {chosen:?} times");
        assert!(Choice::new(&[], StdRng::seed_from_u64(1)).is_none());
    }
}
