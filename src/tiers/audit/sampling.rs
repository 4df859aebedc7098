//! Which reads are followed by an audit.

use std::cell::Cell;

use rand::Rng as _;

use super::Tier;

thread_local! {
    /// How many reads of each tier this thread lets pass before the next is picked; `None` before the first.
    static GAPS: [Cell<Option<u32>>; 4] = const { [const { Cell::new(None) }; 4] };
}

/// Picks a share of reads at random. A read that is not picked costs a decrement of the thread's own.
pub(super) struct Sampler {
    share: f64,
}

impl Sampler {
    pub(super) fn new(share: f64) -> Self {
        Sampler { share }
    }

    /// Whether a read that `tier` has answered is picked.
    pub(super) fn picks(&self, tier: Tier) -> bool {
        if self.share <= 0.0 {
            return false;
        }
        GAPS.with(|gaps| {
            let gap = &gaps[tier as usize];
            let left = match gap.get() {
                // What is left may be of another node of this process, with a smaller share.
                _ if self.share >= 1.0 => 0,
                left => left.unwrap_or_else(|| self.draw()),
            };
            gap.set(Some(if left == 0 { self.draw() } else { left - 1 }));
            left == 0
        })
    }

    /// The reads between two picks, where each read is picked with the same probability.
    ///
    /// # Source
    /// The geometric distribution by inversion; L. Devroye, "Non-Uniform Random Variate Generation" (1986), section X.2.
    fn draw(&self) -> u32 {
        if self.share >= 1.0 {
            return 0;
        }
        let uniform: f64 = rand::rng().random_range(f64::MIN_POSITIVE..1.0);
        (uniform.ln() / (-self.share).ln_1p()) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_the_share_is_picked() {
        for share in [0.0, 0.01, 0.5, 1.0] {
            let sampler = Sampler::new(share);
            let picked = std::thread::spawn(move || (0..100_000).filter(|_| sampler.picks(Tier::Local)).count());
            let picked = picked.join().expect("no panic") as f64 / 100_000.0;
            // Six deviations of the binomial distribution.
            let deviation = (share * (1.0 - share) / 100_000.0_f64).sqrt();
            assert!((picked - share).abs() <= 6.0 * deviation + 0.0001, "{picked} of {share}");
        }
    }

    #[test]
    fn tiers_are_picked_from_apart() {
        let picked = std::thread::spawn(|| {
            GAPS.with(|gaps| gaps.iter().for_each(|gap| gap.set(Some(1))));
            let sampler = Sampler::new(1e-9);
            [Tier::Local, Tier::Shared, Tier::Shared, Tier::Local].map(|tier| sampler.picks(tier))
        });
        assert_eq!(picked.join().expect("no panic"), [false, false, true, true]);
    }
}
