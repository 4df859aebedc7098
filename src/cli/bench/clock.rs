//! A run's time: warm-up, the window that counts, and how long to wait for the next thing to do.

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// Options of a run's length.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ClockArgs {
    /// How long is measured.
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub(super) duration: Duration,
    /// How long the load runs before that.
    #[arg(long, default_value = "1s", value_parser = humantime::parse_duration)]
    pub(super) warm_up: Duration,
}

/// The system's wait has a grain of a millisecond; below that, spinning is the only way to be on time.
const GRAIN: Duration = Duration::from_millis(2);
/// The longest wait, so that the end and the bar are not missed.
const WAIT_MAX: Duration = Duration::from_millis(50);

/// Nanoseconds since the load began.
pub(super) struct Clock {
    began: Instant,
    /// When the window begins and ends.
    pub(super) start: u64,
    pub(super) end: u64,
    spun: Duration,
    bar: ProgressBar,
    shown: u64,
}

impl Clock {
    /// Begins now.
    pub(super) fn start(args: &ClockArgs) -> Self {
        let start = nanos(args.warm_up);
        let end = start + nanos(args.duration);
        Clock { began: Instant::now(), start, end, spun: Duration::ZERO, bar: bar(end), shown: 0 }
    }

    pub(super) fn now(&self) -> u64 {
        nanos(self.began.elapsed())
    }

    /// Seconds of the window that counts.
    pub(super) fn window_seconds(&self) -> f64 {
        (self.end - self.start) as f64 / 1e9
    }

    /// Whether the window that counts has `moment` in it.
    pub(super) fn is_in_window(&self, moment: u64) -> bool {
        (self.start..self.end).contains(&moment)
    }

    /// How long to wait for sockets when the next thing is due at `due`.
    pub(super) fn wait(&self, due: Option<u64>) -> Duration {
        let Some(due) = due else { return WAIT_MAX };
        match Duration::from_nanos(due.saturating_sub(self.now())) {
            near if near < GRAIN => Duration::ZERO,
            // The wait is rounded up, so it must begin early.
            far => (far - GRAIN / 2).min(WAIT_MAX),
        }
    }

    /// Counts a turn that found nothing to do since `began`: such time is the clock's, not the load's.
    pub(super) fn spun_since(&mut self, began: u64) {
        if began >= self.start {
            self.spun += Duration::from_nanos(self.now().saturating_sub(began));
        }
    }

    pub(super) fn spun_seconds(&self) -> f64 {
        self.spun.as_secs_f64()
    }

    /// Moves the bar, ten times a second.
    pub(super) fn show(&mut self, now: u64, message: impl FnOnce() -> String) {
        if now >= self.shown + 100_000_000 {
            self.shown = now;
            self.bar.set_position(now.min(self.end) / 1_000_000);
            self.bar.set_message(message());
        }
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Reads how many of something come in a second.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate > 0.0 && f64::is_finite(rate) => Ok(rate),
        _ => Err("it must be a number above 0".to_owned()),
    }
}

/// When the `n`th of things that come `rate` times a second is due, counted from 0.
pub(super) fn moment(n: u64, rate: f64) -> u64 {
    (n as f64 / rate * 1e9) as u64
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn bar(end: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{elapsed} [{bar:30}] {msg}");
    ProgressBar::new(end / 1_000_000).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
