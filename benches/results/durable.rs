//! Misses and durable writes, beside what pgbench does with the same server.

use super::{
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
    Ok(vec![misses(database, pace)?, writes(database, pace)?])
}

fn misses(database: &Database, pace: &Pace) -> Result<Figure, String> {
    let node = Server::node(&database.url("freshet"), &NO_CACHE);
    let words = ["get", "--connections", "64", "--in-flight", "64", "--keys", "100000"];
    let (mut own, mut pgbench, mut usage) = (Samples::default(), Samples::default(), String::new());
    for _ in 0..pace.rounds {
        pgbench.0.push(database.pgbench_reads(pace)?);
        let report = bench(&node.url("/v1/ws"), &words, &[node.pid(), database.pid()], pace)?;
        own.0.push(report.number("/answers_per_s"));
        usage = report.usage();
    }
    Ok(Figure {
        id: "misses",
        title: "misses, merged: 100,000 keys evenly, 64 connections x 64 in flight".to_owned(),
        unit: "gets/s",
        freshet: own,
        yardstick: Some(("pgbench -S -M prepared".to_owned(), pgbench)),
        goal: Goal::RatioAtLeast(4.0, 6.0),
        costs_us: None,
        usage,
    })
}

fn writes(database: &Database, pace: &Pace) -> Result<Figure, String> {
    let node = Server::node(&database.url("freshet"), &[]);
    let words = ["patch", "--connections", "64", "--in-flight", "16", "--keys", "100000"];
    let (mut own, mut pgbench, mut usage) = (Samples::default(), Samples::default(), String::new());
    for _ in 0..pace.rounds {
        pgbench.0.push(database.pgbench_updates(pace)?);
        let report = bench(&node.url("/v1/ws"), &words, &[node.pid(), database.pid()], pace)?;
        own.0.push(report.number("/answers_per_s"));
        usage = report.usage();
    }
    Ok(Figure {
        id: "writes",
        title: "durable writes, grouped: patches of 100,000 keys, 64 connections x 16 in flight".to_owned(),
        unit: "writes/s",
        freshet: own,
        yardstick: Some(("pgbench, UPDATE of one row".to_owned(), pgbench)),
        goal: Goal::RatioAtLeast(3.0, 5.0),
        costs_us: None,
        usage,
    })
}
