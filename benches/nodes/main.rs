//! Many nodes as one service, with Redis between them and the databases: `cargo bench --bench nodes`.
//!
//! One private PostgreSQL, one private Redis, and nodes as processes of the release binary, at the defaults that ship; only
//! where a figure is about Redis is L1 made too small, and the line says so. All servers have the first core, so each node has
//! one thread (default: one for each core), and clients have the second; lines that say so give all cores to everybody. What a figure is compared with is measured in the same
//! run and in turns. A wrong answer fails the run.
//!
//! The tables go to docs/results.md, between its markers; with `-- --quick` they are only printed, unless `--write` is given
//! too. `-- --only polls,outage` measures some groups and writes nothing.

#[path = "../results/client.rs"]
#[allow(dead_code, reason = "benches/results uses all of it")]
mod client;
mod cold_key;
mod cold_node;
mod commits;
mod counters;
mod database;
#[path = "../results/figure.rs"]
#[allow(dead_code, reason = "benches/results uses all of it")]
mod figure;
#[path = "../results/machine.rs"]
mod machine;
#[path = "../results/markers.rs"]
#[allow(dead_code, reason = "benches/results uses all of it")]
mod markers;
mod node;
mod notes;
mod outage;
#[path = "../results/pace.rs"]
#[allow(dead_code, reason = "benches/results uses all of it")]
mod pace;
mod page;
mod polls;
#[path = "../results/process.rs"]
mod process;
mod redis;
#[path = "../databases/running.rs"]
#[allow(dead_code, reason = "benches/databases uses all of it")]
mod running;
mod service;
mod shared_hits;
#[path = "../hit_rates/trace.rs"]
mod trace;
mod traces;
mod watched;

use std::process::ExitCode;

use clap::Parser;
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

use page::Results;
use service::Service;

/// Measures, and writes its part of the page.
#[derive(Debug, Parser)]
struct Cli {
    /// One short round of everything.
    #[arg(long)]
    quick: bool,
    /// Write the page after a short run, too.
    #[arg(long)]
    write: bool,
    /// Only these groups: cold-key, cold-node, watched, hits, traces, polls, commits, outage.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// What cargo says to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
    /// What cargo says to benchmarks that are run as tests.
    #[arg(long, hide = true)]
    test: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // `cargo test --benches` only wants to know that it starts.
    if cli.test {
        return ExitCode::SUCCESS;
    }
    // What this process starts inherits its core; clients are moved to another.
    let mut first = CpuSet::new();
    first.set(0).expect("there is a first core");
    sched_setaffinity(Pid::from_raw(0), &first).expect("a process may choose its core");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    match runtime.block_on(measure(&cli)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything could be measured.
async fn measure(cli: &Cli) -> Result<bool, String> {
    let service = Service::start(cli.quick).await?;
    let mut results = Results::begin(&service).await;
    run(cli, &service, &mut results).await;
    service.stop().await;
    print!("{}", results.text());
    if cli.only.is_empty() && (cli.write || !cli.quick) {
        results.write()?;
    }
    Ok(results.failures.is_empty())
}

async fn run(cli: &Cli, service: &Service, results: &mut Results) {
    let wants = |name: &str| {
        let is_wanted = cli.only.is_empty() || cli.only.iter().any(|only| only == name);
        if is_wanted {
            eprintln!("{name}");
        }
        is_wanted
    };
    if wants("cold-key") {
        results.keep("cold-key", cold_key::run(service).await);
    }
    if wants("cold-node") {
        results.keep("cold-node", cold_node::run(service).await);
    }
    if wants("watched") {
        results.keep("watched", watched::run(service).await);
    }
    if wants("hits") {
        results.keep("hits", shared_hits::run(service).await);
    }
    if wants("commits") {
        results.keep("commits", commits::run(service).await);
    }
    if wants("outage") {
        results.keep("outage", outage::run(service).await);
    }
    if wants("traces") {
        results.traces = results.or_failed("traces", traces::run(service).await);
    }
    if wants("polls") {
        results.polls = results.or_failed("polls", polls::run(service).await);
    }
}
