//! A figure: what Freshet reached, what it is compared with, and what was asked for.

use serde::Serialize;

/// Rounds of one measurement.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Samples(pub Vec<f64>);

impl Samples {
    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.len() {
            0 => f64::NAN,
            len if len.is_multiple_of(2) => f64::midpoint(sorted[len / 2 - 1], sorted[len / 2]),
            len => sorted[len / 2],
        }
    }

    pub fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub fn max(&self) -> f64 {
        self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// A median with the least and the most of the rounds.
    pub fn spread(&self) -> String {
        format!("{:.2} ({:.2} to {:.2})", self.median(), self.min(), self.max())
    }
}

/// What was asked for: the least that will do, and the aim.
#[derive(Clone, Copy, Debug, Serialize)]
pub enum Goal {
    /// Times the yardstick, or more.
    RatioAtLeast(f64, f64),
    /// Times the yardstick, or less.
    RatioAtMost(f64, f64),
    /// The figure itself, or less.
    AtMost(f64, f64),
    /// Shown for what it is.
    None,
}

impl Goal {
    /// In words.
    pub fn text(self) -> String {
        match self {
            Goal::RatioAtLeast(goal, aim) if goal == aim => format!("at least {goal}x"),
            Goal::RatioAtLeast(goal, aim) => format!("at least {goal}x, aim {aim}x"),
            Goal::RatioAtMost(goal, _) => format!("at most {goal}x"),
            Goal::AtMost(goal, aim) if goal == aim => format!("at most {goal}"),
            Goal::AtMost(goal, aim) => format!("at most {goal}, aim {aim}"),
            Goal::None => String::new(),
        }
    }
}

/// A measured figure.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// Names it for [`super::notes`].
    pub id: &'static str,
    pub title: String,
    pub unit: &'static str,
    pub freshet: Samples,
    /// The yardstick's name and its rounds, in turns with Freshet's.
    pub yardstick: Option<(String, Samples)>,
    pub goal: Goal,
    /// Processor time of Freshet's side and of the yardstick's for one of what the figure counts, in microseconds.
    pub costs_us: Option<(f64, f64)>,
    /// Who had the processor in the last round.
    pub usage: String,
}

impl Figure {
    /// Freshet over the yardstick, round by round.
    pub fn ratios(&self) -> Option<Samples> {
        let (_, yardstick) = self.yardstick.as_ref()?;
        Some(Samples(self.freshet.0.iter().zip(&yardstick.0).map(|(freshet, other)| freshet / other).collect()))
    }

    /// What the goal speaks of.
    pub fn measure(&self) -> Samples {
        match self.goal {
            Goal::RatioAtLeast(..) | Goal::RatioAtMost(..) => self.ratios().unwrap_or_default(),
            Goal::AtMost(..) | Goal::None => self.freshet.clone(),
        }
    }

    /// `aim`, `goal` or `not reached`.
    pub fn verdict(&self) -> &'static str {
        let reached = self.measure().median();
        let (does, aims) = match self.goal {
            Goal::RatioAtLeast(goal, aim) => (reached >= goal, reached >= aim),
            Goal::RatioAtMost(goal, aim) | Goal::AtMost(goal, aim) => (reached <= goal, reached <= aim),
            Goal::None => return "",
        };
        match (does, aims) {
            (_, true) => "aim",
            (true, false) => "goal",
            (false, false) => "**not reached**",
        }
    }
    /// Its line in a table of goals, with what limits it.
    pub fn row(&self, limit: &str) -> String {
        let (name, other) = match &self.yardstick {
            Some((name, samples)) => (name.as_str(), rounded(samples.median())),
            None => ("", String::new()),
        };
        format!(
            "| {} | {} {} | {other} {name} | {} | {} | {} | {limit} |\n",
            self.title,
            rounded(self.freshet.median()),
            self.unit,
            self.measure().spread(),
            self.goal.text(),
            self.verdict(),
        )
    }
}

/// Three digits that count, the thousands apart.
pub fn rounded(number: f64) -> String {
    if number.abs() < 1000.0 {
        return if number.abs() < 10.0 { format!("{number:.2}") } else { format!("{number:.0}") };
    }
    let unit = 10_f64.powf(number.abs().log10().floor() - 2.0);
    let digits = format!("{:.0}", (number / unit).round() * unit);
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
