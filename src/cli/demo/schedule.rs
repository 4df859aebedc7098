//! When a line of the sales file is due on the wall clock.
//!
//! The file's time runs `speed` times faster than ours while the shop is open. Hours without a single sale (its nights,
//! its Saturdays) hold nothing to show: whatever their length they last [`CLOSED_LASTS`] at most, and
//! [`Schedule::is_closed_until`] tells them apart, so that a viewer can be told what passed.
//!
//! A schedule is resumed by skipping the lines that were played ([`Sales::skip_to`](super::sales::Sales::skip_to)) and
//! making a new one from the time of the next.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// How many seconds of the file pass in one of ours: its 373 days take 85 minutes, at 103 sales a second on average.
pub const DEFAULT_SPEED: NonZeroU32 = NonZeroU32::new(2_000).expect("2,000 is not zero");

/// A gap in the file's seconds beyond which the shop counts as closed. Of 25,295 gaps 98.5 % are shorter.
const CLOSED_AFTER_S: i64 = 3_600;
/// How long such a gap lasts for us, at most.
pub const CLOSED_LASTS: Duration = Duration::from_secs(1);

/// Maps file time to wall time, one line after the other.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// The file's second that was asked for last, and when that was due.
    at: i64,
    due: Instant,
    speed: NonZeroU32,
}

impl Schedule {
    /// File second `first_at` is due at `started`.
    pub fn new(first_at: i64, speed: NonZeroU32, started: Instant) -> Self {
        Self { at: first_at, due: started, speed }
    }

    /// Whether the shop is closed from the last line until the one at file second `at`.
    pub fn is_closed_until(&self, at: i64) -> bool {
        at.saturating_sub(self.at) > CLOSED_AFTER_S
    }

    /// When the next line, of file second `at`, is due. Lines come in the order of their time; one that lies before
    /// the last is due together with it.
    pub fn due(&mut self, at: i64) -> Instant {
        let gap = u64::try_from(at.saturating_sub(self.at)).unwrap_or(0);
        let wait = Duration::from_secs(gap) / self.speed.get();
        self.due += if self.is_closed_until(at) { wait.min(CLOSED_LASTS) } else { wait };
        self.at = self.at.max(at);
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NINE_O_CLOCK: i64 = 1_259_658_000;
    const HOUR: i64 = 3_600;

    fn speed(factor: u32) -> NonZeroU32 {
        NonZeroU32::new(factor).expect("a positive factor")
    }

    #[test]
    fn the_first_line_is_due_at_the_start() {
        let started = Instant::now();
        assert_eq!(Schedule::new(NINE_O_CLOCK, DEFAULT_SPEED, started).due(NINE_O_CLOCK), started);
    }

    #[test]
    fn open_hours_shrink_by_the_factor() {
        let started = Instant::now();
        let mut schedule = Schedule::new(NINE_O_CLOCK, DEFAULT_SPEED, started);
        assert_eq!(schedule.due(NINE_O_CLOCK + 60), started + Duration::from_millis(30));
        assert_eq!(schedule.due(NINE_O_CLOCK + HOUR), started + Duration::from_millis(1_800));
    }

    #[test]
    fn closed_hours_pass_at_once_whatever_their_length() {
        let started = Instant::now();
        let mut schedule = Schedule::new(NINE_O_CLOCK, DEFAULT_SPEED, started);
        let morning = NINE_O_CLOCK + 12 * HOUR;
        assert!(schedule.is_closed_until(morning) && !schedule.is_closed_until(NINE_O_CLOCK + HOUR));
        assert_eq!(schedule.due(morning), started + CLOSED_LASTS);
        assert_eq!(schedule.due(morning + 60), started + CLOSED_LASTS + Duration::from_millis(30));
        assert_eq!(schedule.due(i64::MAX), started + 2 * CLOSED_LASTS + Duration::from_millis(30));
    }

    #[test]
    fn closed_hours_are_never_stretched() {
        let started = Instant::now();
        let mut schedule = Schedule::new(NINE_O_CLOCK, speed(100_000), started);
        assert_eq!(schedule.due(NINE_O_CLOCK + 12 * HOUR), started + Duration::from_millis(432));
    }

    #[test]
    fn a_speed_of_one_is_real_time() {
        let started = Instant::now();
        assert_eq!(Schedule::new(0, speed(1), started).due(7), started + Duration::from_secs(7));
    }

    #[test]
    fn a_line_from_before_is_due_with_the_last() {
        let started = Instant::now();
        let mut schedule = Schedule::new(NINE_O_CLOCK, speed(1), started);
        assert_eq!(schedule.due(NINE_O_CLOCK - 60), started);
        assert_eq!(schedule.due(i64::MIN), started);
        assert_eq!(schedule.due(NINE_O_CLOCK + 1), started + Duration::from_secs(1));
    }
}
