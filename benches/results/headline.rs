//! Three things a shop does, each by Freshet and by the naive build, durable, with the same client. All have both cores,
//! and Freshet its defaults.

use super::{
    ceiling,
    client::{Cores, bench_on},
    database::{Database, SHARDS},
    figure::{Figure, Goal, Samples},
    pace::Pace,
    server::Server,
};

const LOAD: [&str; 4] = ["--connections", "64", "--in-flight", "16"];
const ORDER: &str = r#"{"customer":"C%n","sku":"85123A","quantity":1,"total":295}"#;
const PAYMENT: &str = r#"{"status":"paid","payment":%n}"#;

/// A thing to do.
struct Deed<'a> {
    id: &'static str,
    title: &'static str,
    words: Vec<&'a str>,
    goal: Goal,
    /// Counts in a database what the answers claimed, if anything can be counted.
    count: Option<&'static str>,
    /// Measures what PostgreSQL does alone.
    alone: Option<ceiling::Measure>,
}

/// Product query, order create, payment callback.
pub fn run(database: &Database, pace: &Pace) -> Result<Vec<Figure>, String> {
    let keys = database.popular_keys()?.display().to_string();
    let deeds = [
        Deed {
            id: "query",
            title: "product query",
            words: vec!["get", "--keys-from", &keys, "--zipf", "0.99"],
            goal: Goal::RatioAtLeast(15.4, 50.0),
            count: None,
            alone: None,
        },
        Deed {
            id: "order",
            title: "order create",
            words: vec!["put", "--collection", "orders", "--value", ORDER],
            goal: Goal::RatioAtLeast(7.75, 15.0),
            count: Some("SELECT count(*) FROM orders"),
            alone: Some(ceiling::inserts),
        },
        Deed {
            id: "payment",
            title: "payment callback (idempotent patch)",
            words: vec!["patch", "--idempotent", "--collection", "orders", "--keys", "100000", "--value", PAYMENT],
            goal: Goal::RatioAtLeast(16.0, 30.0),
            count: None,
            alone: Some(ceiling::payments),
        },
    ];
    let freshet = Server::node_at_defaults(&database.url("freshet"), SHARDS);
    let naive = Server::naive(&database.url("naive"));
    let measured: Result<Vec<_>, _> = deeds.iter().map(|deed| deed.measure(database, &freshet, &naive, pace)).collect();
    Ok(measured?.concat())
}

impl Deed<'_> {
    fn measure(
        &self,
        database: &Database,
        freshet: &Server,
        naive: &Server,
        pace: &Pace,
    ) -> Result<Vec<Figure>, String> {
        let words = [&self.words[..], &LOAD].concat();
        let [mut own, mut other, mut alone] = [Samples::default(), Samples::default(), Samples::default()];
        let mut usage = String::new();
        let mut costs = [f64::NAN; 2];
        for _ in 0..pace.rounds {
            let sides = [("naive", naive, &mut other), ("freshet", freshet, &mut own)];
            for ((name, server, samples), cost) in sides.into_iter().zip(&mut costs) {
                let before = self.counted(database, name)?;
                let pids = [server.pid(), database.pid()];
                let report = bench_on(Cores::All, &server.url("/v1/ws"), &words, &pids, pace)?;
                // What was answered in the window must be there; the warm-up's writes are there too.
                let (made, answered) = (self.counted(database, name)? - before, report.number("/answers"));
                if self.count.is_some() && (made as f64) < answered {
                    return Err(format!("{}: {name} answered {answered} and made {made}", self.title));
                }
                samples.0.push(report.number("/answers_per_s"));
                *cost = report.cost_us("/answers_per_s");
                usage = report.usage();
            }
            if let Some(measure) = self.alone {
                alone.0.push(measure(database, pace)?);
            }
        }
        let figure = |yardstick: &str, samples, goal, costs_us| Figure {
            id: self.id,
            title: self.title.to_owned(),
            unit: "/s",
            freshet: own.clone(),
            yardstick: Some((yardstick.to_owned(), samples)),
            goal,
            costs_us,
            usage: usage.clone(),
        };
        let mut figures = vec![figure("naive build", other, self.goal, Some((costs[1], costs[0])))];
        if !alone.0.is_empty() {
            figures.push(figure("PostgreSQL alone, the same work in the same batches", alone, Goal::None, None));
        }
        Ok(figures)
    }

    fn counted(&self, database: &Database, name: &str) -> Result<i64, String> {
        self.count.map_or(Ok(0), |sql| database.number(name, sql))
    }
}
