//! Waits between attempts.

use std::time::Duration;

use rand::Rng;

/// Exponential backoff with full jitter: the nth wait is uniform between zero and `base * 2^n`, at most `limit`.
///
/// # Source
/// M. Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015), "full jitter".
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    limit: Duration,
    attempt: u32,
}

impl Backoff {
    /// Waits that start below `base` and grow to at most `limit`.
    pub const fn new(base: Duration, limit: Duration) -> Self {
        Backoff { base, limit, attempt: 0 }
    }

    /// The next wait.
    pub fn next_wait(&mut self) -> Duration {
        let ceiling = self.base.saturating_mul(1 << self.attempt.min(20)).min(self.limit);
        self.attempt = self.attempt.saturating_add(1);
        ceiling.mul_f64(rand::rng().random::<f64>())
    }

    /// Starts over after a success.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_stay_below_the_growing_ceiling_and_the_limit() {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(20));
        for attempt in 0..64 {
            let ceiling = Duration::from_millis(500 << attempt.min(20)).min(Duration::from_secs(20));
            assert!(backoff.next_wait() <= ceiling);
        }
        backoff.reset();
        assert!(backoff.next_wait() <= Duration::from_millis(500));
    }
}
