//! What has arrived for one subscription and was not read yet.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    future::poll_fn,
    task::{Context, Poll},
};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use super::{Error, Freshness, Record, Refusal, subscription::Event};
use freshet_wire::record::Stamp;

/// Holds at most one state a key: when the reader is slow, older states are skipped and the latest stays.
#[derive(Debug)]
pub(super) struct Mailbox {
    contents: Mutex<Contents>,
    /// Wakes the one reader, which is woken after the contents have changed and looks at them after it has registered.
    reader: AtomicWaker,
}

#[derive(Debug, Default)]
struct Contents {
    slots: HashMap<String, Slot>,
    /// The keys whose slot holds a record, in the order they came.
    order: VecDeque<String>,
    /// How far each key is proven, by its name as it was asked for, and whether the key is in `judged`.
    freshness: HashMap<String, (Freshness, bool)>,
    /// The keys of which that has changed since it was last handed out, in the order they came.
    judged: VecDeque<String>,
    /// The topics, by number, that the server has still to confirm.
    awaited: HashSet<u64>,
    has_ended: bool,
    refusal: Option<Refusal>,
}

/// One key's part.
#[derive(Debug, Default)]
struct Slot {
    /// What the reader had before it subscribed, until the first state has come.
    since: Option<Stamp>,
    /// The highest stamp offered; a deletion without a version leaves it as it was.
    seen: Option<Stamp>,
    /// The highest one handed to the reader, or that it had before.
    read: Option<Stamp>,
    held: Option<Record>,
}

impl Mailbox {
    /// Empty, for a reader that has the states in `since`.
    pub(super) fn new(since: impl IntoIterator<Item = (String, Stamp)>) -> Self {
        let slot = |stamp| Slot { since: Some(stamp), seen: Some(stamp), read: Some(stamp), held: None };
        let slots = since.into_iter().map(|(key, stamp)| (key, slot(stamp))).collect();
        Mailbox { contents: Mutex::new(Contents { slots, ..Contents::default() }), reader: AtomicWaker::new() }
    }

    /// Takes a state, in place of an older one not yet read. The topic it comes from has seen to the order.
    pub(super) fn offer(&self, record: Record) {
        if self.contents.lock().offer(record) {
            self.reader.wake();
        }
    }

    /// Notes how far a key is proven.
    pub(super) fn judge(&self, key: &str, freshness: Freshness) {
        if self.contents.lock().judge(key, freshness) {
            self.reader.wake();
        }
    }

    /// How far a key is proven.
    pub(super) fn freshness(&self, key: &str) -> Freshness {
        self.contents.lock().freshness.get(key).copied().unwrap_or_default().0
    }

    /// The topic of that number is to be confirmed before [`Mailbox::granted`] returns.
    pub(super) fn expect(&self, topic: u64) {
        self.contents.lock().awaited.insert(topic);
    }

    /// The server has confirmed the topic of that number.
    pub(super) fn confirm(&self, topic: u64) {
        self.contents.lock().awaited.remove(&topic);
        self.reader.wake();
    }

    /// Nothing will come any more.
    pub(super) fn end(&self, refusal: Option<Refusal>) {
        let mut contents = self.contents.lock();
        contents.has_ended = true;
        contents.refusal = refusal;
        drop(contents);
        self.reader.wake();
    }

    /// Returns when the server has confirmed every topic.
    pub(super) async fn granted(&self) -> Result<(), Error> {
        let settled = |contents: &mut Contents| match (&contents.refusal, contents.has_ended) {
            (Some(refusal), _) => Some(Err(refusal.clone().into())),
            (None, true) => Some(Err(Error::Disconnected)),
            (None, false) => contents.awaited.is_empty().then_some(Ok(())),
        };
        poll_fn(|context| self.poll(context, settled)).await
    }

    /// The next state; `None` when it has ended and all was read.
    pub(super) fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<Record>> {
        self.poll(context, |contents| contents.take().map(Some).or(contents.has_ended.then_some(None)))
    }

