//! Which replays are made, and the page that shows them.

use bytesize::ByteSize;
use tokio::runtime::{Builder, Runtime};

use crate::{
    markdown::Table,
    models::{Lru, bound_by_weight, optimum},
    node::Node,
    replay::{Changes, Tally, Upkeep, replay},
    shop::{Shop, Sizes, sold_keys},
    trace::Trace,
};

/// Shares of a trace's keys that L1 has room for.
const SHARES: [(&str, f64); 3] = [("1 %", 0.01), ("5 %", 0.05), ("20 %", 0.2)];
/// Bounds in bytes; those that hold everything are left out.
const BOUNDS: [ByteSize; 4] = [ByteSize::kib(256), ByteSize::mib(1), ByteSize::mib(4), ByteSize::mib(16)];
/// The room in the replays with expiry and changes.
const UPKEEP_SHARE: f64 = 0.05;
/// By how much, in percent, LRU has to be better to be named: below is what two runs differ by.
const NOTABLE: f64 = 0.3;

/// A trace with its records, and the replays of it.
struct Bench<'a> {
    name: &'a str,
    trace: &'a Trace,
    runtime: Runtime,
    shop: Shop,
    weights: Vec<u64>,
}

impl<'a> Bench<'a> {
    fn new(name: &'a str, trace: &'a Trace, sizes: Sizes) -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        let shop = Shop::new(&runtime, trace.distinct, sizes);
        let mut weights = shop.weights.clone();
        if sizes == Sizes::Equal {
            // Versions differ in their digits, and so entries by a few bytes, which a number of entries must not show.
            let most = weights.iter().copied().max().expect("a trace has keys");
            weights.fill(most);
        }
        Bench { name, trace, runtime, shop, weights }
    }

    fn node(&mut self, capacity: u64, upkeep: &Upkeep<'_>) -> Tally {
        replay(self.trace, upkeep, &mut Node::new(&self.runtime, &mut self.shop, capacity))
    }

    fn lru(&self, capacity: u64, upkeep: &Upkeep<'_>) -> Tally {
        replay(self.trace, upkeep, &mut Lru::new(capacity, &self.weights))
    }

    fn without_bound(&self, upkeep: &Upkeep<'_>) -> Tally {
        replay(self.trace, upkeep, &mut Lru::without_bound(&self.weights))
    }

    /// L1, LRU and the two limits; `best` is what no policy exceeds in this room.
    fn row(&mut self, room: &str, capacity: u64, best: f64, table: &mut Table, worse: &mut Vec<String>) {
        let undisturbed = Upkeep::default();
        let (node, lru) = (self.node(capacity, &undisturbed).hit_rate(), self.lru(capacity, &undisturbed).hit_rate());
        let ceiling = self.without_bound(&undisturbed).hit_rate();
        assert!(node <= ceiling && lru <= best, "{} at {room}: a limit is exceeded", self.name);
        if lru - node >= NOTABLE {
            worse.push(format!("{} at {room} ({:.1} points)", self.name, lru - node));
        }
        table.row([self.name, room], [node, lru, best, ceiling]);
    }
}

/// Replays everything and writes the page.
pub fn report(traces: &[(String, Trace)]) -> String {
    let mut worse = Vec::new();
    let by_count = by_count(traces, &mut worse);
    let by_bytes = by_bytes(traces, &mut worse);
    let upkeep = with_upkeep(traces);
    let verdict = if worse.is_empty() {
        format!("LRU is nowhere better than L1 by {NOTABLE} points or more.")
    } else {
        format!("LRU is better than L1 by {NOTABLE} points or more on {}.", worse.join(", "))
    };
    let traces = trace_table(traces);
    include_str!("page.md")
        .replace("{traces}", &traces)
        .replace("{by_count}", &by_count.to_string())
        .replace("{by_bytes}", &by_bytes.to_string())
        .replace("{upkeep}", &upkeep.to_string())
        .replace("{verdict}", &verdict)
}

fn trace_table(traces: &[(String, Trace)]) -> String {
    let mut text = String::from("| trace | accesses | distinct keys |\n| --- | ---: | ---: |\n");
    for (name, trace) in traces {
        text.push_str(&format!("| {name} | {} | {} |\n", trace.accesses.len(), trace.distinct));
    }
    text
}

fn by_count(traces: &[(String, Trace)], worse: &mut Vec<String>) -> Table {
    let mut table = Table::new(&["trace", "room for", "L1", "LRU", "optimum", "no bound"]);
    for (name, trace) in traces {
        let mut bench = Bench::new(name, trace, Sizes::Equal);
        for (label, share) in SHARES {
            let entries = (share * trace.distinct as f64) as usize;
            let capacity = entries as u64 * bench.weights[0];
            bench.row(label, capacity, optimum(trace, entries), &mut table, worse);
        }
    }
    table
}

fn by_bytes(traces: &[(String, Trace)], worse: &mut Vec<String>) -> Table {
    let mut table = Table::new(&["trace", "room for", "L1", "LRU", "at most", "no bound"]);
    for (name, trace) in traces {
        let mut bench = Bench::new(name, trace, Sizes::Catalogue);
        let whole: u64 = bench.weights.iter().sum();
        for capacity in BOUNDS.map(|bound| bound.as_u64()).into_iter().filter(|&bound| bound < whole) {
            let label =
                format!("{} of {:.1} MiB", ByteSize::b(capacity), whole as f64 / ByteSize::mib(1).as_u64() as f64);
            let best = bound_by_weight(trace, capacity, &bench.weights);
            bench.row(&label, capacity, best, &mut table, worse);
        }
    }
    table
}

fn with_upkeep(traces: &[(String, Trace)]) -> Table {
    let columns = ["trace", "upkeep", "L1", "L1: store reads", "LRU", "LRU: store reads", "no bound"];
    let mut table = Table::new(&columns);
    for (name, trace) in traces {
        let mut bench = Bench::new(name, trace, Sizes::Equal);
        let capacity = (UPKEEP_SHARE * trace.distinct as f64) as u64 * bench.weights[0];
        let sold = sold_keys(trace);
        let (long, short) = (Some(trace.accesses.len() / 10), Some(trace.accesses.len() / 100));
        let changes = |every| Some(Changes { every, keys: &sold });
        for (label, ttl, changes) in [
            ("none", None, None),
            ("expiry after 10 %", long, None),
            ("expiry after 1 %", short, None),
            ("a change every 100 reads", None, changes(100)),
            ("a change every 10 reads", None, changes(10)),
            ("expiry after 10 %, a change every 10 reads", long, changes(10)),
        ] {
            let upkeep = Upkeep { ttl, changes };
            let (node, lru) = (bench.node(capacity, &upkeep), bench.lru(capacity, &upkeep));
            let figures = [node.hit_rate(), node.store_reads(), lru.hit_rate(), lru.store_reads()];
            table.row([name, label], figures.into_iter().chain([bench.without_bound(&upkeep).hit_rate()]));
        }
    }
    table
}
