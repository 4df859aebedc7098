//! Records as Server-Sent Events: a snapshot of each key, then every newer state.
//!
//! A stream is a watcher like a WebSocket's subscription: versions of a key rise, a slow reader skips states and ends
//! on the latest (`a_slow_reader_skips_states_and_ends_on_the_latest`), and what is kept for it is a mark a
//! key. An event's id resumes all of the stream's keys.

use std::{borrow::Cow, ops::ControlFlow, sync::Arc, time::Duration};

use axum::{
    extract::{RawQuery, State},
    http::HeaderMap,
    response::Response,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    batch,
    segments::{RecordPath, Segments},
};
use crate::{
    gateway::{Edge, refusal::Refusal, sse},
    hub::{Outlet, SlotId, Slots},
    protocol::{Code, RpcError, codec},
    record::{RecordId, Stamp},
    resilience::Backoff,
    service::Service,
    tiers::{Answer, Wish},
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
    let (more, wish) = batch::asked(query.as_deref())?;
    let keys = [vec![Cow::Owned(key)], more].concat();
    open(&edge, &collection, &keys, &wish, &headers)
}

/// Begins a stream of `keys`, behind `Last-Event-ID` where the client comes back.
pub(super) fn open(
    edge: &Edge,
    collection: &str,
    keys: &[Cow<'_, str>],
    wish: &Wish,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    if *wish != Wish::default() {
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
    Ok(sse::answer(states(Watch::begin(service.clone(), ids, seen)), edge))
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

/// The snapshots, then the changes.
fn states(watch: Watch) -> impl Stream<Item = Bytes> + Send {
    let places = 0..watch.ids.len();
    let reader = watch.reader();
    let snapshots = stream::iter(places).map(move |place| reader.clone().snapshot(place)).buffered(READS_AT_ONCE);
    stream::unfold((watch, Box::pin(snapshots)), async |(mut watch, mut snapshots)| {
        while let Some((place, answer)) = snapshots.next().await {
            if let Some(event) = watch.show(place, &answer) {
                return Some((event, (watch, snapshots)));
            }
        }
        let event = watch.next().await;
        Some((event, (watch, snapshots)))
    })
}

/// A stream's registration with the hub, ended when it is dropped.
struct Watch {
    service: Service,
    ids: Arc<[RecordId]>,
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
    /// Wakes the stream, which takes a turn of its own: the hub need not give it one.
    fn mark(&self, slot: SlotId) -> bool {
        if self.slots.lock().mark(slot) {
            self.told.notify_one();
        }
        false
    }

    fn write_marked(&self) {}
}

impl Watch {
    /// Registers every key. Changes wait until the key's snapshot was shown.
    fn begin(service: Service, ids: Vec<RecordId>, seen: Vec<Stamp>) -> Self {
        let mailbox = Arc::new(Mailbox::default());
        // The slot's "subscription" is the key's place in the list.
        let slots = (0..ids.len() as u64).map(|place| mailbox.slots.lock().insert(place)).collect::<Vec<_>>();
        for (at, (id, &slot)) in (0..).zip(ids.iter().zip(&slots)) {
            let (topic, place) = service.hub().watch(id, mailbox.clone(), slot);
            mailbox.slots.lock().bind(slot, at, topic, place);
        }
        Watch { service, ids: ids.into(), mailbox, slots, seen }
    }

    fn reader(&self) -> Reader {
        Reader { service: self.service.clone(), ids: self.ids.clone(), seen: self.seen.clone().into() }
    }

    /// The event of a snapshot, unless the client has it, and opens the key for changes above it.
    fn show(&mut self, place: usize, answer: &Answer) -> Option<Bytes> {
        let (stamp, since) = (answer.state.stamp, self.seen[place]);
        let current = stamp <= since && answer.state.value.is_some();
        self.seen[place] = stamp.max(since);
        if self.mailbox.slots.lock().open(self.slots[place], stamp) {
            self.mailbox.told.notify_one();
        }
        let reset = since.generation != 0 && since.generation < stamp.generation;
        let stale_ms = answer.stale.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        let mut record = Vec::new();
        codec::record(&mut record, self.ids[place].key.as_str(), &answer.state, stale_ms, reset);
        (!current).then(|| sse::event(Some(&self.token()), &record))
    }

    /// Waits for the next newer state of any key.
    async fn next(&mut self) -> Bytes {
        loop {
            let mut taken = None;
            self.mailbox.slots.lock().give_due(false, |due| {
                taken = Some((due.subscription, due.frame.stamp, due.record()));
                ControlFlow::Break(())
            });
            if let Some((place, stamp, record)) = taken {
                self.seen[usize::try_from(place).unwrap_or_default()] = stamp;
                return sse::event(Some(&self.token()), &record);
            }
            self.mailbox.told.notified().await;
        }
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

/// What reading a snapshot takes, apart from the watch.
#[derive(Clone)]
struct Reader {
    service: Service,
    ids: Arc<[RecordId]>,
    seen: Arc<[Stamp]>,
}

impl Reader {
    /// Reads the key at `place`, for as long as it takes: a stream has no other way to say that it must wait.
    async fn snapshot(self, place: usize) -> (usize, Answer) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        let since = Some(self.seen[place]).filter(|&seen| seen != Stamp::ABSENT);
        loop {
            match self.service.snapshot(&self.ids[place], since).await {
                Ok(answer) => return (place, answer),
                Err(error) => tracing::debug!(%error, record.key = %self.ids[place].key, "a snapshot has to wait"),
            }
            tokio::time::sleep(backoff.next_wait()).await;
        }
    }
}
