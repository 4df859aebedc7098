//! What a run is doing, for people who wait for it.

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::figures::counted;

/// A bar on stderr, where that is a terminal.
pub(super) struct Progress {
    bar: ProgressBar,
    began: Instant,
}

impl Progress {
    /// Begins a run whose load lasts so many seconds.
    pub(super) fn start(seconds: u64) -> Self {
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new(seconds) } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template("{elapsed} [{bar:30}] {msg}");
        let progress = Progress {
            bar: bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())),
            began: Instant::now(),
        };
        progress.phase("setting up");
        progress.bar.enable_steady_tick(Duration::from_millis(500));
        progress
    }

    /// Moves the bar on while the load runs.
    pub(super) fn load(&self, events: usize) {
        self.bar.set_position(self.began.elapsed().as_secs());
        self.bar.set_message(counted(events, "event"));
    }

    /// Names what is done before or after the load.
    pub(super) fn phase(&self, what: &'static str) {
        self.bar.set_message(what);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
