//! Watched keys: the newest state of each, handed over in an order that never goes back.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Record, Refusal, request::Params, shared::Shared};
use crate::record::Stamp;

/// Watched keys of one collection. It survives reconnects; dropping it ends it.
///
/// Holds at most one state a key: when the reader is slow, older states are skipped and the latest stays.
#[derive(Debug)]
pub struct Subscription {
    number: u64,
    watch: Arc<Watch>,
    shared: Arc<Shared>,
}

impl Subscription {
    pub(super) fn open(
        shared: &Arc<Shared>,
        collection: &str,
        keys: Vec<String>,
        since: impl IntoIterator<Item = (String, Stamp)>,
    ) -> Self {
        let number = shared.next_number();
        let slots = since
            .into_iter()
            .map(|(key, stamp)| (key, Slot { seen: Some(stamp), read: Some(stamp), ..Slot::default() }));
        let mailbox = Mailbox { slots: slots.collect(), ..Mailbox::default() };
        let mailbox = Mutex::new(mailbox);
        let watch = Arc::new(Watch { collection: collection.to_owned(), keys, mailbox, arrived: Notify::new() });
        shared.add(number, watch.clone());
        Subscription { number, watch, shared: shared.clone() }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The next state, once there is one. For one key stamps strictly rise, but for the answer that a record was
    /// deleted so long ago that only `version: 0` is known. `None` when the client was closed or the server refused to
    /// resume; what had arrived before is still handed out first.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Record> {
        loop {
            let arrived = self.watch.arrived.notified();
            {
                let mut mailbox = self.watch.mailbox.lock();
                if let Some(record) = mailbox.take() {
                    return Some(record);
                }
                if mailbox.ended {
                    return None;
                }
            }
            arrived.await;
        }
    }

    /// Why the server refused to resume it, after [`Subscription::next`] gave `None`.
    pub fn refusal(&self) -> Option<Refusal> {
        self.watch.mailbox.lock().refusal.clone()
    }

    /// The stamp of each key's last state read here, to resume from in another process.
    pub fn stamps(&self) -> HashMap<String, Stamp> {
        let mailbox = self.watch.mailbox.lock();
        mailbox.slots.iter().filter_map(|(key, slot)| Some((key.clone(), slot.read?))).collect()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared.forget(self.number);
    }
}

/// The side of a subscription that the connection writes to.
#[derive(Debug)]
pub(super) struct Watch {
    collection: String,
    keys: Vec<String>,
    mailbox: Mutex<Mailbox>,
    arrived: Notify,
}

impl Watch {
    /// The `subscribe` that resumes where this is; from here on each key's first state is a snapshot.
    pub(super) fn request(&self) -> String {
        let mut mailbox = self.mailbox.lock();
        mailbox.slots.values_mut().for_each(|slot| slot.told = false);
        let params = Params::new(&self.collection).texts("keys", &self.keys);
        // Version 0 is no state to resume from.
        let mut seen = mailbox.seen().filter(|(_, stamp)| stamp.version > 0).peekable();
        if seen.peek().is_none() {
            return params.method("subscribe");
        }
        params.since(seen).method("subscribe")
    }

    pub(super) fn deliver(&self, record: Record) {
        if self.mailbox.lock().offer(record) {
            self.arrived.notify_one();
        }
    }

    pub(super) fn confirm(&self, server_id: String) {
        let mut mailbox = self.mailbox.lock();
        mailbox.confirmed = true;
        mailbox.server_id = Some(server_id);
    }

    pub(super) fn is_confirmed(&self) -> bool {
        self.mailbox.lock().confirmed
    }

    pub(super) fn server_id(&self) -> Option<String> {
        self.mailbox.lock().server_id.clone()
    }

    pub(super) fn detach(&self) {
        self.mailbox.lock().server_id = None;
    }

    pub(super) fn end(&self, refusal: Option<Refusal>) {
        let mut mailbox = self.mailbox.lock();
        mailbox.ended = true;
        mailbox.refusal = refusal;
        drop(mailbox);
        self.arrived.notify_one();
    }
}

#[derive(Debug, Default)]
struct Mailbox {
    slots: HashMap<String, Slot>,
    /// The keys whose slot holds a record, in the order they came.
    order: VecDeque<String>,
    server_id: Option<String>,
    confirmed: bool,
    ended: bool,
    refusal: Option<Refusal>,
}

/// What is known of one key.
#[derive(Debug, Default)]
struct Slot {
    /// The highest stamp so far; a deletion without a version leaves it as it was.
    seen: Option<Stamp>,
    /// The highest one handed to the reader.
    read: Option<Stamp>,
    /// Whether the last accepted state was an absence.
    absent: bool,
    /// Whether a state came since the last `subscribe`.
    told: bool,
    held: Option<Record>,
}

