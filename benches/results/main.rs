//! Every figure that is claimed, measured in one run: `cargo bench --bench results`.
//!
//! Servers have the first core and the client the second; yardsticks and Freshet take turns, and figures are medians of
//! the rounds. Writes docs/results.md, docs/results.json and the plots in docs/results/. `-- --quick` sees in a few
//! minutes that everything works, `-- --only hits,idle` measures some groups and writes nothing.

mod ceiling;
mod client;
mod cold;
mod database;
mod document;
mod durable;
mod fan_out;
mod figure;
mod headline;
mod hits;
mod idle;
mod latency;
#[path = "../limits/mod.rs"]
mod limits;
mod link;
mod machine;
mod markers;
#[path = "../naive/mod.rs"]
mod naive;
mod notes;
mod pace;
mod plots;
mod process;
mod prose;
mod server;
mod writes;

use std::path::Path;

use clap::Parser;
use client::Cores;
use database::Database;
use document::Results;
use figure::Figure;
use machine::Machine;
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use pace::Pace;

/// The groups that need PostgreSQL.
const GROUPS_OF_DATABASE: [&str; 4] = ["durable", "headline", "latency", "cold"];

/// Measures, and writes the document.
#[derive(Debug, Parser)]
struct Cli {
    /// One short round of everything.
    #[arg(long)]
    quick: bool,
    /// Only these groups: hits, fan-out, idle, writes, durable, headline, latency, cold.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// What cargo says to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
    /// What cargo says to benchmarks that are run as tests.
    #[arg(long, hide = true)]
    test: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

/// This program is also the servers that Freshet is compared with.
#[derive(Debug, clap::Subcommand)]
enum Role {
    /// A limit server.
    Serve { name: String, address: String },
    /// The naive build.
    Naive { database: String, address: String },
}

fn main() {
    let cli = Cli::parse();
    match &cli.role {
        Some(Role::Serve { name, address }) => limits::serve(name, address),
        Some(Role::Naive { database, address }) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
            runtime.block_on(naive::serve(database, address));
        }
        // `cargo test --benches` only wants to know that it starts.
        None if cli.test => {}
        None => measure(&cli),
    }
}

fn measure(cli: &Cli) {
    // What this process starts inherits its core; the client is moved to another.
    let mut first = CpuSet::new();
    first.set(0).expect("there is a first core");
    sched_setaffinity(Pid::from_raw(0), &first).expect("a process may choose its core");
    let pace = if cli.quick { Pace::QUICK } else { Pace::FULL };
    let mut results = Results::begin(&pace);
    results.measure(&cli.only, &pace);
    if cli.only.is_empty() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join(if cli.quick { "target/quick-results" } else { "docs" });
        results.write(&docs, &pace).expect("the documents are written");
        eprintln!("written: {}", docs.join("results.md").display());
    }
    if !results.failures.is_empty() {
        #[expect(clippy::exit, reason = "what failed has been printed")]
        std::process::exit(1);
    }
}

impl Results {
    fn begin(pace: &Pace) -> Self {
        Results {
            machine: Machine::look(),
            rounds: pace.rounds,
            seconds: pace.seconds,
            figures: Vec::new(),
            sweep: Vec::new(),
            cold_start: Vec::new(),
            failures: Vec::new(),
        }
    }

    fn measure(&mut self, only: &[String], pace: &Pace) {
        let wants = |name: &str| only.is_empty() || only.iter().any(|only| only == name);
        if wants("hits") {
            self.keep("hits", hits::run(pace));
        }
        if wants("fan-out") {
            let measured = fan_out::run(pace).map(|(figures, sweep)| {
                sweep.iter().for_each(|offered| eprintln!("{}", offered.line()));
                self.sweep = sweep;
                figures
            });
            self.keep("fan-out", measured);
        }
        if wants("idle") {
            self.keep("idle", idle::run(pace));
        }
        if wants("writes") {
            self.keep("writes", writes::run(pace));
        }
        if GROUPS_OF_DATABASE.into_iter().any(wants) {
            match Database::start() {
                Err(error) => self.keep("the database", Err(error)),
                Ok(mut database) => self.measure_durable(&mut database, wants, pace),
            }
        }
    }

    fn measure_durable(&mut self, database: &mut Database, wants: impl Fn(&str) -> bool, pace: &Pace) {
        self.machine.postgres = database.version();
        if wants("durable") {
            self.keep("durable", durable::run(database, pace));
        }
        if wants("headline") {
            let measured = database.have(Cores::All).and_then(|()| headline::run(database, pace));
            self.keep("headline", measured.and_then(|figures| database.have(Cores::Own).map(|()| figures)));
        }
        if wants("latency") {
            self.keep("latency", latency::run(database, pace));
        }
        if wants("cold") {
            let measured = cold::run(database, pace).map(|(figures, course)| {
                self.cold_start = course;
                figures
            });
            self.keep("cold", measured);
        }
    }

    fn keep(&mut self, name: &str, measured: Result<Vec<Figure>, String>) {
        match measured {
            Ok(figures) => {
                figures.iter().for_each(|figure| eprintln!("{}", line(figure)));
                self.figures.extend(figures);
            }
            Err(error) => {
                eprintln!("{name} failed: {error}");
                self.failures.push(format!("{name}: {error}"));
            }
        }
    }
}

/// A figure for whoever watches the run.
fn line(figure: &Figure) -> String {
    let mut text = format!("{}: {:.3} {}", figure.title, figure.freshet.median(), figure.unit);
    if let (Some((name, samples)), Some(ratios)) = (&figure.yardstick, figure.ratios()) {
        text.push_str(&format!(" / {name} {:.3} = {:.3}", samples.median(), ratios.median()));
    }
    if let Some((own, other)) = figure.costs_us {
        text.push_str(&format!(", processor {own:.2} us each / {other:.2}"));
    }
    format!("{text} {} [{}]", figure.verdict(), figure.usage)
}
