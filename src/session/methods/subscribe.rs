//! `subscribe` and `unsubscribe`: a snapshot of each key, then every newer state, until the client has enough.

use std::{collections::HashSet, sync::Arc};

use super::{Call, Failure, Reply};
use crate::{
    hub::SlotId,
    protocol::{Code, RpcError, SubscribeParams, UnsubscribeParams, codec},
    service::{Opening, Snapshots},
    session::{
        Connection, large,
        outgoing::{push, subscription_number},
    },
    tiers::Answer,
};

pub(super) async fn subscribe(call: Call<'_>) -> Result<Reply, Failure> {
    let connection = call.session()?.clone();
    let params = SubscribeParams::parse(call.params)?;
    let mut keys = HashSet::new();
    let mut openings = Vec::with_capacity(params.keys.len());
    for key in &params.keys {
        let id = call.service().record(&params.collection, key)?;
        let since = params.since.get(key.as_ref()).or_else(|| params.since.get(id.key.as_str())).copied();
        if keys.insert(id.key.clone()) {
            openings.push(Opening { id, since });
        }
    }
    let (subscription, slots) = register(&connection, &openings)?;
    let mut body = Vec::new();
    codec::subscription(&mut body, subscription);
    Ok(Reply { then: Some(Box::pin(open_all(connection, subscription, openings, slots))), ..Reply::from(body) })
}

/// Ends a subscription.
pub(super) async fn unsubscribe(call: Call<'_>) -> Result<Reply, Failure> {
    let params = UnsubscribeParams::parse(call.params)?;
    let connection = call.session()?;
    let slots = subscription_number(&params.id)
        .and_then(|number| connection.with_outgoing(|outgoing| outgoing.subscriptions.remove(&number)));
    let Some(slots) = slots else { return Ok(b"false".to_vec().into()) };
    for slot in slots {
        // The hub's lock is never taken under the connection's.
        if let Some((topic, place)) = connection.with_outgoing(|outgoing| outgoing.slots.remove(slot)) {
            call.service().hub().unwatch(&topic, place);
        }
    }
    Ok(b"true".to_vec().into())
}

/// Makes a slot for each key and registers it with the hub, before anything is read.
fn register(connection: &Arc<Connection>, openings: &[Opening]) -> Result<(u64, Vec<SlotId>), RpcError> {
    let limit = connection.shared.config.subscriptions_max;
    let (subscription, slots) = connection.with_outgoing(|outgoing| {
        if outgoing.gone {
            // The client left before its request was looked at; nobody would end what began now.
            return Err(RpcError::new(Code::Unavailable, "the connection has ended"));
        }
        if outgoing.slots.len() + openings.len() > limit {
            let message = format!("a connection watches at most {limit} keys; {} are watched", outgoing.slots.len());
            return Err(RpcError::new(Code::TooLarge, message).because("subscriptions"));
        }
        outgoing.subscriptions_made += 1;
        let subscription = outgoing.subscriptions_made;
        let slots: Vec<SlotId> = openings.iter().map(|_| outgoing.slots.insert(subscription)).collect();
        outgoing.subscriptions.insert(subscription, slots.clone());
        Ok((subscription, slots))
    })?;
    let hub = connection.shared.service.hub();
    for (opening, &slot) in openings.iter().zip(&slots) {
        let (topic, place) = hub.watch(&opening.id, connection.clone(), slot);
        let bound = connection.with_outgoing(|outgoing| outgoing.slots.bind(slot, subscription, topic.clone(), place));
        if !bound {
            // The connection or the subscription ended meanwhile, and its slots with it.
            hub.unwatch(&topic, place);
        }
    }
    Ok((subscription, slots))
}

/// Sends each key's snapshot as soon as it could be read and the client takes it, and lets changes follow.
async fn open_all(connection: Arc<Connection>, subscription: u64, openings: Vec<Opening>, slots: Vec<SlotId>) {
    doubt_stale(&connection, subscription, &slots);
    let mut snapshots =
        Snapshots::new(connection.shared.service.clone(), openings.clone(), connection.openings.clone());
    while let Some(Some(snapshot)) = connection.ended.run_until_cancelled(snapshots.next()).await {
        let (opening, slot) = (&openings[snapshot.place], slots[snapshot.place]);
        if large::is_small(&opening.id, &snapshot.answer) {
            connection.room().await;
            open(&connection, subscription, slot, opening, &snapshot.answer);
        } else if connection.large.try_lock().is_ok() {
            let Ok(_alone) = large::alone(&connection).await else { return };
            open(&connection, subscription, slot, opening, &snapshot.answer);
        } else {
            // As any large answer it is not held while another is sent.
            let place = snapshot.place;
            drop(snapshot);
            if large::alone(&connection).await.is_err() {
                return;
            }
            snapshots.again(place);
        }
    }
}

/// Has the client told of keys that are not fresh as it subscribes: their snapshots may be long in coming.
fn doubt_stale(connection: &Arc<Connection>, subscription: u64, slots: &[SlotId]) {
    let certificates = connection.shared.service.certificates();
    let due = connection.with_outgoing(|outgoing| {
        let is_stale =
            |slot: &&SlotId| outgoing.slots.topic(**slot).is_some_and(|topic| !certificates.proven(topic).is_fresh);
        let is_granted = outgoing.subscriptions.contains_key(&subscription);
        let stale: Vec<SlotId> = slots.iter().filter(|_| is_granted).filter(is_stale).copied().collect();
        for &slot in &stale {
            outgoing.slots.doubt(slot);
        }
        !stale.is_empty() && outgoing.must_enqueue()
    });
    if due {
        connection.shared.service.hub().enqueue(connection.clone());
    }
}

fn open(connection: &Arc<Connection>, subscription: u64, slot: SlotId, opening: &Opening, answer: &Answer) {
    let stamp = answer.state.stamp;
    let mut frame = Vec::new();
    let says_fresh = !opening.has_seen(answer) && answer.stale.is_none();
    if !opening.has_seen(answer) {
        let mut record = Vec::new();
        codec::record(&mut record, opening.id.key.as_str(), &answer.state, answer.stale, opening.is_reset_by(stamp));
        push(&mut frame, subscription, &record);
    }
    // The snapshot and the opening in one go, so that no change can slip in between.
    if connection.send_and_open(&frame, subscription, slot, stamp, says_fresh) {
        connection.shared.service.hub().enqueue(connection.clone());
    }
}
