//! Durable writes at the defaults that are shipped, at moderate load and at high: both cores for everybody, 64 shards,
//! beside pgbench's same UPDATE of a plain table, neither partitioned nor tracked, on the same server.

use super::{
    client::{self, Cores, Report, bench_on},
    database::{Database, Script, Transactions},
    figure::{Figure, Goal, Samples},
    link::Link,
    pace::Pace,
    server::Server,
};

/// A load of `freshet bench patch`, and the clients of pgbench beside it.
struct Load {
    id: &'static str,
    connections: &'static str,
    in_flight: &'static str,
    keys: &'static str,
    clients: &'static [u32],
    goals: (f64, f64),
}

const LOADS: [Load; 4] = [
    Load { id: "writes-16x1", connections: "16", in_flight: "1", keys: "10000", clients: &[16], goals: (0.6, 1.0) },
    Load { id: "writes-64x1", connections: "64", in_flight: "1", keys: "10000", clients: &[64], goals: (1.0, 1.5) },
    Load {
        id: "writes-64x16",
        connections: "64",
        in_flight: "16",
        keys: "10000",
        clients: &[16, 64],
        goals: (2.0, 3.0),
    },
    Load { id: "writes-hot", connections: "16", in_flight: "4", keys: "1", clients: &[64], goals: (3.0, 6.0) },
];

/// The UPDATE of any of the rows, and of one.
const UPDATE: &str = "\\set n random(0, 9999)\n\\set s random(0, 1000000)\n\
                      UPDATE products SET stock = :s WHERE sku = 'K' || lpad(:n::text, 5, '0');";
const UPDATE_HOT: &str = "\\set s random(0, 1000000)\nUPDATE products SET stock = :s WHERE sku = 'K00000';";

/// What the client beside the others writes.
const GOOD: &str = r#"{"stock":%n}"#;
const REFUSED: &str = r#"{"stock":-1}"#;

/// All figures, on 64 shards and on one.
pub fn run(pace: &Pace) -> Result<Vec<Figure>, String> {
    let mut figures = Vec::new();
    for shards in [64, 1] {
        let database = Database::for_writes(shards)?;
        let writes = Writes { database: &database, shards, pace };
        for load in &LOADS {
            figures.extend(writes.load(load)?);
        }
        figures.push(writes.beside_refusals()?);
        if shards == 64 {
            figures.push(writes.over_a_link()?);
            figures.extend(writes.tracking()?);
        }
    }
    Ok(figures)
}

struct Writes<'a> {
    database: &'a Database,
    shards: u32,
    pace: &'a Pace,
}

