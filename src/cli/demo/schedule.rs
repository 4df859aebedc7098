//! When a line of the sales file is due on the wall clock.
//!
//! The file's time runs `speed` times faster than ours. Nothing is cut out: a night or a closed day shrinks by the
//! same factor (twelve hours last 21.6 s at [`DEFAULT_SPEED`]), so the rhythm of the shop stays visible.
//!
//! A schedule keeps no position. To resume, skip the lines that were played
//! ([`Sales::skip_to`](super::sales::Sales::skip_to)) and make a new schedule from the time of the next one.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// How many seconds of the file pass in one of ours: its 373 days take 4.5 hours, at 32 sales a second on average.
pub const DEFAULT_SPEED: NonZeroU32 = NonZeroU32::new(2_000).expect("2,000 is not zero");

/// Further away than any replay lasts, near enough that an [`Instant`] can hold it.
const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Maps file time to wall time.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    first_at: i64,
    speed: NonZeroU32,
    started: Instant,
}

impl Schedule {
    /// File second `first_at` is due at `started`, and `speed` file seconds pass in every second after it.
    pub fn new(first_at: i64, speed: NonZeroU32, started: Instant) -> Self {
        Self { first_at, speed, started }
    }

    /// When file second `at` is due. What lies before the first second is due at once; what would be due in more
    /// than a century is due in a century.
    pub fn due(&self, at: i64) -> Instant {
        let elapsed = u64::try_from(at.saturating_sub(self.first_at)).unwrap_or(0);
        let wait = Duration::from_secs(elapsed) / self.speed.get();
        self.started + wait.min(FAR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NINE_O_CLOCK: i64 = 1_259_658_000;

    fn speed(factor: u32) -> NonZeroU32 {
        NonZeroU32::new(factor).expect("a positive factor")
    }

    #[test]
    fn the_first_line_is_due_at_the_start() {
        let started = Instant::now();
        assert_eq!(Schedule::new(NINE_O_CLOCK, DEFAULT_SPEED, started).due(NINE_O_CLOCK), started);
    }

    #[test]
    fn time_and_gaps_shrink_by_the_factor() {
        let started = Instant::now();
        let schedule = Schedule::new(NINE_O_CLOCK, DEFAULT_SPEED, started);
        assert_eq!(schedule.due(NINE_O_CLOCK + 60), started + Duration::from_millis(30));
        assert_eq!(schedule.due(NINE_O_CLOCK + 12 * 3600), started + Duration::from_millis(21_600));
    }

    #[test]
    fn a_speed_of_one_is_real_time() {
        let started = Instant::now();
        assert_eq!(Schedule::new(0, speed(1), started).due(7), started + Duration::from_secs(7));
    }

    #[test]
    fn resuming_starts_anew_from_the_next_line() {
        let resumed = Instant::now() + Duration::from_secs(3600);
        let schedule = Schedule::new(NINE_O_CLOCK + 7_200, DEFAULT_SPEED, resumed);
        assert_eq!(schedule.due(NINE_O_CLOCK + 7_260), resumed + Duration::from_millis(30));
    }

    #[test]
    fn times_out_of_range_are_clamped_instead_of_overflowing() {
        let started = Instant::now();
        let schedule = Schedule::new(NINE_O_CLOCK, speed(1), started);
        assert_eq!(schedule.due(NINE_O_CLOCK - 60), started);
        assert_eq!(schedule.due(i64::MIN), started);
        assert_eq!(schedule.due(i64::MAX), started + FAR);
    }
}
