//! docs/results.md, docs/results.json and the plots.

use std::{error::Error, fmt::Write as _, fs, path::Path};

use serde::Serialize;

use super::{
    cold::Moment,
    fan_out::{Delivered, Offered},
    figure::{Figure, Goal, Samples},
    machine::Machine,
    notes::limit_of,
    pace::Pace,
    plots::{self, Axes, Bar, Line},
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
        fs::write(docs.join("results.md"), self.text(pace))?;
        if let Some(readme) = docs.parent().map(|root| root.join("README.md")).filter(|path| path.is_file()) {
            let text = fs::read_to_string(&readme)?;
            fs::write(
                &readme,
                between_markers(&text, &self.headline()).ok_or("README.md has no place for the table")?,
            )?;
        }
        self.draw(&docs.join("results"))
    }

    fn text(&self, pace: &Pace) -> String {
        let mut text = String::from(START);
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
        text.push_str(METHOD);
        text.push_str(&self.headline());
        text.push_str(&self.limits_of_headline());
        text.push_str(&self.goals());
        text.push_str(&self.beside());
        text.push_str(&self.offered());
        text.push_str(COLD);
        for failure in &self.failures {
            let _ = writeln!(text, "\nNot measured: {failure}");
        }
        text
    }

    /// The table that README shows.
    pub fn headline(&self) -> String {
        let mut text = String::from(HEADLINE_START);
        for figure in HEADLINE.iter().filter_map(|id| self.figures.iter().find(|figure| figure.id == *id)) {
            let (Some((_, naive)), Some(ratios)) = (&figure.yardstick, figure.ratios()) else { continue };
            let _ = writeln!(
                text,
                "| {} | {} | {} | **{:.1}x** | {} |",
                figure.title,
                rounded(naive.median()),
                rounded(figure.freshet.median()),
                ratios.median(),
                goal(figure.goal),
            );
        }
        text + HEADLINE_END
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
        let mut text = String::from(GOALS);
        let with_goal = |figure: &&Figure| !matches!(figure.goal, Goal::None) && !HEADLINE.contains(&figure.id);
        for figure in self.figures.iter().filter(with_goal) {
            let (name, other) = match &figure.yardstick {
                Some((name, samples)) => (name.as_str(), rounded(samples.median())),
                None => ("", String::new()),
            };
            let measure = figure.measure();
            let _ = writeln!(
                text,
                "| {} | {} {} | {other} {name} | {} | {} | {} | {} |",
                figure.title,
                rounded(figure.freshet.median()),
                figure.unit,
                spread(&measure),
                goal(figure.goal),
                figure.verdict(),
                limit_of(figure.id),
            );
        }
        text
    }

    fn beside(&self) -> String {
        let mut text = String::from(BESIDE);
        for figure in self.figures.iter().filter(|figure| matches!(figure.goal, Goal::None)) {
            let (name, other) = match &figure.yardstick {
                Some((name, samples)) => (name.as_str(), rounded(samples.median())),
                None => ("", String::new()),
            };
            let ratio = figure.ratios().map(|ratios| spread(&ratios)).unwrap_or_default();
            let own = format!("{} {}", rounded(figure.freshet.median()), figure.unit);
            let _ = writeln!(text, "| {} | {own} | {other} {name} | {ratio} |", figure.title);
        }
        text.push_str(USAGE);
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
        let mut text = String::from(OFFERED);
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

/// `text` with what stands between its markers replaced by what stands between those of `source`.
fn between_markers(text: &str, source: &str) -> Option<String> {
    let span = |text: &str| Some((text.find(BEGIN)?, text.find(END)?));
    let ((from, to), (begin, end)) = (span(text)?, span(source)?);
    Some(format!("{}{}{}", &text[..from], &source[begin..end], &text[to..]))
}

const BEGIN: &str = "<!-- headline: begin -->";
const END: &str = "<!-- headline: end -->";

fn goal(goal: Goal) -> String {
    match goal {
        Goal::RatioAtLeast(goal, aim) if goal == aim => format!("at least {goal}x"),
        Goal::RatioAtLeast(goal, aim) => format!("at least {goal}x, aim {aim}x"),
        Goal::RatioAtMost(goal, _) => format!("at most {goal}x"),
        Goal::AtMost(goal, aim) if goal == aim => format!("at most {goal}"),
        Goal::AtMost(goal, aim) => format!("at most {goal}, aim {aim}"),
        Goal::None => String::new(),
    }
}

/// A median with the least and the most of the rounds.
fn spread(samples: &Samples) -> String {
    format!("{:.2} ({:.2} to {:.2})", samples.median(), samples.min(), samples.max())
}

/// Three digits that count, the thousands apart.
fn rounded(number: f64) -> String {
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

const START: &str = "# Results

Made by one command, which measures everything in one run and writes this page, [results.json](results.json) and the
plots:

    cargo bench --bench results

";

const METHOD: &str = "\
**How.** Tables have 64 shards, the default, unless a line says otherwise. In the lines of *durable patches* and in the
table of the naive build everybody has both cores and the threads of the defaults. Elsewhere servers, PostgreSQL included,
have the first core, and Freshet one thread (default: one for each core); the client, `freshet bench` or `pgbench`, has the
second. Freshet and what it is compared with take turns, and a ratio is taken round by round: the table
gives its median, least and most. A round with one wrong answer counts for nothing and fails the run: every answer is
matched with its request, one in 64 is read in full, every subscriber must see rising states and end on the last one, and
orders made are counted in the database. The yardsticks are in [benches/limits](../benches/limits/mod.rs), the naive build
is in [benches/naive](../benches/naive/mod.rs), and all use the same records of about 600 bytes.

- *tuned axum echo*, *plain axum echo*: axum's WebSocket with a fixed answer, with and without batched flushes.
- *bare epoll loop*: one thread, no framework.
- *pgbench*: PostgreSQL's own, 16 connections where no number is given, against the same server with the same settings (its
  defaults: `fsync` and `synchronous_commit` are on). A *plain table* has the same columns and is neither partitioned nor
  tracked.
- *PostgreSQL alone*: pgbench with the same work in the same batches and no node
  ([benches/results/ceiling.rs](../benches/results/ceiling.rs)), on the tables' parents: over one connection where
  PostgreSQL has one core, over four where it has both.

";

const HEADLINE_START: &str = "\
## Freshet and a naive build

The same messages over the same WebSocket, 64 connections x 16 in flight, one PostgreSQL, every write durable before its
answer. The naive build has no cache, makes one query (or transaction) for each request, and flushes each answer. The
product query is over a real shop's 4,064 products, by Zipf's law in the order of their sales.

<!-- headline: begin -->
| | naive, per second | Freshet, per second | | asked for |
|---|---|---|---|---|
";

const HEADLINE_END: &str = "<!-- headline: end -->

![Times the naive build](results/headline.svg)

";

const GOALS: &str = "\
## Goals

| | Freshet | beside | measure (least to most) | asked for | reached | what limits it |
|---|---|---|---|---|---|---|
";

const BESIDE: &str = "
![Times the yardstick](results/goals.svg)

## Beside

| | Freshet | beside | ratio (least to most) |
|---|---|---|---|
";

const USAGE: &str = "
Shares of a core in the last round (a client near 1 is what limits, or close to it), and the processor time that the
server side, PostgreSQL included, took for one answer or delivered state, which hardly depends on who else was busy:

| | shares of a core | Freshet | yardstick |
|---|---|---|---|
";

const OFFERED: &str = "
## Fan-out, offered and delivered

Writes to one record at a fixed rate, watched by 1,000 connections. *Share* is the states a watcher got of those written:
below 1 a slow watcher skips states, in both servers, and ends on the last one. Both keep up to 64 states of a record for
watchers that wait for their turn, and write what has come meanwhile at once. *Each* is the server's processor time for a
state delivered.

| writes/s offered | Freshet, states/s | share | each | tuned axum broadcast, states/s | share | each |
|---|---|---|---|---|---|---|
";

const COLD: &str = "
![States delivered by states offered](results/fan-out.svg)

## Cold start

![Gets a second after a cold start](results/cold-start.svg)
";
