//! `/v1/stats/events`: what this node has done so far, once a second.

use std::{collections::BTreeMap, time::Duration};

use axum::{extract::State, response::Response};
use futures_util::stream;
use serde::Serialize;
use tokio::time::MissedTickBehavior;

use super::{Edge, Inner, audit::Audit, redis::Redis, shop::Shop, sse};
use crate::{
    record::DatabaseId,
    service::Service,
    store::ServerState,
    telemetry::latency::Distribution,
    tiers::freshness::{Freshness, Verdict},
};

/// The time between two snapshots.
const INTERVAL: Duration = Duration::from_secs(1);

/// Counts since the node started, and how things stand now.
#[derive(Debug, Serialize)]
struct Snapshot {
    uptime_s: u64,
    connections: usize,
    watchers: u64,
    messages: u64,
    errors: BTreeMap<String, u64>,
    /// Reads, by the tier that answered.
    answers: BTreeMap<String, u64>,
    /// The share of reads that each tier answered; of none, when there were none.
    hit_rates: BTreeMap<String, f64>,
    store_reads: u64,
    writes: BTreeMap<String, u64>,
    /// States offered to watchers, and states sent to them.
    published: u64,
    pushes: u64,
    /// Times a socket took no more and its pushes were conflated.
    conflations: u64,
    /// How long states took to their watchers' sockets since the snapshot before.
    delivery: Delivery,
    /// The age of the oldest certificate: how long ago this node knew that it had applied every change.
    age_ms: u64,
    fresh: bool,
    /// Each of them by itself.
    databases: Vec<Database>,
    local: Local,
    /// Where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    redis: Option<Redis>,
    audit: Audit,
    /// Beside the demonstration page only.
    #[serde(skip_serializing_if = "Option::is_none")]
    shop: Option<Shop>,
}

/// What this node knows of a database.
#[derive(Debug, Serialize)]
struct Database {
    name: String,
    /// The last mark applied.
    applied: u64,
    age_ms: u64,
    fresh: bool,
    /// In the order of the configuration; none in memory.
    servers: Vec<ServerState>,
}

/// From commit to socket, at most; each write to a socket counts once, with its oldest state.
#[derive(Debug, Serialize)]
struct Delivery {
    count: u64,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
}

impl From<Distribution> for Delivery {
    fn from(interval: Distribution) -> Self {
        let millis = |q| interval.quantile(q).map(|took| took.as_secs_f64() * 1e3);
        Delivery { count: interval.count(), p50_ms: millis(0.5), p99_ms: millis(0.99) }
    }
}

#[derive(Debug, Serialize)]
struct Local {
    entries: u64,
    bytes: u64,
    /// The most that `bytes` may be.
    capacity: u64,
}

/// One snapshot a second, the first at once.
pub(super) async fn events(State(edge): State<Edge>) -> Response {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let delivered = edge.gateway.sessions.delivery().read();
    let events = stream::unfold((edge.gateway.clone(), ticks, delivered), async |(gateway, mut ticks, before)| {
        ticks.tick().await;
        let delivered = gateway.sessions.delivery().read();
        let text = serde_json::to_vec(&Snapshot::take(&gateway, delivered.since(&before))).ok()?;
        Some((sse::event(None, None, &text), (gateway, ticks, delivered)))
    });
    sse::answer(events, &edge)
}

impl Snapshot {
    fn take(gateway: &Inner, delivered: Distribution) -> Self {
        let reading = gateway.telemetry.read();
        let count = |name| reading.sum(name).unwrap_or_default();
        let tiers = gateway.service().tiers();
        let answers = reading.by_label("freshet_tiers_answers_total");
        Snapshot {
            uptime_s: gateway.started.elapsed().as_secs(),
            connections: gateway.sessions.open(),
            watchers: count("freshet_hub_watchers"),
            messages: count("freshet_session_messages_total"),
            errors: reading.by_label("freshet_session_errors_total"),
            hit_rates: shares(&answers),
            answers,
            store_reads: count("freshet_tiers_store_reads_total"),
            writes: reading.by_label("freshet_service_writes_total"),
            published: count("freshet_hub_published_total"),
            pushes: count("freshet_session_pushes_total"),
            conflations: count("freshet_session_blocked_total"),
            delivery: delivered.into(),
            age_ms: age_ms(tiers.freshness()),
            fresh: tiers.freshness().verdict() == Verdict::Fresh,
            databases: tiers.databases().map(|(id, name)| Database::read(gateway.service(), id, name)).collect(),
            local: Local {
                entries: tiers.local().entries(),
                bytes: tiers.local().bytes(),
                capacity: tiers.local().capacity(),
            },
            redis: Redis::read(tiers, || reading),
            audit: tiers.findings().into(),
            shop: gateway.page.as_ref().map(|page| page.shop.borrow().clone()),
        }
    }
}

impl Database {
    fn read(service: &Service, id: DatabaseId, name: &str) -> Self {
        let tiers = service.tiers();
        let freshness = tiers.freshness_of(id);
        Database {
            name: name.to_owned(),
            applied: tiers.applied(id).0,
            age_ms: age_ms(freshness),
            fresh: freshness.verdict() == Verdict::Fresh,
            servers: service.servers(id),
        }
    }
}

fn age_ms(freshness: &Freshness) -> u64 {
    u64::try_from(freshness.age().as_millis()).unwrap_or(u64::MAX)
}

fn shares(counts: &BTreeMap<String, u64>) -> BTreeMap<String, f64> {
    let all: u64 = counts.values().sum();
    counts.iter().map(|(label, &count)| (label.clone(), count as f64 / all.max(1) as f64)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_all_that_was_counted() {
        let counts = BTreeMap::from([("local".into(), 3), ("store".into(), 1)]);
        assert_eq!(shares(&counts), BTreeMap::from([("local".into(), 0.75), ("store".into(), 0.25)]));
        assert_eq!(shares(&BTreeMap::from([("local".into(), 0)]))["local"], 0.0);
    }
}
