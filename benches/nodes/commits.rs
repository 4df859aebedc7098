//! How long a commit takes to sockets on another node.

use super::{
    client::{Cores, Report, bench_on},
    figure::{Figure, Goal, Samples},
    node::Node,
    service::{DEFAULT, Service, Tier, place},
};

/// From a write's answer, which follows its commit, to the socket, in microseconds.
const TIMES: [&str; 2] = ["/after_answer/p50_us", "/after_answer/p99_us"];
const GOALS_MS: [f64; 2] = [6.0, 15.0];

/// Who writes.
#[derive(Clone, Copy)]
enum Writer {
    OtherNode,
    Psql,
}

/// Changes written through another node, and by psql, with Redis and without; on one core for the servers, and on all for
/// everybody.
pub async fn run(service: &Service) -> Result<Vec<Figure>, String> {
    let mut figures = Vec::new();
    for cores in [Cores::Own, Cores::All] {
        service.have(cores)?;
        figures.extend(on(service, cores).await?);
    }
    service.have(Cores::Own)?;
    Ok(figures)
}

async fn on(service: &Service, cores: Cores) -> Result<Vec<Figure>, String> {
    let mut figures = Vec::new();
    let ways = [
        (Writer::OtherNode, ["commits-p50", "commits-p99"], "written through a node, to sockets on another"),
        (Writer::Psql, ["psql-p50", "psql-p99"], "written by psql, to sockets on one of three nodes"),
    ];
    for (writer, ids, way) in ways {
        let mut times = [const { [const { Samples(Vec::new()) }; 2] }; 2];
        let mut usage = String::new();
        for _ in 0..service.in_full(3, 1) {
            for (tier, times) in [Tier::None, Tier::Shared].into_iter().zip(&mut times) {
                let report = measure(service, cores, tier, writer).await?;
                TIMES.iter().zip(times).for_each(|(path, times)| times.0.push(report.number(path) / 1e3));
                usage = report.usage();
            }
        }
        let [without, with] = times;
        for (((id, goal), name), (with, without)) in
            ids.into_iter().zip(GOALS_MS).zip(["p50", "p99"]).zip(with.into_iter().zip(without))
        {
            figures.push(Figure {
                id,
                title: format!("1,000 changes/s {way}, {}, {name}", place(cores)),
                unit: "ms",
                freshet: with,
                yardstick: Some(("without Redis".into(), without)),
                goal: Goal::AtMost(goal, goal),
                costs_us: None,
                usage: usage.clone(),
            });
        }
    }
    Ok(figures)
}

/// 1,000 records, each watched by one connection.
async fn measure(service: &Service, cores: Cores, tier: Tier, writer: Writer) -> Result<Report, String> {
    let nodes = service.nodes(tier, DEFAULT).await?;
    let (write_url, database_url) = (nodes[0].url(), service.database.url());
    let mut words = match writer {
        Writer::OtherNode => vec!["fan-out", "--subscribers", "1000", "--write-url", &write_url],
        Writer::Psql => vec!["latency", "--writers", "4", "--database-url", &database_url],
    };
    words.extend(["--keys", "1000", "--rate", "1000"]);
    let mut pids: Vec<u32> = nodes.iter().map(Node::pid).collect();
    pids.extend([service.redis.pid(), service.database.pid()]);
    bench_on(cores, &nodes[1].url(), &words, &pids, &service.pace.lasting(5.0))
}
