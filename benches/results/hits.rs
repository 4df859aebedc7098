//! Reads that L1 answers, beside the limit servers.

use super::{
    client::{Report, bench},
    figure::{Figure, Goal, Samples},
    pace::Pace,
    server::Server,
};

const CONNECTIONS: &str = "16";
const RATE: &str = "/answers_per_s";

/// Gets of hot keys at both depths, and of 100,000 keys drawn by Zipf's law.
pub fn run(pace: &Pace) -> Result<Vec<Figure>, String> {
    let yardsticks = ["tuned", "bare", "echo"].map(|name| (name, Server::limit(name)));
    let freshet = Server::memory_node();
    let mut figures = Vec::new();
    let goal = |name: &str, goal: Goal| if name == "tuned" { goal } else { Goal::None };
    let mut compare = |id: [&'static str; 3], title: &str, words: &[&str], fill: &[&str], ours: Goal| {
        bench(&freshet.url("/v1/ws"), &[&["get"][..], words, fill].concat(), &[], &Pace::QUICK)?;
        let mut samples = vec![Samples::default(); yardsticks.len()];
        let (mut own, mut last, mut others) = (Samples::default(), None, [const { None }; 3]);
        for _ in 0..pace.rounds {
            for (((_, server), samples), other) in yardsticks.iter().zip(&mut samples).zip(&mut others) {
                let words = [&["get", "--any-answer"][..], words].concat();
                let report = bench(&server.url("/v1/ws"), &words, &[server.pid()], pace)?;
                samples.0.push(rate(&report));
                *other = Some((report.usage(), report.cost_us(RATE)));
            }
            let report = bench(&freshet.url("/v1/ws"), &[&["get"][..], words].concat(), &[freshet.pid()], pace)?;
            own.0.push(rate(&report));
            last = Some(report);
        }
        let (usage, cost) = last.map_or((String::new(), f64::NAN), |last| (last.usage(), last.cost_us(RATE)));
        for (((id, (name, _)), samples), other) in id.into_iter().zip(&yardsticks).zip(samples).zip(others) {
            let (beside, other) = other.unwrap_or_default();
            figures.push(Figure {
                id,
                title: title.to_owned(),
                unit: "gets/s",
                freshet: own.clone(),
                yardstick: Some((limit_title(name).to_owned(), samples)),
                goal: goal(name, ours),
                costs_us: Some((cost, other)),
                usage: format!("{usage}; beside it client and server: {beside}"),
            });
        }
        Ok::<(), String>(())
    };
    compare(
        ["hits-16", "hits-16-bare", "hits-16-echo"],
        "L1 hits, 100 hot keys, 16 connections x 16 in flight",
        &["--connections", CONNECTIONS, "--in-flight", "16"],
        &["--fill"],
        Goal::RatioAtLeast(0.75, 0.85),
    )?;
    compare(
        ["hits-1", "hits-1-bare", "hits-1-echo"],
        "L1 hits, 100 hot keys, 16 connections x 1 in flight",
        &["--connections", CONNECTIONS, "--in-flight", "1"],
        &[],
        Goal::RatioAtLeast(0.95, 0.95),
    )?;
    compare(
        ["zipf-16", "zipf-16-bare", "zipf-16-echo"],
        "L1 hits, 100,000 keys, zipf 0.99, 16 connections x 16 in flight",
        &["--connections", CONNECTIONS, "--in-flight", "16", "--keys", "100000", "--zipf", "0.99"],
        &["--fill"],
        Goal::RatioAtLeast(0.45, 0.55),
    )?;
    Ok(figures)
}

/// What a yardstick is called in the document.
pub fn limit_title(name: &str) -> &'static str {
    match name {
        "tuned" => "tuned axum echo",
        "bare" => "bare epoll loop",
        _ => "plain axum echo",
    }
}

fn rate(report: &Report) -> f64 {
    report.number(RATE)
}
