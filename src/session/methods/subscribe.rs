//! `subscribe`: a snapshot of each key, then every newer state.

use std::{collections::HashSet, sync::Arc, time::Duration};

use super::{Call, Failure, Reply};
use crate::{
    hub::SlotId,
    protocol::{Code, RpcError, SubscribeParams, codec},
    record::{RecordId, Stamp},
    resilience::Backoff,
    session::{Connection, outgoing::push},
    tiers::Answer,
};

/// One key of a subscription that is being opened.
struct Opening {
    id: RecordId,
    slot: SlotId,
    since: Option<Stamp>,
}

pub(super) async fn run(call: Call<'_>) -> Result<Reply, Failure> {
    let connection = call.session()?.clone();
    let params = SubscribeParams::parse(call.params)?;
    let mut keys = HashSet::new();
    let mut ids = Vec::with_capacity(params.keys.len());
    for key in &params.keys {
        let id = call.service().record(&params.collection, key)?;
        let since = params.since.get(key.as_ref()).or_else(|| params.since.get(id.key.as_str())).copied();
        if keys.insert(id.key.clone()) {
            ids.push((id, since));
        }
    }
    let (subscription, openings) = register(&connection, ids)?;
    let mut body = Vec::new();
    codec::subscription(&mut body, subscription);
    Ok(Reply { then: Some(Box::pin(open_all(connection, subscription, openings))), ..Reply::from(body) })
}

/// Makes a slot for each key and registers it with the hub, before anything is read.
fn register(
    connection: &Arc<Connection>,
    ids: Vec<(RecordId, Option<Stamp>)>,
) -> Result<(u64, Vec<Opening>), RpcError> {
    let limit = connection.shared.config.subscriptions_max;
    let (subscription, openings) = connection.with_outgoing(|outgoing| {
        if outgoing.gone {
            // The client left before its request was looked at; nobody would end what began now.
            return Err(RpcError::new(Code::Unavailable, "the connection has ended"));
        }
        if outgoing.slots.len() + ids.len() > limit {
            let message = format!("a connection watches at most {limit} keys; {} are watched", outgoing.slots.len());
            return Err(RpcError::new(Code::TooLarge, message).because("subscriptions"));
        }
        outgoing.subscriptions_made += 1;
        let subscription = outgoing.subscriptions_made;
        let openings: Vec<_> = ids
            .into_iter()
            .map(|(id, since)| Opening { id, since, slot: outgoing.slots.insert(subscription) })
            .collect();
        outgoing.subscriptions.insert(subscription, openings.iter().map(|opening| opening.slot).collect());
        Ok((subscription, openings))
    })?;
    let hub = connection.shared.service.hub();
    for opening in &openings {
        let (topic, place) = hub.watch(&opening.id, connection.clone(), opening.slot);
        let bound =
            connection.with_outgoing(|outgoing| outgoing.slots.bind(opening.slot, subscription, topic.clone(), place));
        if !bound {
            // The connection or the subscription ended meanwhile, and its slots with it.
            hub.unwatch(&topic, place);
        }
    }
    Ok((subscription, openings))
}

/// Sends each key's snapshot, as fast as the client takes them, and lets changes follow.
async fn open_all(connection: Arc<Connection>, subscription: u64, openings: Vec<Opening>) {
    const READS_AT_ONCE: usize = 64;
    for some in openings.chunks(READS_AT_ONCE) {
        connection.room().await;
        if connection.ended.is_cancelled() {
            return;
        }
        let reads = some.iter().map(|opening| snapshot(&connection, opening));
        let answers = futures_util::future::join_all(reads).await;
        for (opening, answer) in some.iter().zip(answers) {
            // The snapshots that wait here share the cache's bytes; those in the tail are copies.
            connection.room().await;
            if let Some(answer) = answer {
                open(&connection, subscription, opening, &answer);
            }
        }
    }
}

/// Reads until the store answers or the client is gone: a subscription that was granted is not given up.
async fn snapshot(connection: &Connection, opening: &Opening) -> Option<Answer> {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
    loop {
        match connection.shared.service.snapshot(&opening.id, opening.since).await {
            Ok(answer) => return Some(answer),
            Err(error) => tracing::debug!(%error, record.key = %opening.id.key, "a snapshot has to wait"),
        }
        connection.ended.run_until_cancelled(tokio::time::sleep(backoff.next_wait())).await?;
    }
}

fn open(connection: &Arc<Connection>, subscription: u64, opening: &Opening, answer: &Answer) {
    let stamp = answer.state.stamp;
    let seen = opening.since.is_some_and(|since| stamp <= since) && answer.state.value.is_some();
    let reset = opening.since.is_some_and(|since| since.generation != 0 && since.generation < stamp.generation);
    let mut frame = Vec::new();
    if !seen {
        let mut record = Vec::new();
        let stale_ms = answer.stale.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        codec::record(&mut record, opening.id.key.as_str(), &answer.state, stale_ms, reset);
        push(&mut frame, subscription, &record);
    }
    // The snapshot and the opening in one go, so that no change can slip in between.
    if connection.send_and_open(&frame, subscription, opening.slot, stamp) {
        connection.shared.service.hub().request_turn(connection.clone());
    }
}
