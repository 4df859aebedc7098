//! Records as Server-Sent Events: of each key a snapshot, then every newer state.
//!
//! A stream is a watcher like a WebSocket's subscription: versions of a key rise, a slow reader skips states and ends
//! on the latest (`a_slow_reader_skips_states_and_ends_on_the_latest`), and what is kept for it is a mark a
//! key. An event's id resumes all of the stream's keys.

use std::{borrow::Cow, ops::ControlFlow, sync::Arc};

use axum::{
    extract::{RawQuery, State},
    http::HeaderMap,
    response::Response,
};
use bytes::Bytes;
use futures_util::{Stream, stream};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    batch,
    segments::{RecordPath, Segments},
};
use crate::{
    gateway::{Edge, refusal::Refusal, sse},
    hub::{Outlet, SlotId, Slots, Topic},
    protocol::{Code, RpcError, codec},
    record::Stamp,
    service::{Opening, Service, Snapshots},
    tiers::{Answer, ReadOptions},
};

/// The most keys of one stream: every event's id carries a stamp for each.
const KEYS_MAX: usize = 100;
/// Snapshots read at once.
const READS_AT_ONCE: usize = 16;

/// One record's stream; `?key=..` adds more of its collection.
pub(super) async fn get(
    State(edge): State<Edge>,
    Segments((collection, key)): Segments<RecordPath>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (more, options) = batch::asked(query.as_deref())?;
    let keys = [vec![Cow::Owned(key)], more].concat();
    open(&edge, &collection, &keys, &options, &headers)
}

