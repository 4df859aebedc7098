//! The part of docs/results.md about many nodes.

use std::{fmt::Write as _, fs, path::Path};

use super::{
    figure::{Figure, Goal, rounded},
    machine::Machine,
    markers,
    notes::limit_of,
    polls::Polls,
    service::{NODES, Service, Tier},
    traces::{Replayed, TIERS},
};

/// Of a database's processor for a poll, in milliseconds: docs/operations.md, "Several databases".
const POLL_MS: f64 = 0.2;
/// The cluster of the model.
const MODEL_NODES: usize = 50;
const MODEL_DATABASES: usize = 8;

/// Everything that was measured.
pub struct Results {
    machine: Machine,
    redis: String,
    is_quick: bool,
    rounds: usize,
    figures: Vec<Figure>,
    pub traces: Vec<Replayed>,
    pub polls: Vec<Polls>,
    pub failures: Vec<String>,
}

impl Results {
    /// Nothing yet.
    pub async fn begin(service: &Service) -> Self {
        let postgres = service.database.version().await.unwrap_or_default();
        Results {
            machine: Machine { postgres, ..Machine::look() },
            redis: service.redis.version().unwrap_or_default(),
            is_quick: service.is_quick(),
            rounds: service.pace.rounds,
            figures: Vec::new(),
            traces: Vec::new(),
            polls: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// What was measured, or nothing, which the page then says.
    pub fn or_failed<T>(&mut self, name: &str, measured: Result<Vec<T>, String>) -> Vec<T> {
        measured.unwrap_or_else(|error| {
            eprintln!("{name} failed: {error}");
            self.failures.push(format!("{name}: {error}"));
            Vec::new()
        })
    }

    /// Adds figures, and shows them to whoever watches the run.
    pub fn keep(&mut self, name: &str, measured: Result<Vec<Figure>, String>) {
        let figures = self.or_failed(name, measured);
        figures.iter().for_each(|figure| eprintln!("{}[{}]", figure.row(""), figure.usage));
        self.figures.extend(figures);
    }

    /// Puts the part into docs/results.md.
    pub fn write(&self) -> Result<(), String> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/results.md");
        let page = fs::read_to_string(&path).map_err(|error| format!("read docs/results.md: {error}"))?;
        let part = format!("\n{}", self.text());
        let page = markers::NODES.replace(&page, &part).ok_or("docs/results.md has no place for the tables")?;
        fs::write(path, page).map_err(|error| format!("write docs/results.md: {error}"))
    }

    /// The part.
    pub fn text(&self) -> String {
        let mut text = self.how();
        text.push_str("\n| | Freshet | beside | measure (least to most) | asked for | reached | note |\n");
        text.push_str("|---|---|---|---|---|---|---|\n");
        self.figures.iter().for_each(|figure| text.push_str(&figure.row(limit_of(figure.id))));
        text.push_str(&self.shares_of_cores());
        text.push_str(&self.tiers());
        text.push_str(&self.polls());
        for failure in &self.failures {
            let _ = writeln!(text, "\nNot measured: {failure}");
        }
        text
    }

    fn how(&self) -> String {
        let Machine { date, processor, cores, memory, kernel, postgres, freshet, rustc, load_before } = &self.machine;
        let form = match self.is_quick {
            true => "**The short form**: one round of each, in which p99s and ratios are rough. ".to_owned(),
            false => format!("Up to {} rounds of each. ", self.rounds),
        };
        let busy = if load_before.parse::<f64>().is_ok_and(|load| load > QUIET) { BUSY } else { "" };
        format!(
            "`cargo bench --bench nodes`, {date}: {processor}, {cores} cores, {memory}; {kernel}; PostgreSQL {postgres}, Redis \
             {redis}, Freshet {freshet}, {rustc}; the load of the machine was {load_before} before.\n\n{busy}{form}{METHOD}",
            redis = self.redis,
        )
    }

    fn shares_of_cores(&self) -> String {
        let mut text = String::from("\nShares of a core in the last round:\n\n| | |\n|---|---|\n");
        let mut last = "";
        for figure in self.figures.iter().filter(|figure| !figure.usage.is_empty()) {
            if std::mem::replace(&mut last, &figure.usage) == figure.usage {
                continue;
            }
            let beside = figure.yardstick.as_ref().filter(|_| matches!(figure.goal, Goal::RatioAtLeast(..)));
            let beside = beside.map_or_else(String::new, |(name, _)| format!(" (beside: {name})"));
            let _ = writeln!(text, "| {}{beside} | {} |", figure.title, figure.usage);
        }
        text
    }

    fn tiers(&self) -> String {
        if self.traces.is_empty() {
            return String::new();
        }
        let mut text = String::from(TRACES);
        let names: Vec<_> = TIERS.iter().map(|(_, name)| *name).collect();
        let _ = write!(
            text,
            "| trace | accesses | keys | room in L1 for | | {} |\n|---|---:|---:|---|---|",
            names.join(" | ")
        );
        text.push_str(&"---:|".repeat(TIERS.len()));
        text.push('\n');
        for Replayed { trace, accesses, distinct, room, tier, shares } in &self.traces {
            let shares = shares.map(|share| format!("{share:.1} %")).join(" | ");
            let _ = writeln!(text, "| {trace} | {accesses} | {distinct} | {room} | {} | {shares} |", tier_name(*tier));
        }
        text
    }

    fn polls(&self) -> String {
        if self.polls.is_empty() {
            return String::new();
        }
        let mut text = String::from(POLLS);
        for polls in &self.polls {
            let _ = writeln!(
                text,
                "| {} | {} | {:.1} | {:.1} | {:.1} | {} | {} | {:.1} % |",
                polls.what.name,
                tier_name(polls.tier),
                polls.all,
                polls.of_a_node,
                polls.of_the_keeper(),
                rounded(polls.with(MODEL_NODES)),
                rounded(polls.with(MODEL_NODES) * MODEL_DATABASES as f64),
                polls.with(MODEL_NODES) * POLL_MS / 10.0,
            );
        }
        text.push_str(MODEL);
        text
    }
}

fn tier_name(tier: Tier) -> &'static str {
    match tier {
        Tier::Shared => "with Redis",
        Tier::None => "without",
    }
}

