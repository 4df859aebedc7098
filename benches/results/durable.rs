//! Misses and durable writes, beside what pgbench does with the same server.

use super::{
    ceiling::{self, Measure},
    client::bench,
    database::Database,
    figure::{Figure, Goal, Samples},
    pace::Pace,
    server::Server,
};

/// So small an L1 keeps next to nothing of 100,000 records.
const NO_CACHE: [(&str, &str); 1] = [("FRESHET__TIERS__LOCAL__CAPACITY", "64KiB")];

/// Merged misses and grouped writes.
pub fn run(database: &Database, pace: &Pace) -> Result<Vec<Figure>, String> {
    let misses = Deed {
        id: "misses",
        title: "misses, merged: 100,000 keys evenly, 64 connections x 64 in flight, one core (default: all)",
        unit: "gets/s",
        words: &["get", "--connections", "64", "--in-flight", "64", "--keys", "100000"],
        settings: &NO_CACHE,
        yardstick: "pgbench -S -M prepared",
        measure: Database::pgbench_reads,
        alone: ceiling::reads,
        goal: Goal::RatioAtLeast(4.0, 6.0),
    };
    let writes = Deed {
        id: "writes",
        title: "durable writes, grouped: patches of 100,000 keys, 64 connections x 16 in flight, one core (default: all)",
        unit: "writes/s",
        words: &["patch", "--connections", "64", "--in-flight", "16", "--keys", "100000"],
        settings: &[],
        yardstick: "pgbench, UPDATE of one row",
        measure: Database::pgbench_updates,
        alone: ceiling::updates,
        goal: Goal::RatioAtLeast(3.0, 5.0),
    };
    Ok([misses.measure(database, pace)?, writes.measure(database, pace)?].concat())
}

struct Deed<'a> {
    id: &'static str,
    title: &'a str,
    unit: &'static str,
    words: &'a [&'a str],
    settings: &'a [(&'a str, &'a str)],
    yardstick: &'a str,
    measure: Measure,
    alone: Measure,
    goal: Goal,
}

impl Deed<'_> {
    /// The figure beside its yardstick, and beside what PostgreSQL does alone.
    fn measure(&self, database: &Database, pace: &Pace) -> Result<Vec<Figure>, String> {
        let node = Server::node(&database.url("freshet"), self.settings);
        let [mut own, mut yardstick, mut alone] = [Samples::default(), Samples::default(), Samples::default()];
        let mut usage = String::new();
        for _ in 0..pace.rounds {
            yardstick.0.push((self.measure)(database, pace)?);
            let report = bench(&node.url("/v1/ws"), self.words, &[node.pid(), database.pid()], pace)?;
            own.0.push(report.number("/answers_per_s"));
            usage = report.usage();
            alone.0.push((self.alone)(database, pace)?);
        }
        let figure = |yardstick, goal| Figure {
            id: self.id,
            title: self.title.to_owned(),
            unit: self.unit,
            freshet: own.clone(),
            yardstick: Some(yardstick),
            goal,
            costs_us: None,
            usage: usage.clone(),
        };
        Ok(vec![
            figure((self.yardstick.to_owned(), yardstick), self.goal),
            figure(("PostgreSQL alone, the same work in the same batches".to_owned(), alone), Goal::None),
        ])
    }
}
