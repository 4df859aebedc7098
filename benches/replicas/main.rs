//! What two replicas cost and spare, against the primary alone in the same run; and how long a promotion takes.
//! `cargo bench --bench replicas` prints the tables of docs/operations.md, "Replicas".
//!
//! All servers, the node and its clients share the machine's cores: more servers make no read faster here. What replicas take
//! off the primary is its processor time for each read.

#[path = "../../examples/cluster/instance.rs"]
#[allow(dead_code, reason = "the example uses all of it")]
mod instance;
#[path = "../databases/measure.rs"]
mod measure;
#[path = "../../examples/cluster/processes.rs"]
mod processes;
#[path = "../databases/running.rs"]
mod running;
mod servers;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use clap::Parser;
use freshet::{
    client::{Client, Options, WriteOptions},
    store::postgres::session::Place,
};
use sqlx::{Connection as _, PgConnection};

use measure::{Load, OPERATIONS, Sample, measure};
use running::Running;
use servers::{REPLICAS, Servers};

const LOADS: [Load; 2] = [Load(16, 1), Load(64, 16)];
/// How many commits are timed in a round.
const COMMITS: u32 = 200;

/// Measures, and prints tables.
#[derive(Debug, Parser)]
struct Cli {
    /// Turns with and without replicas.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of one measurement.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// What cargo says to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
    /// What cargo says to benchmarks that are run as tests.
    #[arg(long, hide = true)]
    test: bool,
}

#[tokio::main]
async fn main() {
    let cli = Cli::parse();
    // `cargo test --benches` only wants to know that it starts.
    if cli.test {
        return;
    }
    let mut servers = Servers::start().await;
    let mut samples: BTreeMap<(usize, usize, usize), Vec<Sample>> = BTreeMap::new();
    let (mut shares, mut delays) = (Vec::new(), [Vec::new(), Vec::new()]);
    for round in 0..cli.rounds {
        for (place, replicas) in [0, REPLICAS].into_iter().enumerate() {
            eprintln!("round {}: {replicas} replicas", round + 1);
            for (operation, what) in OPERATIONS.iter().enumerate() {
                let node = Running::start(&servers.configuration(replicas), what.cache);
                what.prepare(&node);
                for (number, load) in LOADS.iter().enumerate() {
                    let sample = measure(&node, servers.pid(), what, load, cli.seconds);
                    samples.entry((operation, number, place)).or_default().push(sample);
                }
                if what.name == "misses" && replicas > 0 {
                    shares.push(share_of_replicas(&node, &servers).await);
                }
                if what.name == "writes" {
                    delays[place].extend(commits_to_socket(&node, &servers).await);
                }
                node.stop();
            }
        }
    }
    print_table(&samples);
    println!("\nreads that replicas answered while L1 was too small: {:.1} %", 100.0 * median(shares));
    for (delays, name) in delays.into_iter().zip(["the primary alone", "with two replicas"]) {
        let [p50, p99] = [0.5, 0.99].map(|q| quantile(delays.clone(), q) * 1e3);
        println!("from a foreign commit to the socket, {name}: p50 {p50:.1} ms, p99 {p99:.1} ms");
    }
    fail_over(&mut servers).await;
    servers.stop().await;
}

fn print_table(samples: &BTreeMap<(usize, usize, usize), Vec<Sample>>) {
    println!("| | the primary alone | with two replicas |\n|---|---:|---:|");
    for (operation, what) in OPERATIONS.iter().enumerate() {
        for (number, load) in LOADS.iter().enumerate() {
            let of = |place, value: fn(&Sample) -> f64| {
                median(samples[&(operation, number, place)].iter().map(value).collect())
            };
            let cell = |place| {
                let rate = of(place, |sample| sample.per_second);
                let [node, postgres] = [of(place, |sample| sample.node_us), of(place, |sample| sample.postgres_us)];
                format!("{rate:.0}/s, {node:.1} + {postgres:.1} µs")
            };
            println!("| {} {}x{} | {} | {} |", what.name, load.0, load.1, cell(0), cell(1));
        }
    }
}

/// The share of records that replicas have read.
async fn share_of_replicas(node: &Running, servers: &Servers) -> f64 {
    let primary = Place::of(&servers.url()).expect("a url").server;
    let metrics = reqwest::get(format!("http://{}/metrics", node.operations)).await.expect("metrics");
    let text = metrics.text().await.expect("text");
    let reads = text.lines().filter(|line| line.starts_with("freshet_store_reads_total{"));
    let reads: Vec<(bool, f64)> = reads
        .map(|line| {
            let (labels, value) = line.rsplit_once(' ').expect("a value");
            (labels.contains(&primary), value.parse().expect("a number"))
        })
        .collect();
    let all: f64 = reads.iter().map(|(_, value)| value).sum();
    reads.iter().filter(|(is_primary, _)| !is_primary).map(|(_, value)| value).sum::<f64>() / all
}

/// How long states took from the commit of an SQL session to a subscriber, in seconds.
async fn commits_to_socket(node: &Running, servers: &Servers) -> Vec<f64> {
    let client = Client::connect(&node.url(), Options::new()).await.expect("a node");
    let mut session = PgConnection::connect(&servers.url()).await.expect("connect");
    let insert = "INSERT INTO products (sku, name, price) VALUES ('timed', 'x', 0) ON CONFLICT (sku) DO NOTHING";
    sqlx::raw_sql(insert).execute(&mut session).await.expect("insert");
    let mut watched = client.subscribe("products", &["timed"], []).await.expect("a subscription");
    watched.next().await.expect("a snapshot");
    let mut delays = Vec::new();
    for _ in 0..COMMITS {
        let update = sqlx::raw_sql("UPDATE products SET stock = stock + 1 WHERE sku = 'timed'");
        update.execute(&mut session).await.expect("update");
        let committed = Instant::now();
        watched.next().await.expect("a push");
        delays.push(committed.elapsed().as_secs_f64());
        tokio::time::sleep(Duration::from_millis(7)).await;
    }
    delays
}

/// Kills the primary, promotes a replica, and prints how long it took until a write was taken.
async fn fail_over(servers: &mut Servers) {
    let node = Running::start(&servers.configuration(REPLICAS), "64 MiB");
    let client = Client::connect(&node.url(), Options::new()).await.expect("a node");
    let value = r#"{"name":"x","price":1}"#;
    client.put("products", "kept", value, WriteOptions::new()).await.expect("it is taken");
    let killed = Instant::now();
    servers.primary.kill().await.expect("it ran");
    let promoting = Instant::now();
    servers.replicas[0].promote().await.expect("it takes writes");
    let promoted = Instant::now();
    while client.put("products", "first", value, WriteOptions::new()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let written = Instant::now();
    println!(
        "from the kill to the first write: {:.0} ms; of these the promotion took PostgreSQL {:.0} ms, and the node {:.0} ms after it",
        (written - killed).as_secs_f64() * 1e3,
        (promoted - promoting).as_secs_f64() * 1e3,
        (written - promoted).as_secs_f64() * 1e3
    );
    node.stop();
}

fn median(values: Vec<f64>) -> f64 {
    quantile(values, 0.5)
}

fn quantile(mut values: Vec<f64>, q: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * q).round() as usize]
}