impl Slot {
    /// Whether `record` is news.
    ///
    /// A stamp must rise. Two states need not: one of another generation that is marked `reset`; and, as a snapshot
    /// only, an absence at version 0, the answer for a deletion older than the store remembers.
    fn accepts(&self, record: &Record) -> bool {
        let Some(seen) = self.seen else {
            return true;
        };
        let reset = record.reset && record.stamp.generation != seen.generation;
        let forgotten = !self.told && !self.absent && record.version == 0 && record.value.is_none();
        record.stamp > seen || reset || forgotten
    }
}

impl Mailbox {
    /// Takes `record` if it is news, in place of an older one not yet read, whose `reset` it inherits.
    fn offer(&mut self, mut record: Record) -> bool {
        let slot = self.slots.entry(record.key.clone()).or_default();
        let news = slot.accepts(&record);
        slot.told = true;
        if !news {
            return false;
        }
        if record.version > 0 || slot.seen.is_none() {
            slot.seen = Some(record.stamp);
        }
        slot.absent = record.value.is_none();
        match &slot.held {
            Some(older) => record.reset |= older.reset,
            None => self.order.push_back(record.key.clone()),
        }
        slot.held = Some(record);
        true
    }

    fn take(&mut self) -> Option<Record> {
        let key = self.order.pop_front()?;
        let slot = self.slots.get_mut(&key)?;
        slot.read = slot.seen;
        slot.held.take()
    }

    fn seen(&self) -> impl Iterator<Item = (&str, Stamp)> {
        self.slots.iter().filter_map(|(key, slot)| Some((key.as_str(), slot.seen?)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(generation: u32, version: u64, present: bool, reset: bool) -> Record {
        let value = if present { "{}" } else { "null" };
        let text = format!(
            r#"{{"key":"a","version":{version},"stamp":"{generation}.{version}","value":{value},"reset":{reset}}}"#
        );
        serde_json::from_str(&text).expect("a record")
    }

    fn watch() -> Watch {
        Watch { collection: "c".into(), keys: vec!["a".into()], mailbox: Mutex::default(), arrived: Notify::new() }
    }

    fn taken(watch: &Watch) -> Vec<(Stamp, bool)> {
        std::iter::from_fn(|| watch.mailbox.lock().take()).map(|record| (record.stamp, record.reset)).collect()
    }

    proptest! {
        #[test]
        fn lower_stamps_are_refused(states in prop::collection::vec((1..3_u32, 1..6_u64, any::<bool>(), any::<bool>()), 1..40)) {
            let watch = watch();
            let (mut highest, mut read) = (Stamp::ABSENT, Vec::new());
            for (generation, version, present, reads) in states {
                let stamp = Stamp::new(generation, version);
                watch.deliver(record(generation, version, present, false));
                highest = highest.max(stamp);
                if reads {
                    read.extend(taken(&watch));
                }
            }
            read.extend(taken(&watch));
            prop_assert!(read.windows(2).all(|pair| pair[0].0 < pair[1].0));
            prop_assert_eq!(read.last().map(|last| last.0), Some(highest));
        }
    }

    #[test]
    fn a_slow_reader_keeps_the_latest_state_and_any_reset() {
        let watch = watch();
        for state in [record(1, 5, true, false), record(2, 1, true, true), record(2, 2, true, false)] {
            watch.deliver(state);
        }
        assert_eq!(taken(&watch), [(Stamp::new(2, 2), true)]);
    }

    #[test]
    fn a_forgotten_deletion_is_told_once_and_only_as_a_snapshot() {
        let watch = watch();
        watch.deliver(record(1, 5, true, false));
        watch.deliver(record(1, 0, false, false));
        assert_eq!(taken(&watch), [(Stamp::new(1, 5), false)]);
        assert!(watch.request().contains(r#""since":{"a":"1.5"}"#));
        watch.deliver(record(1, 0, false, false));
        assert_eq!(taken(&watch), [(Stamp::new(1, 0), false)]);
        assert!(watch.request().contains(r#""since":{"a":"1.5"}"#), "the high mark stays");
        watch.deliver(record(1, 0, false, false));
        watch.deliver(record(1, 4, true, false));
        watch.deliver(record(1, 6, true, false));
        assert_eq!(taken(&watch), [(Stamp::new(1, 6), false)]);
    }

    #[test]
    fn a_reset_may_go_back_to_another_generation() {
        let watch = watch();
        watch.deliver(record(3, 5, true, false));
        watch.deliver(record(2, 9, true, false));
        watch.deliver(record(2, 9, true, true));
        assert_eq!(taken(&watch), [(Stamp::new(2, 9), true)]);
    }
}
