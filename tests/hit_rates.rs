//! What `cargo bench --bench hit_rates` compares L1 with is itself right: checked here, since a bench runs no tests.

#[path = "../benches/hit_rates/models.rs"]
mod models;
#[path = "../benches/hit_rates/replay.rs"]
mod replay;
#[path = "../benches/hit_rates/trace.rs"]
mod trace;

use std::collections::BTreeSet;

use models::{Lru, bound_by_weight, optimum};
use proptest::prelude::*;
use replay::{Cache, Changes, Upkeep, replay};
use trace::Trace;

fn assert_close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 0.05, "{found:.2} instead of {expected:.2}");
}

fn lru(trace: &Trace, entries: usize) -> f64 {
    let weights = vec![1; trace.distinct];
    replay(trace, &Upkeep::default(), &mut Lru::new(entries as u64, &weights)).hit_rate()
}

/// The figures were found with a script that shares nothing with this code.
#[test]
fn lru_and_the_ceiling_agree_with_known_figures_of_both_traces() {
    for (name, accesses, distinct, ceiling, at) in [
        ("web07", 76_118, 20_484, 73.1, [(0.01, 39.1), (0.05, 50.6), (0.2, 61.0)]),
        ("web12", 95_607, 13_756, 85.6, [(0.01, 39.7), (0.05, 60.0), (0.2, 75.7)]),
    ] {
        let trace = Trace::shipped(name).expect("the trace ships with the sources");
        assert_eq!((trace.accesses.len(), trace.distinct), (accesses, distinct));
        assert_close(lru(&trace, trace.distinct), ceiling);
        for (share, expected) in at {
            assert_close(lru(&trace, (share * distinct as f64) as usize), expected);
        }
    }
}

#[test]
fn lru_gives_up_the_least_recently_used_until_the_weights_fit() {
    let weights = [1, 1, 3];
    let mut lru = Lru::new(4, &weights);
    assert_eq!([0, 1, 0, 2].map(|key| lru.read(key)), [false, false, true, false]);
    assert_eq!([0, 2, 1].map(|key| lru.read(key)), [true, true, false], "1 had to go for 2");
}

#[test]
fn expired_and_changed_entries_are_misses() {
    let trace = Trace::new([7; 10]);
    let rate = |upkeep: &Upkeep<'_>| replay(&trace, upkeep, &mut Lru::without_bound(&[1])).hit_rate();
    assert_close(rate(&Upkeep::default()), 90.0);
    assert_close(rate(&Upkeep { ttl: Some(5), changes: None }), 80.0);
    assert_close(rate(&Upkeep { ttl: None, changes: Some(Changes { every: 3, keys: &[0] }) }), 60.0);
}

/// A cache that reads changed entries again: what a node does.
struct Refreshing(Lru<'static>);

impl Cache for Refreshing {
    fn read(&mut self, key: u32) -> bool {
        self.0.read(key)
    }

    fn change(&mut self, _: u32) -> bool {
        true
    }

    fn expire(&mut self, key: u32) {
        self.0.expire(key);
    }
}

#[test]
fn reading_again_is_counted_and_lengthens_an_entry_s_life() {
    let trace = Trace::new([7; 10]);
    let upkeep = Upkeep { ttl: Some(5), changes: Some(Changes { every: 4, keys: &[0] }) };
    let tally = replay(&trace, &upkeep, &mut Refreshing(Lru::without_bound(&[1])));
    assert_close(tally.hit_rate(), 90.0);
    assert_close(tally.store_reads(), 40.0);
}

/// The most hits of all ways to keep `capacity` entries, found by trying each.
fn best_of_all(accesses: &[u32], kept: &BTreeSet<u32>, capacity: usize) -> usize {
    let Some((&key, rest)) = accesses.split_first() else { return 0 };
    let hit = usize::from(kept.contains(&key));
    let mut all = kept.clone();
    all.insert(key);
    if all.len() <= capacity {
        return hit + best_of_all(rest, &all, capacity);
    }
    let without = |gone: &u32| all.iter().copied().filter(|key| key != gone).collect();
    hit + all.iter().map(|gone| best_of_all(rest, &without(gone), capacity)).max().unwrap_or_default()
}

proptest! {
    #[test]
    fn the_optimum_is_the_best_of_all_choices(keys in prop::collection::vec(0_u32..5, 1..10), capacity in 1_usize..4) {
        let trace = Trace::new(keys);
        let best = best_of_all(&trace.accesses, &BTreeSet::new(), capacity);
        assert_close(optimum(&trace, capacity), 100.0 * best as f64 / trace.accesses.len() as f64);
    }

    #[test]
    fn no_policy_exceeds_the_bounds(keys in prop::collection::vec(0_u32..40, 1..400), capacity in 1_usize..20) {
        let trace = Trace::new(keys);
        let weights = vec![1; trace.distinct];
        let optimum = optimum(&trace, capacity);
        prop_assert!(lru(&trace, capacity) <= optimum);
        prop_assert!(optimum <= bound_by_weight(&trace, capacity as u64, &weights) + 1e-9);
    }
}
