//! What a run is doing, while it does it, on stderr: a line for each database, redrawn on a terminal, and printed as it goes
//! elsewhere.

use std::{
    fmt::Write,
    io::{IsTerminal as _, stderr},
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use parking_lot::Mutex;

use super::result::changes;
use crate::{
    cli::{
        database::Target,
        figures::{counted, lasting},
        table::{Paint, Palette},
    },
    store::postgres::migrate::Step,
};

/// How often elapsed times are redrawn.
const TICK: Duration = Duration::from_millis(100);
/// The width of the longest state, `migrating`.
const STATE_CHARS: usize = 9;

/// Where steps are told.
pub(super) enum Progress {
    /// On a terminal, a bar for each database.
    Redrawn { bars: Vec<ProgressBar>, palette: Palette },
    /// In a pipe or a file.
    Printed { names: Vec<String>, began: Instant, said: Mutex<Vec<String>> },
    /// To programs, which read the result.
    Silent,
}

impl Progress {
    /// Tells people about `targets`.
    pub(super) fn shown(targets: &[Target], palette: Palette) -> Self {
        if !stderr().is_terminal() {
            let names = targets.iter().map(|target| target.name.clone()).collect();
            return Progress::Printed {
                names,
                began: Instant::now(),
                said: Mutex::new(vec![String::new(); targets.len()]),
            };
        }
        let width = |text: fn(&Target) -> &str| targets.iter().map(|target| text(target).chars().count()).max();
        let name = width(|target| &target.name).unwrap_or_default();
        let server = width(|target| &target.place.server).unwrap_or_default();
        let all = MultiProgress::new();
        let bar = |target: &Target| {
            let bar = all.add(ProgressBar::no_length()).with_style(style());
            bar.set_prefix(format!("{:name$}  {:server$}", target.name, target.place.server));
            bar.set_message(line(Paint::Quiet, "waiting", "", palette));
            bar.enable_steady_tick(TICK);
            bar
        };
        Progress::Redrawn { bars: targets.iter().map(bar).collect(), palette }
    }

    /// Shows nothing.
    pub(super) fn silent() -> Self {
        Progress::Silent
    }

    /// The database at place `at` has come to `step`.
    pub(super) fn hear(&self, at: usize, step: &Step) {
        let (paint, state, detail) = described(step);
        match self {
            Progress::Silent => {}
            Progress::Redrawn { bars, palette } => {
                let text = line(paint, state, &detail, *palette);
                match step {
                    Step::Done(_) | Step::Failed => bars[at].finish_with_message(text),
                    _ => bars[at].set_message(text),
                }
            }
            Progress::Printed { names, began, said } => {
                // Not each partition is news here.
                let news = if let Step::Creating { all, .. } = step {
                    format!("{state} {}", counted(*all, "partition"))
                } else {
                    format!("{state} {detail}")
                };
                let mut said = said.lock();
                if said[at] != news {
                    let took = lasting(began.elapsed().as_secs_f64());
                    eprintln!("{took:>6}  {}: {}", names[at], news.trim_end());
                    said[at] = news;
                }
            }
        }
    }

    /// Takes the lines off the terminal: the result is printed in their place.
    pub(super) fn end(self) {
        if let Progress::Redrawn { bars, .. } = self {
            bars.iter().for_each(ProgressBar::finish_and_clear);
        }
    }
}

fn style() -> ProgressStyle {
    let took = |state: &ProgressState, text: &mut dyn Write| {
        // Writing to a String does not fail.
        let _ = write!(text, "{:>6}", lasting(state.elapsed().as_secs_f64()));
    };
    let style = ProgressStyle::with_template("  {prefix}  {took}  {wide_msg}");
    style.unwrap_or_else(|_| ProgressStyle::default_spinner()).with_key("took", took)
}

fn line(paint: Paint, state: &str, detail: &str, palette: Palette) -> String {
    format!("{}  {detail}", palette.paint(paint, &format!("{state:STATE_CHARS$}")))
}

/// A state and its detail.
fn described(step: &Step) -> (Paint, &'static str, String) {
    match step {
        Step::Locked => (Paint::Warn, "waiting", "for another `freshet migrate`".into()),
        Step::Migrating(migration) => (Paint::Plain, "migrating", migration.clone()),
        Step::Creating { created, all } => {
            (Paint::Plain, "creating", format!("{created} of {}", counted(*all, "partition")))
        }
        Step::Granting(role) => (Paint::Plain, "granting", format!("the rights of a node to {role}")),
        Step::Done(report) => (Paint::Good, "done", changes(report)),
        Step::Failed => (Paint::Bad, "failed", String::new()),
    }
}
