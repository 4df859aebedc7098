//! What shards and databases cost: the same records under the same load on 1, 8 and 64 shards of one database, and on 1, 2
//! and 8 databases of one server. `cargo bench --bench databases` prints the table of docs/operations.md, "Several databases".
//!
//! Everything has all cores and its defaults; only the cache of the nodes that show misses is made too small for the records.
//! Layouts take turns, and each figure is the median of the rounds. A rate depends on who else is busy on the machine; the
//! processor time for one operation hardly does.

mod layout;
mod measure;
#[allow(dead_code, reason = "benches/replicas uses all of it")]
mod running;

use std::collections::BTreeMap;

use clap::Parser;

use layout::{LAYOUTS, Server};
use measure::{Load, OPERATIONS, Sample, measure};
use running::Running;

/// Connections of the client, and requests in flight on each.
const LOADS: [Load; 3] = [Load(16, 1), Load(64, 1), Load(64, 16)];

/// Measures, and prints a table.
#[derive(Debug, Parser)]
struct Cli {
    /// Turns of each layout.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of one measurement.
    #[arg(long, default_value_t = 1.5)]
    seconds: f64,
    /// What cargo says to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
    /// What cargo says to benchmarks that are run as tests.
    #[arg(long, hide = true)]
    test: bool,
}

type Samples = BTreeMap<(usize, usize, usize), Vec<Sample>>;

#[tokio::main]
async fn main() {
    let cli = Cli::parse();
    // `cargo test --benches` only wants to know that it starts.
    if cli.test {
        return;
    }
    let server = Server::start().await;
    let mut samples = Samples::new();
    let mut sessions = vec![0; LAYOUTS.len()];
    for round in 0..cli.rounds {
        for (place, layout) in LAYOUTS.iter().enumerate() {
            eprintln!("round {}: {}", round + 1, layout.name());
            for (operation, what) in OPERATIONS.iter().enumerate() {
                let node = Running::start(&layout.configuration(&server), what.cache);
                what.prepare(&node);
                for (number, load) in LOADS.iter().enumerate() {
                    let sample = measure(&node, server.pid(), what, load, cli.seconds);
                    samples.entry((operation, number, place)).or_default().push(sample);
                }
                sessions[place] = server.sessions().await.max(sessions[place]);
                node.stop();
            }
        }
    }
    print_table(&samples);
    let sessions: Vec<_> = sessions.iter().map(i64::to_string).collect();
    println!("| sessions of the node, all databases | at most | {} |", sessions.join(" | "));
    server.stop().await;
}

fn names() -> Vec<String> {
    LAYOUTS.iter().map(layout::Layout::name).collect()
}

/// A line for each operation and load: operations a second on the first layout, and processor time of each.
fn print_table(samples: &Samples) {
    println!("| | | {} |", names().join(" | "));
    println!("|---|---|{}", "---:|".repeat(LAYOUTS.len()));
    for (operation, what) in OPERATIONS.iter().enumerate() {
        for (number, load) in LOADS.iter().enumerate() {
            let of = |place, value: fn(&Sample) -> f64| {
                median(samples[&(operation, number, place)].iter().map(value).collect())
            };
            let places = 0..LAYOUTS.len();
            let rates: Vec<_> =
                places.clone().map(|place| format!("{:.0}", of(place, |sample| sample.per_second))).collect();
            let costs: Vec<_> = places
                .map(|place| {
                    let [node, postgres] = [of(place, |sample| sample.node_us), of(place, |sample| sample.postgres_us)];
                    format!("{node:.1} + {postgres:.1}")
                })
                .collect();
            println!("| {} {}x{} | a second | {} |", what.name, load.0, load.1, rates.join(" | "));
            println!("| | µs, node + PostgreSQL | {} |", costs.join(" | "));
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) { f64::midpoint(values[middle - 1], values[middle]) } else { values[middle] }
}
