//! Changes on their way to many subscribers, beside the limit servers' broadcasts.

use super::{
    client::{Report, bench},
    figure::{Figure, Goal, Samples},
    hits::limit_title,
    pace::Pace,
    server::Server,
};

const SUBSCRIBERS: &str = "1000";
const DELIVERED: &str = "/delivered_per_s";
/// Writes a second: below, at, and far above what one core delivers to 1,000 sockets.
pub const RATES: [u32; 6] = [250, 500, 1_000, 2_000, 4_000, 8_000];

/// A server and where its watchers and writers connect.
struct Side {
    server: Server,
    watch: &'static str,
    say: &'static str,
}

impl Side {
    fn limit(name: &str) -> Self {
        Side { server: Server::limit(name), watch: "/watch", say: "/say" }
    }

    fn freshet() -> Self {
        Side { server: Server::memory_node(), watch: "/v1/ws", say: "/v1/ws" }
    }

    fn run(&self, rate: u32, more: &[&str], pace: &Pace) -> Result<Report, String> {
        let (rate, write_url) = (rate.to_string(), self.server.url(self.say));
        let words = ["fan-out", "--rate", &rate, "--write-url", &write_url];
        bench(&self.server.url(self.watch), &[&words[..], more].concat(), &[self.server.pid()], pace)
    }

    fn fill(&self) -> Result<(), String> {
        self.run(20, &["--subscribers", "1", "--fill"], &Pace::QUICK).map(drop)
    }
}

/// A point of the sweep: what each side delivered of what was offered.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Offered {
    pub rate: u32,
    pub freshet: Delivered,
    pub tuned: Delivered,
}

/// What one side delivered.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Delivered {
    pub per_second: Samples,
    /// Of the states offered.
    pub share: Samples,
    /// Processor time of the server for a state delivered.
    pub cost_us: Samples,
}

impl Delivered {
    fn add(&mut self, report: &Report) {
        self.per_second.0.push(report.number(DELIVERED));
        self.share.0.push(report.number("/states_per_offered"));
        self.cost_us.0.push(report.cost_us(DELIVERED));
    }

    fn line(&self) -> String {
        let [states, share, cost] = [&self.per_second, &self.share, &self.cost_us].map(Samples::median);
        format!("{states:.0}/s, {share:.3} of them, {cost:.2} us each")
    }
}

impl Offered {
    /// For whoever watches the run.
    pub fn line(&self) -> String {
        format!("  {}/s offered: freshet {}; tuned {}", self.rate, self.freshet.line(), self.tuned.line())
    }
}

/// Saturated and at 20 writes/s to 1,000 subscribers; a get during bursts to 10,000.
pub fn run(pace: &Pace) -> Result<(Vec<Figure>, Vec<Offered>), String> {
    let (tuned, bare, freshet) = (Side::limit("tuned"), Side::limit("bare"), Side::freshet());
    freshet.fill()?;
    let many = ["--subscribers", SUBSCRIBERS];
    let (sweep, usage) = sweep(&tuned, &freshet, &many, pace)?;
    // The rate at which a side delivers most: neither is judged by where the other one is best.
    let best = |side: fn(&Offered) -> &Delivered| {
        let best = sweep.iter().map(side).max_by(|a, b| a.per_second.median().total_cmp(&b.per_second.median()));
        best.cloned().unwrap_or_default()
    };
    let own = best(|offered| &offered.freshet);
    let other = best(|offered| &offered.tuned);
    let mut figures = vec![Figure {
        id: "fan-out",
        title: "fan-out to 1,000 subscribers, saturated".to_owned(),
        unit: "states/s",
        costs_us: Some((own.cost_us.median(), other.cost_us.median())),
        freshet: own.per_second,
        yardstick: Some(("tuned axum broadcast".to_owned(), other.per_second)),
        goal: Goal::RatioAtLeast(1.1, 1.25),
        usage,
    }];
    figures.extend(delivery(&tuned, &bare, &freshet, &many, pace)?);
    figures.push(burst(&freshet, pace)?);
    Ok((figures, sweep))
}

fn sweep(tuned: &Side, freshet: &Side, many: &[&str], pace: &Pace) -> Result<(Vec<Offered>, String), String> {
    let (mut sweep, mut usage) = (Vec::new(), String::new());
    let pace = Pace { rounds: pace.rounds.min(3), ..*pace };
    for rate in RATES {
        let mut offered = Offered { rate, ..Offered::default() };
        for _ in 0..pace.rounds {
            offered.tuned.add(&tuned.run(rate, many, &pace)?);
            let report = freshet.run(rate, many, &pace)?;
            offered.freshet.add(&report);
            usage = report.usage();
        }
        sweep.push(offered);
    }
    Ok((sweep, usage))
}

/// Delivery times at 20 writes/s.
fn delivery(tuned: &Side, bare: &Side, freshet: &Side, many: &[&str], pace: &Pace) -> Result<Vec<Figure>, String> {
    let p99 = |report: &Report| report.number("/latency/p99_us") / 1e3;
    let (mut by_tuned, mut by_bare, mut own) = (Samples::default(), Samples::default(), Samples::default());
    let mut usage = String::new();
    for _ in 0..pace.rounds {
        by_bare.0.push(p99(&bare.run(20, many, pace)?));
        by_tuned.0.push(p99(&tuned.run(20, many, pace)?));
        let report = freshet.run(20, many, pace)?;
        own.0.push(p99(&report));
        usage = report.usage();
    }
    let figure = |id, name: &str, samples, goal| Figure {
        id,
        title: "delivery p99 at 20 writes/s to 1,000 subscribers".to_owned(),
        unit: "ms",
        freshet: own.clone(),
        yardstick: Some((limit_title(name).to_owned(), samples)),
        goal,
        costs_us: None,
        usage: usage.clone(),
    };
    Ok(vec![
        figure("delivery", "bare", by_bare, Goal::RatioAtMost(1.3, 1.3)),
        figure("delivery-tuned", "tuned", by_tuned, Goal::None),
    ])
}

fn burst(freshet: &Side, pace: &Pace) -> Result<Figure, String> {
    let (mut samples, mut usage) = (Samples::default(), String::new());
    for _ in 0..pace.rounds.min(3) {
        let report = freshet.run(2, &["--subscribers", "10000", "--probe", "500"], &pace.lasting(5.0))?;
        samples.0.push(report.number("/probe_busy/p99_us") / 1e3);
        usage = report.usage();
    }
    Ok(Figure {
        id: "burst",
        title: "a get's p99 on another connection during bursts to 10,000 subscribers".to_owned(),
        unit: "ms",
        freshet: samples,
        yardstick: None,
        goal: Goal::AtMost(5.0, 5.0),
        costs_us: None,
        usage,
    })
}
