//! Reads that Redis answers, beside `redis-benchmark` and beside reads that go to PostgreSQL.

use super::{
    client::{Cores, Report, bench_on},
    counters::Counters,
    figure::{Figure, Goal, Samples},
    node::Node,
    service::{Service, Tier, place},
};

/// So small an L1 keeps next to nothing of the records.
const NO_CACHE: &str = "64 KiB";
/// Records that are read, each as often as any other.
const KEYS: u64 = 20_000;
/// The least share of the records that Redis must have, and of the answers that must be its.
const SHARE: f64 = 0.98;
const RATE: &str = "/answers_per_s";

/// Connections of clients, and gets in flight on each.
struct Load {
    connections: &'static str,
    in_flight: &'static str,
}

const LOADS: [Load; 2] = [Load { connections: "64", in_flight: "16" }, Load { connections: "16", in_flight: "4" }];

/// Both loads, both yardsticks; on one core for the servers, and on all for everybody.
pub async fn run(service: &Service) -> Result<Vec<Figure>, String> {
    let mut figures = Vec::new();
    for cores in [Cores::Own, Cores::All] {
        service.have(cores)?;
        service.redis.flush()?;
        let (with, without) = (service.node(Tier::Shared, NO_CACHE).await?, service.node(Tier::None, NO_CACHE).await?);
        let mut hits = Hits { service, cores, with, without, name: String::new() };
        hits.fill()?;
        for load in &LOADS {
            figures.extend(hits.load(load).await?);
        }
    }
    service.have(Cores::Own)?;
    Ok(figures)
}

struct Hits<'s> {
    service: &'s Service,
    cores: Cores,
    with: Node,
    without: Node,
    /// Of a slot in Redis.
    name: String,
}

impl Hits<'_> {
    /// Fills Redis with the records, and with as many values as large for `redis-benchmark`.
    fn fill(&mut self) -> Result<(), String> {
        // What L1 has taken in before Redis had it stays out of Redis.
        while (self.service.redis.len()? as f64) < SHARE * KEYS as f64 {
            self.bench(&self.with, &LOADS[0])?;
        }
        let (name, bytes) = self.service.redis.slot("K0000?")?;
        self.service.redis.fill(&name, bytes)?;
        self.name = name;
        Ok(())
    }

    async fn load(&self, load: &Load) -> Result<[Figure; 2], String> {
        let [mut own, mut alone, mut misses, mut batches] = [const { Samples(Vec::new()) }; 4];
        let (mut usage, mut usage_of_misses) = (String::new(), String::new());
        let used = |report: &Report| format!("{}; {:.1} µs a get", report.usage(), report.cost_us(RATE));
        for _ in 0..self.service.pace.rounds {
            let (report, batch) = self.answered_by_redis(load).await?;
            own.0.push(report.number(RATE));
            batches.0.push(batch);
            usage = used(&report);
            alone.0.push(self.redis_alone(batch.round() as usize)?);
            let report = self.bench(&self.without, load)?;
            misses.0.push(report.number(RATE));
            usage_of_misses = used(&report);
        }
        let Load { connections, in_flight } = load;
        let (batch, place) = (batches.median(), place(self.cores));
        let title = format!(
            "reads answered by Redis, {connections} connections x {in_flight} in flight, {batch:.0} records an MGET, {place}"
        );
        let figure = |id, yardstick, goal, usage| Figure {
            id,
            title: title.clone(),
            unit: "gets/s",
            freshet: own.clone(),
            yardstick: Some(yardstick),
            goal: Goal::RatioAtLeast(goal, goal),
            costs_us: None,
            usage,
        };
        Ok([
            figure("hits", (format!("redis-benchmark, MGETs of {batch:.0}, one at a time"), alone), 0.8, usage),
            figure("hits-misses", ("PostgreSQL: the same without Redis".into(), misses), 3.0, usage_of_misses),
        ])
    }

    /// A measurement, and how many records an MGET was for.
    async fn answered_by_redis(&self, load: &Load) -> Result<(Report, f64), String> {
        let (before, mgets) = (self.with.counters().await?, self.service.redis.mgets()?);
        let report = self.bench(&self.with, load)?;
        let (after, mgets) = (self.with.counters().await?, self.service.redis.mgets()? - mgets);
        let more = |of: &dyn Fn(&Counters) -> u64| (of(&after) - of(&before)) as f64;
        let answers = "freshet_tiers_answers_total";
        let (by_redis, all) = (more(&|c| c.labelled(answers, "source", "shared")), more(&|c| c.sum(answers)));
        if by_redis < SHARE * all {
            return Err(format!("Redis answered {by_redis} of {all} reads"));
        }
        let looked_up = ["hit", "missed"]
            .map(|outcome| more(&|c: &Counters| c.labelled("freshet_shared_lookups_total", "outcome", outcome)));
        Ok((report, looked_up.iter().sum::<f64>() / mgets as f64))
    }

    fn bench(&self, node: &Node, load: &Load) -> Result<Report, String> {
        let keys = KEYS.to_string();
        let words = ["get", "--connections", load.connections, "--in-flight", load.in_flight, "--keys", &keys];
        let pids = [node.pid(), self.service.redis.pid(), self.service.database.pid()];
        bench_on(self.cores, &node.url(), &words, &pids, &self.service.pace)
    }

    /// As long as a node is measured, by the rate of a short run. A node asks for what waits in one MGET, and for the rest when
    /// that is answered: one for each slice, of which there is one.
    fn redis_alone(&self, batch: usize) -> Result<f64, String> {
        let benchmark = |mgets: f64| self.service.redis.benchmark(self.cores, &self.name, batch, mgets.ceil() as u64);
        let rate = benchmark(500.0)? / batch as f64;
        benchmark(rate * self.service.pace.seconds)
    }
}