    /// The next state or, where none waits, the next change of a key's freshness; `None` as for [`Mailbox::poll_next`].
    pub(super) fn poll_event(&self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let event = |contents: &mut Contents| {
            let state = contents.take().map(|record| Event::State(Box::new(record)));
            state.or_else(|| contents.take_judged())
        };
        self.poll(context, |contents| event(contents).map(Some).or(contents.has_ended.then_some(None)))
    }

    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.contents.lock().refusal.clone()
    }

    /// The stamp of each key's last state read.
    pub(super) fn stamps(&self) -> HashMap<String, Stamp> {
        let contents = self.contents.lock();
        contents.slots.iter().filter_map(|(key, slot)| Some((key.clone(), slot.read?))).collect()
    }

    /// Takes what `find` finds; where it finds nothing, the reader is woken with the next change.
    fn poll<T>(&self, context: &mut Context<'_>, find: impl FnOnce(&mut Contents) -> Option<T>) -> Poll<T> {
        self.reader.register(context.waker());
        find(&mut self.contents.lock()).map_or(Poll::Pending, Poll::Ready)
    }
}

impl Slot {
    /// Compares the first state with what the reader had: whether it is news, and marked if history was lost meanwhile.
    fn compare(&mut self, record: &mut Record) -> bool {
        let Some(since) = self.since.take() else {
            return true;
        };
        record.reset |= record.stamp.generation != since.generation;
        record.reset || record.stamp > since || record.is_forgotten()
    }
}

impl Contents {
    fn offer(&mut self, mut record: Record) -> bool {
        let slot = self.slots.entry(record.key.clone()).or_default();
        if !slot.compare(&mut record) {
            return false;
        }
        if record.version > 0 || slot.seen.is_none() {
            slot.seen = Some(record.stamp);
        }
        match &slot.held {
            Some(older) => record.reset |= older.reset,
            None => self.order.push_back(record.key.clone()),
        }
        slot.held = Some(record);
        true
    }

    fn judge(&mut self, key: &str, freshness: Freshness) -> bool {
        let (known, is_judged) = self.freshness.entry(key.to_owned()).or_default();
        let before = std::mem::replace(known, freshness);
        let is_news = before.is_fresh() != freshness.is_fresh() || before.age().is_some() != freshness.age().is_some();
        if is_news && !std::mem::replace(is_judged, true) {
            self.judged.push_back(key.to_owned());
        }
        is_news
    }

    fn take_judged(&mut self) -> Option<Event> {
        let key = self.judged.pop_front()?;
        let (freshness, is_judged) = self.freshness.get_mut(&key)?;
        *is_judged = false;
        let freshness = *freshness;
        Some(Event::Freshness { key, freshness })
    }

    fn take(&mut self) -> Option<Record> {
        let key = self.order.pop_front()?;
        let slot = self.slots.get_mut(&key)?;
        slot.read = slot.seen;
        slot.held.take()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::known::tests::record, *};

    fn taken(mailbox: &Mailbox) -> Vec<(Stamp, bool)> {
        std::iter::from_fn(|| mailbox.contents.lock().take()).map(|record| (record.stamp, record.reset)).collect()
    }

    #[test]
    fn a_slow_reader_keeps_the_latest_state_and_any_reset() {
        let mailbox = Mailbox::new([]);
        for state in [record(1, 5, true, false), record(2, 1, true, true), record(2, 2, true, false)] {
            mailbox.offer(state);
        }
        assert_eq!(taken(&mailbox), [(Stamp::new(2, 2), true)]);
    }

    #[test]
    fn what_the_reader_had_is_not_handed_over_again() {
        let since = || Mailbox::new([("a".to_owned(), Stamp::new(2, 5))]);
        let first = |record| {
            let mailbox = since();
            mailbox.offer(record);
            taken(&mailbox)
        };
        assert_eq!(first(record(2, 5, true, false)), []);
        assert_eq!(first(record(2, 6, true, false)), [(Stamp::new(2, 6), false)]);
        assert_eq!(first(record(2, 0, false, false)), [(Stamp::new(2, 0), false)]);
        assert_eq!(first(record(1, 9, true, false)), [(Stamp::new(1, 9), true)], "history was lost since");
        assert_eq!(first(record(3, 1, true, false)), [(Stamp::new(3, 1), true)]);
    }
}