/// Begins a stream of `keys`, behind `Last-Event-ID` where the client comes back.
pub(super) fn open(
    edge: &Edge,
    collection: &str,
    keys: &[Cow<'_, str>],
    options: &ReadOptions,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    if *options != ReadOptions::default() {
        let message = "a stream has no min_stamp and no max_stale_ms; Last-Event-ID says what the client has seen";
        return Err(Refusal::bad_request("query", message));
    }
    if keys.len() > KEYS_MAX {
        let message = format!("a stream has at most {KEYS_MAX} keys; the WebSocket takes more");
        return Err(RpcError::new(Code::TooLarge, message).into());
    }
    let service = edge.gateway.service();
    let ids = keys.iter().map(|key| service.record(collection, key)).collect::<Result<Vec<_>, _>>()?;
    let seen = resumed(headers, ids.len())?;
    let since = seen.iter().map(|&stamp| Some(stamp).filter(|&seen| seen != Stamp::ABSENT));
    let openings: Vec<_> = ids.into_iter().zip(since).map(|(id, since)| Opening { id, since }).collect();
    let watch = Watch::begin(service.clone(), openings.clone(), seen);
    let snapshots = Snapshots::new(service.clone(), openings, service.permits(READS_AT_ONCE));
    Ok(sse::answer(states(watch, snapshots), edge))
}

/// The stamps that the client has seen, in the order of its keys; [`Stamp::ABSENT`] where it has seen none.
///
/// # Errors
/// 400 for an id that this stream never sent: beginning anew instead would hide that what was missed is lost.
fn resumed(headers: &HeaderMap, keys: usize) -> Result<Vec<Stamp>, Refusal> {
    let refused = |message: String| Refusal::bad_request("last_event_id", message);
    let Some(id) = headers.get("last-event-id").filter(|id| !id.is_empty()) else {
        return Ok(vec![Stamp::ABSENT; keys]);
    };
    let id = String::from_utf8_lossy(id.as_bytes());
    let seen = id.split(',').map(str::parse).collect::<Result<Vec<Stamp>, _>>();
    let seen = seen.map_err(|error| refused(format!("\"Last-Event-ID\" is no id of this stream: {error}")))?;
    if seen.len() != keys {
        let message = format!(
            "\"Last-Event-ID\" has {} stamps and the stream {keys} keys: ask for the same keys in the same order, or \
             leave it out",
            seen.len()
        );
        return Err(refused(message));
    }
    Ok(seen)
}

/// Of each key, the snapshot and then the changes. A key whose snapshot cannot be read holds up no other.
fn states(watch: Watch, snapshots: Snapshots) -> impl Stream<Item = Bytes> + Send {
    stream::unfold((watch, snapshots), async |(mut watch, mut snapshots)| {
        loop {
            tokio::select! {
                Some(snapshot) = snapshots.next() => {
                    if let Some(event) = watch.show(snapshot.place, &snapshot.answer) {
                        return Some((event, (watch, snapshots)));
                    }
                }
                event = watch.next() => return Some((event, (watch, snapshots))),
            }
        }
    })
}

/// A stream's registration with the hub, ended when it is dropped.
struct Watch {
    service: Service,
    openings: Vec<Opening>,
    mailbox: Arc<Mailbox>,
    slots: Vec<SlotId>,
    /// The newest stamp sent, or seen before, of each key.
    seen: Vec<Stamp>,
}

/// Where the hub marks what is new.
#[derive(Default)]
struct Mailbox {
    slots: Mutex<Slots>,
    told: Notify,
}

impl Outlet for Mailbox {
    /// Wakes the stream, which writes by itself and needs no place in the ready queue.
    fn mark(&self, slot: SlotId) -> bool {
        if self.slots.lock().mark(slot) {
            self.told.notify_one();
        }
        false
    }

    fn doubt(&self, slot: SlotId) -> bool {
        self.slots.lock().doubt(slot)
    }

    fn must_enqueue(&self) -> bool {
        self.told.notify_one();
        false
    }

    fn write_marked(&self) {}
}

impl Watch {
    /// Registers every key. Changes wait until the key's snapshot was shown.
    fn begin(service: Service, openings: Vec<Opening>, seen: Vec<Stamp>) -> Self {
        let mailbox = Arc::new(Mailbox::default());
        // The slot's "subscription" is the key's place in the list.
        let slots = (0..openings.len() as u64).map(|place| mailbox.slots.lock().insert(place)).collect::<Vec<_>>();
        for (at, (opening, &slot)) in (0..).zip(openings.iter().zip(&slots)) {
            let (topic, place) = service.hub().watch(&opening.id, mailbox.clone(), slot);
            let is_fresh = service.certificates().proven(&topic).is_fresh;
            let mut bound = mailbox.slots.lock();
            bound.bind(slot, at, topic, place);
            if !is_fresh {
                // Its snapshot may be long in coming.
                bound.doubt(slot);
            }
        }
        Watch { service, openings, mailbox, slots, seen }
    }

    /// The event of a snapshot, unless the client has it, and opens the key for changes above it.
    fn show(&mut self, place: usize, answer: &Answer) -> Option<Bytes> {
        let (stamp, opening) = (answer.state.stamp, &self.openings[place]);
        self.seen[place] = stamp.max(self.seen[place]);
        let says_fresh = !opening.has_seen(answer) && answer.stale.is_none();
        let mut slots = self.mailbox.slots.lock();
        let is_due = slots.open(self.slots[place], stamp);
        if slots.begin(self.slots[place], says_fresh, |topic| self.service.certificates().proven(topic)) || is_due {
            self.mailbox.told.notify_one();
        }
        drop(slots);
        let mut record = Vec::new();
        codec::record(&mut record, opening.id.key.as_str(), &answer.state, answer.stale, opening.is_reset_by(stamp));
        (!opening.has_seen(answer)).then(|| sse::event(None, Some(&self.token()), &record))
    }

    /// Waits for the next newer state of any key or, when there is none to be sent, for its freshness to change.
    async fn next(&mut self) -> Bytes {
        loop {
            let mut taken = None;
            self.mailbox.slots.lock().give_due(false, |due| {
                taken = Some((due.subscription, due.frame.stamp, due.record()));
                ControlFlow::Break(())
            });
            if let Some((place, stamp, record)) = taken {
                self.seen[usize::try_from(place).unwrap_or_default()] = stamp;
                return sse::event(None, Some(&self.token()), &record);
            }
            if let Some(event) = self.freshness() {
                return event;
            }
            self.mailbox.told.notified().await;
        }
    }

    /// The event that tells which keys are fresh, or no longer, if there is one. Of keys that differ in it, one kind at a time.
    fn freshness(&self) -> Option<Bytes> {
        let mut slots = self.mailbox.slots.lock();
        let untold = slots.untold(|topic: &Topic| self.service.certificates().proven(topic));
        let is_fresh = untold.first()?.proven.is_fresh;
        let (told, later): (Vec<_>, Vec<_>) = untold.iter().partition(|untold| untold.proven.is_fresh == is_fresh);
        for untold in later {
            slots.doubt(untold.slot);
        }
        told.iter().for_each(|untold| slots.tell(untold.slot, is_fresh));
        let age = told.iter().map(|untold| untold.proven.age).max()?;
        let keys: Vec<_> = told.iter().map(|untold| untold.key.as_str()).collect();
        let mut data = Vec::new();
        codec::freshness_of(&mut data, is_fresh, age, &keys);
        Some(sse::event(Some("freshness"), None, &data))
    }

    fn token(&self) -> String {
        self.seen.iter().map(Stamp::to_string).collect::<Vec<_>>().join(",")
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let registrations = self.mailbox.slots.lock().clear();
        for (topic, place) in registrations {
            self.service.hub().unwatch(&topic, place);
        }
    }
}