/// A machine whose load is not above this was the run's own.
const QUIET: f64 = 1.5;
const BUSY: &str =
    "**Others used the machine meanwhile**, so times, rates and their ratios say little; counts are right. ";

const _: () = assert!(NODES == 3, "the texts say so");

const METHOD: &str = "\
One private PostgreSQL and one private Redis, both with their defaults, and three nodes as processes, at the
defaults that ship, over 25,000 records of about 600 bytes in 64 shards. All servers together have the first core, so each node
has one thread (default: one for each core); clients, `redis-benchmark` included, have the second; where a line says *both cores*,
everybody has both. L1 has its default room (256
MiB) but in the lines of *reads answered by Redis* (64 KiB, so that next to nothing is in it), of *Redis stopped* (4 MiB) and in
the table of traces. What a figure is compared with is measured in the same run and in turns, and a ratio is taken round by
round. Every answer is matched with its request; a wrong one fails the run. Reads and looks of the database are PostgreSQL's own
counts (`pg_stat_user_indexes`); *loads* are records that nodes have read for a change. The time of a commit begins when its
writer has the answer. `redis-benchmark` gets values of the same size under names of the same length, as many in an MGET as the
node's own on an average (records looked up, by the node's counters, for each MGET that Redis has counted), and has one under way;
a node has up to two.
";

const TRACES: &str = "
### Which tier answers

Real accesses ([hit-rates.md](hit-rates.md)), spread over the three nodes in turns, 8 at a time on each; all caches are empty at
first. *The shop's sales* are the first 100,000 lines of the demo's, each a get of its product; for every ten gets another program
changes the product that was read. Every key has a record, so the filter has nothing to deny.

";

const POLLS: &str = "
### Polls

Polls of the feed a second, on one database, of three nodes, by PostgreSQL's count of looks into a table that each poll reads once.
Without Redis each node has a third. With it, the sessions of followers are watched; the rest is the keeper's, of which a database
has one. *Model*: 50 nodes on 8 databases; each database has keeper + 50 × node, all of them 8 times that; a poll takes a database
0.2 ms of a core ([operations.md](operations.md)).

| | | three nodes | a node | the keeper | model: each database | all 8 | of a core of each |
|---|---|---:|---:|---:|---:|---:|---:|
";

const MODEL: &str = "
The leader's marks, 20 a second on each database whatever the number of nodes, are not in it. Above
100 % a database would answer polls later than they are due.
";
