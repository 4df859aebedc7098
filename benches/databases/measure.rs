//! `freshet bench` against a node.

use std::process::Command;

use serde_json::Value;

use super::running::{FRESHET, Running};

/// Records, the same for all layouts.
const KEYS: &str = "20000";

/// Connections, and requests in flight on each.
pub struct Load(pub u32, pub u32);

/// What clients do.
pub struct Operation {
    pub name: &'static str,
    words: &'static [&'static str],
    /// The capacity of L1.
    pub cache: &'static str,
}

pub const OPERATIONS: [Operation; 3] = [
    Operation { name: "hits", words: &["get", "--keys", KEYS], cache: "256 MiB" },
    Operation { name: "misses", words: &["get", "--keys", KEYS], cache: "64 KiB" },
    Operation { name: "writes", words: &["patch", "--keys", KEYS, "--value", r#"{"stock":%n}"#], cache: "256 MiB" },
];

impl Operation {
    /// Makes the records that are missing, and reads them once.
    pub fn prepare(&self, node: &Running) {
        let words = ["get", "--keys", KEYS, "--fill", "--connections", "16", "--in-flight", "64", "--duration", "1s"];
        bench(node, &words);
    }
}

/// One measurement.
pub struct Sample {
    pub per_second: f64,
    /// Processor time of the node for one operation.
    pub node_us: f64,
    /// The same of PostgreSQL.
    pub postgres_us: f64,
}

/// Measures `node`, and the processor time of the PostgreSQL server whose first process is `postgres`.
pub fn measure(node: &Running, postgres: u32, operation: &Operation, load: &Load, seconds: f64) -> Sample {
    let Load(connections, in_flight) = load;
    let mut words: Vec<String> = operation.words.iter().map(|&word| word.to_owned()).collect();
    words.extend(["--connections".into(), connections.to_string(), "--in-flight".into(), in_flight.to_string()]);
    words.extend(["--warm-up".into(), "500ms".into(), "--duration".into(), format!("{:.0}ms", seconds * 1e3)]);
    words.extend(["--pid".into(), node.pid().to_string(), "--pid".into(), postgres.to_string()]);
    let report = bench(node, &words);
    let per_second = report["answers_per_s"].as_f64().expect("a rate");
    // In the order of the words.
    let cost = |server: usize| {
        report["usage"]["servers"][server]["share"].as_f64().expect("a share of a core") * 1e6 / per_second
    };
    Sample { per_second, node_us: cost(0), postgres_us: cost(1) }
}

fn bench<S: AsRef<std::ffi::OsStr>>(node: &Running, words: &[S]) -> Value {
    let mut command = Command::new(FRESHET);
    command.args(["--format", "json", "--url", &node.url(), "--timeout", "60s", "bench"]).args(words);
    let output = command.output().expect("freshet bench starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("a report")
}
