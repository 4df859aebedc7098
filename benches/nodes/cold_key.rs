//! A key that no cache has, and that many clients of all nodes ask for at once.

use futures_util::future::try_join_all;

use super::{
    figure::{Figure, Goal, Samples},
    service::{DEFAULT, Service, Tier, connect, get},
};

/// Clients, spread over the nodes, and gets of each at once.
const CLIENTS: usize = 25;
const GETS: usize = 40;
/// Keys of a round, each in a partition of its own, whose index PostgreSQL counts apart.
const KEYS: usize = 20;

/// Reads of the database for 1,000 gets of one cold key, with Redis and without.
pub async fn run(service: &Service) -> Result<Vec<Figure>, String> {
    let [mut with, mut without] = [const { Samples(Vec::new()) }; 2];
    for round in 0..service.in_full(3, 1) {
        for (place, (tier, samples)) in [(Tier::Shared, &mut with), (Tier::None, &mut without)].into_iter().enumerate()
        {
            samples.0.extend(reads(service, tier, round * 2 + place).await?);
        }
    }
    Ok(vec![Figure {
        id: "cold-key",
        title: format!(
            "reads of the database for {} gets of one cold key on three nodes, at once; the most of {KEYS} keys",
            CLIENTS * GETS
        ),
        unit: "reads",
        freshet: with,
        yardstick: Some(("without Redis".into(), without)),
        goal: Goal::AtMost(2.0, 1.0),
        costs_us: None,
        usage: String::new(),
    }])
}

/// The most reads of any of a round's keys. Each round has keys of its own.
async fn reads(service: &Service, tier: Tier, round: usize) -> Result<Option<f64>, String> {
    let nodes = service.nodes(tier, DEFAULT).await?;
    let mut clients = Vec::new();
    for n in 0..CLIENTS {
        clients.push(connect(&nodes[n % nodes.len()]).await?);
    }
    let keys = service.database.cold_keys(round).await?.into_iter().take(KEYS);
    service.database.told().await;
    let mut before = Vec::new();
    for (key, partition) in keys {
        let scans = service.database.index_scans(Some(&partition)).await?;
        before.push((key, partition, scans));
    }
    for (key, ..) in &before {
        let gets = clients.iter().flat_map(|client| (0..GETS).map(move |_| get(client, key)));
        try_join_all(gets).await?;
    }
    service.database.told().await;
    let mut most = None;
    for (key, partition, before) in before {
        let reads = service.database.index_scans(Some(&partition)).await? - before;
        if reads == 0 {
            return Err(format!("no node read {key}: it was not cold"));
        }
        most = most.max(Some(reads));
    }
    Ok(most.map(|most| most as f64))
}