impl Writes<'_> {
    fn node(&self, url: &str) -> Server {
        Server::node_at_defaults(url, self.shards)
    }

    fn place(&self) -> &'static str {
        if self.shards == 1 { "1 shard (default: 64)" } else { "64 shards" }
    }

    fn bench(&self, node: &Server, load: &Load) -> Result<Report, String> {
        let words = ["patch", "--connections", load.connections, "--in-flight", load.in_flight, "--keys", load.keys];
        bench_on(Cores::All, &node.url("/v1/ws"), &words, &[node.pid(), self.database.pid()], self.pace)
    }

    fn update(&self, database: &str, sql: &str, clients: u32) -> Result<Transactions, String> {
        self.database.transactions(&Script { sql, ..Script::on(database, "update", clients) }, self.pace)
    }

    /// A load beside pgbench's, and its median time beside pgbench's.
    fn load(&self, load: &Load) -> Result<Vec<Figure>, String> {
        let script = if load.keys == "1" { UPDATE_HOT } else { UPDATE };
        let node = self.node(&self.database.url("freshet"));
        let [mut own, mut other, mut own_p50, mut other_p50] = [const { Samples(Vec::new()) }; 4];
        let mut usage = String::new();
        for _ in 0..self.pace.rounds {
            let runs: Result<Vec<_>, _> =
                load.clients.iter().map(|&clients| self.update("plain", script, clients)).collect();
            let best = runs?.into_iter().max_by(|a, b| a.per_second.total_cmp(&b.per_second)).ok_or("no client")?;
            other.0.push(best.per_second);
            other_p50.0.push(best.latency_ms);
            let report = self.bench(&node, load)?;
            own.0.push(report.number("/answers_per_s"));
            own_p50.0.push(report.number("/latency/p50_us") / 1e3);
            usage = report.usage();
        }
        let what = if load.keys == "1" { "one hot row" } else { "10,000 rows" };
        let title = format!(
            "durable patches of {what}, {} connections x {} in flight, {}",
            load.connections,
            load.in_flight,
            self.place()
        );
        let clients: Vec<String> = load.clients.iter().map(u32::to_string).collect();
        let yardstick = format!("pgbench, plain table, {} clients", clients.join(" or "));
        let mut figures = vec![Figure {
            id: load.id,
            title: title.clone(),
            unit: "writes/s",
            freshet: own,
            yardstick: Some((yardstick.clone(), other)),
            goal: Goal::RatioAtLeast(load.goals.0, load.goals.1),
            costs_us: None,
            usage: usage.clone(),
        }];
        if load.id == "writes-16x1" {
            figures.push(Figure {
                id: "writes-p50",
                title: format!("p50 of {title}"),
                unit: "ms",
                freshet: own_p50,
                yardstick: Some((format!("{yardstick}, mean"), other_p50)),
                goal: Goal::RatioAtMost(2.0, 1.0),
                costs_us: None,
                usage,
            });
        }
        Ok(figures)
    }

    /// What one refused write for each hundred good ones costs these: their rate, in turns beside a client whose writes are
    /// refused and beside the same client with good ones, which has as much of the processor.
    fn beside_refusals(&self) -> Result<Figure, String> {
        let node = self.node(&self.database.url("freshet"));
        let load = &LOADS[2];
        let [mut with, mut without, mut p99_with, mut p99_without] = [const { Samples(Vec::new()) }; 4];
        let mut rate = Some(self.bench(&node, load)?.number("/answers_per_s") / 100.0);
        for _ in 0..self.pace.rounds {
            let rate = rate.take().unwrap_or(without.median() / 100.0).ceil().max(1.0);
            for (value, rates, p99s) in [(GOOD, &mut without, &mut p99_without), (REFUSED, &mut with, &mut p99_with)] {
                let other = client::patches(&node.url("/v1/ws"), value, rate, self.pace)?;
                let beside = self.bench(&node, load);
                drop(other);
                let beside = beside?;
                rates.0.push(beside.number("/answers_per_s"));
                p99s.0.push(beside.number("/latency/p99_us"));
            }
        }
        let p99 = p99_with.median() / p99_without.median();
        Ok(Figure {
            id: "writes-refused",
            title: format!(
                "durable patches, 64 x 16, beside a client of 1 % of their rate whose writes a CHECK refuses, {} (p99 {p99:.2} times)",
                self.place()
            ),
            unit: "writes/s",
            freshet: with,
            yardstick: Some(("beside the same client with good writes".into(), without)),
            goal: Goal::RatioAtLeast(0.9, 1.0),
            costs_us: None,
            usage: String::new(),
        })
    }

    /// The highest load over a link that delays each way by 1 ms.
    fn over_a_link(&self) -> Result<Figure, String> {
        let link = Link::start(self.database.socket()?)?;
        let far = self.node(&link.url("freshet"));
        let near = self.node(&self.database.url("freshet"));
        let [mut own, mut local] = [const { Samples(Vec::new()) }; 2];
        for _ in 0..self.pace.rounds {
            local.0.push(self.bench(&near, &LOADS[2])?.number("/answers_per_s"));
            own.0.push(self.bench(&far, &LOADS[2])?.number("/answers_per_s"));
        }
        Ok(Figure {
            id: "writes-far",
            title: "durable patches, 64 x 16, database behind 1 ms each way (default: local), 64 shards".into(),
            unit: "writes/s",
            freshet: own,
            yardstick: Some(("local".into(), local)),
            goal: Goal::RatioAtLeast(0.5, 1.0),
            costs_us: None,
            usage: String::new(),
        })
    }

    /// What tracking costs a writer that is no node.
    fn tracking(&self) -> Result<Vec<Figure>, String> {
        let by_key = |table: &str| {
            format!(
                "\\set n random(0, 99)\n\\set s random(0, 1000000)\n\
                 UPDATE {table} SET stock = :s WHERE sku = (SELECT sku FROM first_keys WHERE n = :n);"
            )
        };
        let ways = [
            ("the table", UPDATE.to_owned(), UPDATE.to_owned()),
            ("a partition, one of 100 rows", by_key("products_000"), by_key("products")),
        ];
        let mut figures = Vec::new();
        for (way, script, plain_script) in ways {
            let [mut tracked, mut plain] = [const { Samples(Vec::new()) }; 2];
            for _ in 0..self.pace.rounds {
                plain.0.push(self.update("plain", &plain_script, 16)?.per_second);
                tracked.0.push(self.update("freshet", &script, 16)?.per_second);
            }
            figures.push(Figure {
                id: "tracking",
                title: format!("another program's UPDATE of a tracked row, naming {way}: pgbench, 16 clients, no node"),
                unit: "writes/s",
                freshet: tracked,
                yardstick: Some(("the same, plain table".into(), plain)),
                goal: Goal::None,
                costs_us: None,
                usage: String::new(),
            });
        }
        Ok(figures)
    }
}
