//! A node that has just started and knows nothing: how fast its L1 fills under reads drawn by Zipf's law.

use serde::Serialize;
use serde_json::Value;

use super::{
    client::bench,
    database::Database,
    figure::{Figure, Goal, Samples},
    pace::Pace,
    server::Server,
};

/// A moment after the start.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Moment {
    pub seconds: f64,
    pub per_second: f64,
}

/// The seconds until nine tenths of the final rate, and the course of the last round.
pub fn run(database: &Database, pace: &Pace) -> Result<(Vec<Figure>, Vec<Moment>), String> {
    let words = ["get", "--in-flight", "16", "--keys", "100000", "--zipf", "0.99"];
    let (mut samples, mut course, mut usage) = (Samples::default(), Vec::new(), String::new());
    for _ in 0..pace.rounds.min(3) {
        let node = Server::node(&database.url("freshet"), &[]);
        let pids = [node.pid(), database.pid()];
        let report = bench(&node.url("/v1/ws"), &words, &pids, &pace.lasting(10.0).cold())?;
        course = moments(&report.0["series"]);
        usage = report.usage();
        samples.0.push(until_warm(&course));
    }
    let figure = Figure {
        id: "cold",
        title: "cold start, 100,000 keys, zipf 0.99: until nine tenths of the final rate".to_owned(),
        unit: "s",
        freshet: samples,
        yardstick: None,
        goal: Goal::None,
        costs_us: None,
        usage,
    };
    Ok((vec![figure], course))
}

fn moments(series: &Value) -> Vec<Moment> {
    let number = |point: &Value, name: &str| point[name].as_f64().unwrap_or_default();
    let moment = |point| Moment { seconds: number(point, "at_ms") / 1e3, per_second: number(point, "answers_per_s") };
    series.as_array().into_iter().flatten().map(moment).collect()
}

fn until_warm(course: &[Moment]) -> f64 {
    let last = &course[course.len() - course.len() / 5 - 1..];
    let settled = last.iter().map(|moment| moment.per_second).sum::<f64>() / last.len() as f64;
    let warm = course.iter().find(|moment| moment.per_second >= 0.9 * settled);
    warm.map_or(f64::NAN, |moment| moment.seconds)
}
