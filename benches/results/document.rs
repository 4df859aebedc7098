//! docs/results.md, docs/results.json and the plots.

use std::{error::Error, fmt::Write as _, fs, path::Path};

use serde::Serialize;

use super::{
    cold::Moment,
    fan_out::{Delivered, Offered},
    figure::{Figure, Goal, Samples, rounded},
    machine::Machine,
    markers,
    notes::limit_of,
    pace::Pace,
    plots::{self, Axes, Bar, Line},
    prose,
};

/// The figures of the headline, in its order.
const HEADLINE: [&str; 3] = ["query", "order", "payment"];

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub struct Results {
    pub machine: Machine,
    pub rounds: usize,
    pub seconds: f64,
    pub figures: Vec<Figure>,
    pub sweep: Vec<Offered>,
    pub cold_start: Vec<Moment>,
    pub failures: Vec<String>,
}

impl Results {
    /// Writes all files below `docs`.
    pub fn write(&self, docs: &Path, pace: &Pace) -> Result<(), Box<dyn Error>> {
        fs::create_dir_all(docs.join("results"))?;
        fs::write(docs.join("results.json"), serde_json::to_string_pretty(self)? + "\n")?;
        self.write_page(&docs.join("results.md"), pace)?;
        if let Some(readme) = docs.parent().map(|root| root.join("README.md")).filter(|path| path.is_file()) {
            let text = fs::read_to_string(&readme)?;
            let headline = self.headline();
            let text = markers::HEADLINE.of(&headline).and_then(|table| markers::HEADLINE.replace(&text, table));
            fs::write(&readme, text.ok_or("README.md has no place for the table")?)?;
        }
        self.draw(&docs.join("results"))
    }

    /// Writes the page; what another benchmark has written into it stays.
    fn write_page(&self, path: &Path, pace: &Pace) -> Result<(), Box<dyn Error>> {
        let (text, present) = (self.text(pace), fs::read_to_string(path).unwrap_or_default());
        let kept = markers::NODES.of(&present).and_then(|part| markers::NODES.replace(&text, part));
        Ok(fs::write(path, kept.unwrap_or(text))?)
    }

    fn text(&self, pace: &Pace) -> String {
        let mut text = String::from(prose::START);
        let machine = &self.machine;
        let _ = write!(
            text,
            "| | |\n|---|---|\n| date | {} |\n| machine | {}, {} cores, {} of memory |\n| kernel | {} |\n| PostgreSQL | \
             {} |\n| Freshet | {}, {} |\n| rounds | {} of {} s each after {} s, in turns; the load of the machine was \
             {} before |\n\n",
            machine.date,
            machine.processor,
            machine.cores,
            machine.memory,
            machine.kernel,
            machine.postgres,
            machine.freshet,
            machine.rustc,
            pace.rounds,
            pace.seconds,
            pace.warm_up_seconds,
            machine.load_before,
        );
        text.push_str(prose::METHOD);
        text.push_str(&self.headline());
        text.push_str(&self.limits_of_headline());
        text.push_str(&self.goals());
        text.push_str(&self.beside());
        text.push_str(&self.offered());
        text.push_str(prose::COLD);
        for failure in &self.failures {
            let _ = writeln!(text, "\nNot measured: {failure}");
        }
        text + prose::NODES
    }

    /// The table that README shows.
    pub fn headline(&self) -> String {
        let mut text = String::from(prose::HEADLINE_START);
        for figure in HEADLINE.iter().filter_map(|id| self.figures.iter().find(|figure| figure.id == *id)) {
            let (Some((_, naive)), Some(ratios)) = (&figure.yardstick, figure.ratios()) else { continue };
            let _ = writeln!(
                text,
                "| {} | {} | {} | **{:.1}x** | {} |",
                figure.title,
                rounded(naive.median()),
                rounded(figure.freshet.median()),
                ratios.median(),
                figure.goal.text(),
            );
        }
        text + prose::HEADLINE_END
    }

