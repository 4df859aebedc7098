//! One record that is watched on every node, and changed behind their backs.

use freshet::client::Subscription;
use sqlx::{AssertSqlSafe, PgConnection};

use super::{
    counters::over,
    figure::{Figure, Goal, Samples},
    service::{DEFAULT, Service, Tier, connect},
};

const KEY: &str = "K00009";

/// Loads of the record for each change, with Redis and without. A change follows when all three have shown the one before.
pub async fn run(service: &Service) -> Result<Vec<Figure>, String> {
    let changes = service.in_full(1_000, 200);
    let [mut with, mut without, mut counted] = [const { Samples(Vec::new()) }; 3];
    for _ in 0..service.in_full(3, 1) {
        for (tier, samples) in [(Tier::None, &mut without), (Tier::Shared, &mut with)] {
            let (loads, scans) = loads(service, tier, changes).await?;
            samples.0.push(loads);
            counted.0.extend(scans);
        }
    }
    let figure = |id, title: String, freshet, yardstick, goal| Figure {
        id,
        title,
        unit: "loads a change",
        freshet,
        yardstick,
        goal,
        costs_us: None,
        usage: String::new(),
    };
    let title = format!("one record changed {changes} times, watched on three nodes");
    Ok(vec![
        figure("watched", title.clone(), with, Some(("without Redis".into(), without)), Goal::AtMost(1.2, 1.2)),
        figure("watched-scans", format!("{title}: by PostgreSQL's counters"), counted, None, Goal::AtMost(1.2, 1.2)),
    ])
}

/// Loads for each change: as the nodes count them, and with Redis as PostgreSQL does, without the looks of the changes themselves.
async fn loads(service: &Service, tier: Tier, changes: u32) -> Result<(f64, Option<f64>), String> {
    let nodes = service.nodes(tier, DEFAULT).await?;
    let (mut clients, mut watchers) = (Vec::new(), Vec::new());
    for node in &nodes {
        let client = connect(node).await?;
        watchers.push(client.subscribe("products", &[KEY], []).await.map_err(|error| error.to_string())?);
        clients.push(client);
    }
    let mut session = service.database.session().await?;
    let first = stock(&mut session).await?;
    for watcher in &mut watchers {
        shown(watcher, first).await?;
    }
    let scans = scans(service, tier).await?;
    let reads = |counters: &super::counters::Counters| counters.sum("freshet_store_reads_total");
    let before = over(&nodes, reads).await?;
    for change in 1..=changes {
        let update = format!("UPDATE products SET stock = stock - 1 WHERE sku = '{KEY}'");
        sqlx::raw_sql(AssertSqlSafe(update)).execute(&mut session).await.map_err(|error| error.to_string())?;
        for watcher in &mut watchers {
            shown(watcher, first - i64::from(change)).await?;
        }
    }
    let loads = over(&nodes, reads).await? - before;
    let each = |count: u64| count as f64 / f64::from(changes);
    let looks = self::scans(service, tier).await?.zip(scans).map(|(after, before)| after - before);
    Ok((each(loads), looks.map(|looks| each(looks) - 1.0)))
}

async fn scans(service: &Service, tier: Tier) -> Result<Option<u64>, String> {
    if tier == Tier::None {
        return Ok(None);
    }
    service.database.told().await;
    service.database.index_scans(None).await.map(Some)
}

async fn stock(session: &mut PgConnection) -> Result<i64, String> {
    let stock = format!("SELECT stock::bigint FROM products WHERE sku = '{KEY}'");
    sqlx::query_scalar(AssertSqlSafe(stock)).fetch_one(session).await.map_err(|error| error.to_string())
}

/// Waits until a watcher has shown this stock, which only falls.
async fn shown(watcher: &mut Subscription, wanted: i64) -> Result<(), String> {
    #[derive(serde::Deserialize)]
    struct Product {
        stock: i64,
    }
    let mut last = i64::MAX;
    while last != wanted {
        let record = watcher.next().await.ok_or("a subscription has ended")?;
        let value = record.value.ok_or("a watched record is gone")?;
        let Product { stock } = serde_json::from_str(value.get()).map_err(|error| error.to_string())?;
        if stock < wanted || stock >= last {
            return Err(format!("a watcher was shown {stock} after {last}, before {wanted}"));
        }
        last = stock;
    }
    Ok(())
}
