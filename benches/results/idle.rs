//! Memory of connections that watch a record and do nothing.

use super::{
    client::bench,
    figure::{Figure, Goal, Samples},
    pace::Pace,
    server::Server,
};

/// 10,000 connections, each watching one of 100 records.
pub fn run(pace: &Pace) -> Result<Vec<Figure>, String> {
    let mut samples = Samples::default();
    for _ in 0..pace.rounds.min(3) {
        let node = Server::memory_node();
        let words = ["idle", "--fill", "--connections", "10000"];
        samples.0.push(bench(&node.url("/v1/ws"), &words, &[node.pid()], pace)?.number("/bytes_per_connection"));
    }
    Ok(vec![Figure {
        id: "idle",
        title: "memory of an idle subscribed connection, over 10,000".to_owned(),
        unit: "bytes",
        freshet: samples,
        yardstick: None,
        goal: Goal::AtMost(4096.0, 2458.0),
        costs_us: None,
        usage: String::new(),
    }])
}