    fn limits_of_headline(&self) -> String {
        let mut text = String::from("What limits them:\n\n");
        for figure in HEADLINE.iter().filter_map(|id| self.figures.iter().find(|figure| figure.id == *id)) {
            let _ = writeln!(text, "- {} ({}): {}.", figure.title, figure.verdict(), limit_of(figure.id));
        }
        text.push('\n');
        text
    }

    fn goals(&self) -> String {
        let mut text = String::from(prose::GOALS);
        let with_goal = |figure: &&Figure| !matches!(figure.goal, Goal::None) && !HEADLINE.contains(&figure.id);
        for figure in self.figures.iter().filter(with_goal) {
            text.push_str(&figure.row(limit_of(figure.id)));
        }
        text
    }

    fn beside(&self) -> String {
        let mut text = String::from(prose::BESIDE);
        for figure in self.figures.iter().filter(|figure| matches!(figure.goal, Goal::None)) {
            let (name, other) = match &figure.yardstick {
                Some((name, samples)) => (name.as_str(), rounded(samples.median())),
                None => ("", String::new()),
            };
            let ratio = figure.ratios().map(|ratios| ratios.spread()).unwrap_or_default();
            let own = format!("{} {}", rounded(figure.freshet.median()), figure.unit);
            let _ = writeln!(text, "| {} | {own} | {other} {name} | {ratio} |", figure.title);
        }
        text.push_str(prose::USAGE);
        let mut last = "";
        for figure in self.figures.iter().filter(|figure| !figure.usage.is_empty()) {
            let costs = figure.costs_us.map(|(own, other)| (format!("{own:.2} us"), format!("{other:.2} us")));
            let (own, other) = costs.unwrap_or_default();
            if figure.title != last {
                let _ = writeln!(text, "| {} | {} | {own} | {other} |", figure.title, figure.usage);
            }
            last = &figure.title;
        }
        text
    }

    fn offered(&self) -> String {
        let mut text = String::from(prose::OFFERED);
        for Offered { rate, freshet, tuned } in &self.sweep {
            let _ = write!(text, "| {rate} |");
            for side in [freshet, tuned] {
                let [states, share, cost] = [&side.per_second, &side.share, &side.cost_us].map(Samples::median);
                let _ = write!(text, " {} | {share:.3} | {cost:.2} us |", rounded(states));
            }
            text.push('\n');
        }
        text
    }

    fn draw(&self, folder: &Path) -> Result<(), Box<dyn Error>> {
        let of = |side: fn(&Offered) -> &Delivered| {
            let point = |offered: &Offered| (f64::from(offered.rate), side(offered).per_second.median());
            self.sweep.iter().map(point).collect()
        };
        plots::lines(
            &folder.join("fan-out.svg"),
            &Axes { title: "States delivered to 1,000 subscribers", x: "writes/s offered", y: "states/s delivered" },
            &[
                Line { name: "Freshet", points: of(|offered| &offered.freshet) },
                Line { name: "tuned axum broadcast", points: of(|offered| &offered.tuned) },
            ],
        )?;
        plots::lines(
            &folder.join("cold-start.svg"),
            &Axes { title: "A cold node under reads drawn by Zipf's law", x: "seconds after the start", y: "gets/s" },
            &[Line {
                name: "Freshet",
                points: self.cold_start.iter().map(|moment| (moment.seconds, moment.per_second)).collect(),
            }],
        )?;
        let bar = |figure: &Figure| match figure.goal {
            Goal::RatioAtLeast(goal, _) => {
                Some(Bar { name: figure.title.clone(), value: figure.ratios()?.median(), goal })
            }
            _ => None,
        };
        let (headline, limits): (Vec<_>, Vec<_>) =
            self.figures.iter().partition(|figure| HEADLINE.contains(&figure.id));
        let bars = |figures: Vec<&Figure>| figures.into_iter().filter_map(bar).collect::<Vec<_>>();
        plots::bars(&folder.join("headline.svg"), "Times the naive build, as a share of the goal", &bars(headline))?;
        plots::bars(&folder.join("goals.svg"), "Times the yardstick, as a share of the goal", &bars(limits))
    }
}
