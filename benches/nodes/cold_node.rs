//! A node that joins others and knows nothing yet.

use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::sleep;

use super::{
    figure::{Figure, Goal, Samples},
    node::Node,
    service::{DEFAULT, Service, Tier, connect, get},
};

/// Records that the others have read.
const HOT: usize = 5_000;
/// Gets at once.
const IN_FLIGHT: usize = 64;

/// The share of the hot set that Redis answers, and what it spares the database.
pub async fn run(service: &Service) -> Result<Vec<Figure>, String> {
    let quiet = Duration::from_secs(service.in_full(60, 12));
    let [mut hits, mut gets, mut with, mut without] = [const { Samples(Vec::new()) }; 4];
    for _ in 0..service.in_full(2, 1) {
        service.redis.flush()?;
        let others = [service.node(Tier::Shared, DEFAULT).await?, service.node(Tier::Shared, DEFAULT).await?];
        for (n, other) in others.iter().enumerate() {
            read(other, (0..HOT).filter(|key| key % 2 == n)).await?;
        }
        while service.redis.len()? < HOT as u64 {
            sleep(Duration::from_millis(20)).await;
        }
        sleep(quiet).await;
        for (tier, scans) in [(Tier::None, &mut without), (Tier::Shared, &mut with)] {
            let before = service.database.index_scans(None).await?;
            let node = service.node(tier, DEFAULT).await?;
            let answered = node.counters().await?.labelled("freshet_tiers_answers_total", "source", "shared");
            read(&node, 0..HOT).await?;
            if tier == Tier::Shared {
                let counters = node.counters().await?;
                let by_redis = counters.labelled("freshet_tiers_answers_total", "source", "shared") - answered;
                hits.0.push(by_redis as f64);
                gets.0.push(HOT as f64);
            }
            drop(node);
            service.database.told().await;
            scans.0.push((service.database.index_scans(None).await? - before) as f64);
        }
    }
    let seconds = quiet.as_secs();
    let figure = |id, title, unit, freshet, yardstick, goal| Figure {
        id,
        title,
        unit,
        freshet,
        yardstick: Some(yardstick),
        goal,
        costs_us: None,
        usage: String::new(),
    };
    Ok(vec![
        figure(
            "cold-node",
            format!("a third node, started {seconds} s after two others had read {HOT} records: what Redis answers it"),
            "gets",
            hits,
            ("gets, each key once".into(), gets),
            Goal::RatioAtLeast(0.9, 0.9),
        ),
        figure(
            "cold-node-scans",
            "looks into the products' indexes meanwhile, its start included".to_owned(),
            "scans",
            with,
            ("a third node without Redis".into(), without),
            Goal::RatioAtMost(0.1, 0.1),
        ),
    ])
}

async fn read(node: &Node, keys: impl Iterator<Item = usize>) -> Result<(), String> {
    let client = connect(node).await?;
    let gets = stream::iter(keys).map(|key| {
        let client = &client;
        async move { get(client, &format!("K{key:05}")).await }
    });
    gets.buffer_unordered(IN_FLIGHT).try_for_each(async |()| Ok(())).await?;
    client.close().await;
    Ok(())
}
