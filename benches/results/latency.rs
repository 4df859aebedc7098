//! How long a commit takes to the sockets that watch, by whom it was made.

use super::{
    client::bench,
    database::Database,
    figure::{Figure, Goal, Samples},
    pace::Pace,
    server::Server,
};

/// Own writes and those of psql.
pub fn run(database: &Database, pace: &Pace) -> Result<Vec<Figure>, String> {
    let url = database.url("freshet");
    let node = Server::node(&url, &[]);
    let own = ["latency", "--keys", "1000", "--rate", "100"];
    let foreign = ["latency", "--keys", "1000", "--rate", "1000", "--writers", "4", "--database-url", &url];
    let mut samples = vec![Samples::default(); 3];
    let (mut own_usage, mut foreign_usage) = (String::new(), String::new());
    for _ in 0..pace.rounds.min(3) {
        let pids = [node.pid(), database.pid()];
        let report = bench(&node.url("/v1/ws"), &own, &pids, pace)?;
        samples[0].0.push(report.number("/latency/p50_us") / 1e3);
        own_usage = report.usage();
        let report = bench(&node.url("/v1/ws"), &foreign, &pids, &pace.lasting(5.0))?;
        samples[1].0.push(report.number("/after_answer/p50_us") / 1e3);
        samples[2].0.push(report.number("/after_answer/p99_us") / 1e3);
        foreign_usage = report.usage();
    }
    let figure = |id, title: &str, samples: &Samples, goal: f64, usage: &str| Figure {
        id,
        title: title.to_owned(),
        unit: "ms",
        freshet: samples.clone(),
        yardstick: None,
        goal: Goal::AtMost(goal, goal),
        costs_us: None,
        usage: usage.to_owned(),
    };
    Ok(vec![
        figure(
            "own",
            "own writes, from sending them to the socket that watches, p50, 100/s",
            &samples[0],
            2.0,
            &own_usage,
        ),
        figure("foreign-p50", "psql's commits to the socket, p50, 1,000 changes/s", &samples[1], 10.0, &foreign_usage),
        figure("foreign-p99", "psql's commits to the socket, p99, 1,000 changes/s", &samples[2], 35.0, &foreign_usage),
    ])
}
