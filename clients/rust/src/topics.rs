//! All that is watched: one subscription on the wire a key, however many read it here.

use std::{collections::HashMap, sync::Arc, time::Instant};

use super::{Freshness, Record, Refusal, incoming::Told, known::Known, mailbox::Mailbox, request::Params};
use freshet_wire::protocol::Method;

/// A watched key.
#[derive(Debug)]
struct Topic {
    collection: String,
    key: String,
    known: Known,
    freshness: Freshness,
    /// Whether the server has said on this connection how the key stands.
    is_judged: bool,
    readers: Vec<Arc<Mailbox>>,
    /// Whether the server was asked on this connection.
    is_asked: bool,
    /// What the server calls the subscription, once it has confirmed it on this connection.
    id: Option<String>,
}

/// Every watched key. Numbers name topics and are not used again, so that an answer that comes late finds nothing.
#[derive(Debug, Default)]
pub(super) struct Topics {
    topics: HashMap<u64, Topic>,
    /// By collection and key.
    names: HashMap<String, HashMap<String, u64>>,
    /// By the server's ids.
    ids: HashMap<String, u64>,
    last_number: u64,
    has_ended: bool,
}

impl Topics {
    /// Adds a reader, which is offered what is known. Returns the topic's number if the server has to be asked.
    pub(super) fn join(&mut self, collection: &str, key: &str, reader: &Arc<Mailbox>) -> Option<u64> {
        if self.has_ended {
            reader.end(None);
            return None;
        }
        let number = self.number(collection, key).unwrap_or_else(|| self.open(collection, key));
        let topic = self.topics.get_mut(&number)?;
        topic.readers.push(reader.clone());
        if let Some(state) = topic.known.state() {
            reader.offer(state.clone());
        }
        reader.judge(key, topic.freshness);
        if topic.id.is_none() {
            reader.expect(number);
        }
        (!topic.is_asked).then_some(number)
    }

    /// Takes a reader away. Returns the server's id of a subscription that nobody reads any more.
    pub(super) fn leave(&mut self, collection: &str, key: &str, reader: &Arc<Mailbox>) -> Option<String> {
        let number = self.number(collection, key)?;
        let topic = self.topics.get_mut(&number)?;
        topic.readers.retain(|other| !Arc::ptr_eq(other, reader));
        if topic.readers.is_empty() { self.remove(number)?.id } else { None }
    }

    /// The numbers of all topics, oldest first.
    pub(super) fn numbers(&self) -> Vec<u64> {
        let mut numbers: Vec<u64> = self.topics.keys().copied().collect();
        numbers.sort_unstable();
        numbers
    }

    /// The `subscribe` that goes on where the topic is; `None` when it has gone, or was asked for already.
    pub(super) fn request(&mut self, number: u64) -> Option<String> {
        let topic = self.topics.get_mut(&number).filter(|topic| !topic.is_asked)?;
        topic.is_asked = true;
        let params = Params::new(&topic.collection).text("key", &topic.key);
        Some(match topic.known.resume() {
            Some(stamp) => params.since([(topic.key.as_str(), stamp)]).method(Method::Subscribe),
            None => params.method(Method::Subscribe),
        })
    }

    /// The server has confirmed a topic as `id`; gives it back when nobody reads the topic any more.
    pub(super) fn confirm(&mut self, number: u64, id: String) -> Option<String> {
        let Some(topic) = self.topics.get_mut(&number) else {
            return Some(id);
        };
        topic.id = Some(id.clone());
        topic.readers.iter().for_each(|reader| reader.confirm(number));
        self.ids.insert(id, number);
        None
    }

    /// The server has refused a topic for now: it may be asked again.
    pub(super) fn postpone(&mut self, number: u64) {
        if let Some(topic) = self.topics.get_mut(&number) {
            topic.is_asked = false;
        }
    }

    /// The server has refused a topic for good.
    pub(super) fn refuse(&mut self, number: u64, refusal: Option<Refusal>) {
        let topic = self.remove(number);
        topic.into_iter().flat_map(|topic| topic.readers).for_each(|reader| reader.end(refusal.clone()));
    }

    /// Takes a pushed state to its readers, if it is news.
    pub(super) fn push(&mut self, id: &str, record: &Record) {
        let topic = self.ids.get(id).and_then(|number| self.topics.get_mut(number));
        let Some(topic) = topic else {
            return;
        };
        if topic.known.push(record) {
            topic.hand(record);
        }
        // The snapshot says how the key stands; what comes later does not.
        if !topic.is_judged {
            topic.judge(Freshness::said(record.stale_ms.is_none(), record.stale_ms.unwrap_or_default()));
        }
    }

    /// Takes what the server says of the freshness of subscriptions, each of which has one key.
    pub(super) fn tell(&mut self, told: &Told) {
        let freshness = Freshness::said(told.fresh, told.age_ms);
        for id in &told.subscriptions {
            if let Some(topic) = self.ids.get(id).and_then(|number| self.topics.get_mut(number)) {
                topic.judge(freshness);
            }
        }
    }

    /// Takes the state that an answer brought to the readers of `key`, if it is news. Returns the newest one known.
    pub(super) fn answer(&mut self, collection: &str, key: &str, record: Record) -> Record {
        let number = self.number(collection, key);
        let Some(topic) = number.and_then(|number| self.topics.get_mut(&number)) else {
            return record;
        };
        if topic.known.answer(&record) {
            topic.hand(&record);
        }
        topic.known.state().cloned().unwrap_or(record)
    }

    /// The connection is gone, and all server-side ids with it. The server was last heard at `heard`.
    pub(super) fn lost(&mut self, heard: Instant) {
        self.ids.clear();
        for topic in self.topics.values_mut() {
            topic.judge(topic.freshness.lost(heard));
            (topic.is_asked, topic.is_judged, topic.id) = (false, false, None);
        }
    }

    /// No connection will come again.
    pub(super) fn end(&mut self) {
        self.has_ended = true;
        self.numbers().into_iter().for_each(|number| self.refuse(number, None));
    }

    fn number(&self, collection: &str, key: &str) -> Option<u64> {
        self.names.get(collection)?.get(key).copied()
    }

    fn open(&mut self, collection: &str, key: &str) -> u64 {
        self.last_number += 1;
        let (collection, key) = (collection.to_owned(), key.to_owned());
        self.names.entry(collection.clone()).or_default().insert(key.clone(), self.last_number);
        let topic = Topic {
            collection,
            key,
            known: Known::default(),
            freshness: Freshness::default(),
            is_judged: false,
            readers: Vec::new(),
            is_asked: false,
            id: None,
        };
        self.topics.insert(self.last_number, topic);
        self.last_number
    }

    fn remove(&mut self, number: u64) -> Option<Topic> {
        let topic = self.topics.remove(&number)?;
        if let Some(keys) = self.names.get_mut(&topic.collection) {
            keys.remove(&topic.key);
        }
        if let Some(id) = &topic.id {
            self.ids.remove(id);
        }
        Some(topic)
    }
}

impl Topic {
    fn judge(&mut self, freshness: Freshness) {
        (self.freshness, self.is_judged) = (freshness, true);
        self.readers.iter().for_each(|reader| reader.judge(&self.key, freshness));
    }

    fn hand(&self, record: &Record) {
        self.readers.iter().for_each(|reader| reader.offer(record.clone()));
    }
}
