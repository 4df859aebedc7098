//! A connection's mailbox: one slot a subscription, holding no states, only how far it has come and whether its watcher takes
//! it for fresh.

use std::{collections::VecDeque, ops::ControlFlow, sync::Arc};

use bytes::Bytes;
use slab::Slab;

use super::{
    proven::{Proven, Untold},
    topic::{Frame, Topic},
};
use crate::record::Stamp;

/// A slot's number within its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlotId(pub u32);

/// One subscription to one record.
struct Slot {
    topic: Option<(Arc<Topic>, usize)>,
    subscription: u64,
    /// The newest stamp sent; versions on a subscription only rise.
    sent: Stamp,
    /// Set once the snapshot was sent: changes wait until then.
    open: bool,
    /// In the list of marked slots.
    marked: bool,
    /// Whether the record is fresh, as the watcher was told last.
    told: Option<bool>,
    /// In the list of slots to look at again.
    doubted: bool,
}

/// The slots of one connection and the list of those with something new, oldest mark first.
///
/// Memory is bounded by the keys watched: however many states a record goes through, a slot is marked once, and however often
/// its database falls silent and answers again, it is doubted once. What its watcher is told is decided when that is written.
#[derive(Default)]
pub struct Slots {
    slots: Slab<Slot>,
    marked: VecDeque<SlotId>,
    /// Slots whose watcher may have to be told that they are fresh, or no longer.
    doubted: Vec<SlotId>,
}

/// A state that a marked slot has to send.
pub struct Due<'a> {
    /// The slot's subscription.
    pub subscription: u64,
    /// The state to send.
    pub frame: &'a Frame,
    key: &'a str,
    /// What the watcher was sent before.
    sent: Stamp,
}

impl Due<'_> {
    /// The record object to send.
    pub fn record(&self) -> Bytes {
        self.frame.body_after(self.key, self.sent)
    }
}

impl Slots {
    /// Makes a closed slot for `subscription`.
    pub fn insert(&mut self, subscription: u64) -> SlotId {
        let slot = Slot {
            topic: None,
            subscription,
            sent: Stamp::ABSENT,
            open: false,
            marked: false,
            told: None,
            doubted: false,
        };
        SlotId(u32::try_from(self.slots.insert(slot)).expect("a connection's subscriptions are limited far below 2^32"))
    }

    /// Ties a slot of `subscription` to the topic it was registered with; false when the slot is gone, its number
    /// perhaps with another subscription by now.
    pub fn bind(&mut self, id: SlotId, subscription: u64, topic: Arc<Topic>, place: usize) -> bool {
        let slot = self.slots.get_mut(id.0 as usize).filter(|slot| slot.subscription == subscription);
        slot.map(|slot| slot.topic = Some((topic, place))).is_some()
    }

    /// Removes a slot; returns the registration to end.
    pub fn remove(&mut self, id: SlotId) -> Option<(Arc<Topic>, usize)> {
        self.marked.retain(|marked| *marked != id);
        self.doubted.retain(|doubted| *doubted != id);
        self.slots.try_remove(id.0 as usize)?.topic
    }

    /// Removes every slot; returns the registrations to end.
    pub fn clear(&mut self) -> Vec<(Arc<Topic>, usize)> {
        self.marked.clear();
        self.doubted.clear();
        std::mem::take(&mut self.slots).into_iter().filter_map(|(_, slot)| slot.topic).collect()
    }

    /// Notes that a slot's topic has something new; true if no slot was marked before.
    pub fn mark(&mut self, id: SlotId) -> bool {
        match self.slots.get_mut(id.0 as usize) {
            Some(slot) if slot.open && !slot.marked => {
                slot.marked = true;
                self.marked.push_back(id);
                self.marked.len() == 1
            }
            _ => false,
        }
    }

    /// Notes that the snapshot at `sent` has gone out, or was not needed; from here on changes above it are due.
    /// True if there is one already and no slot was marked before.
    pub fn open(&mut self, id: SlotId, sent: Stamp) -> bool {
        let Some(slot) = self.slots.get_mut(id.0 as usize) else { return false };
        slot.sent = sent;
        slot.open = true;
        let behind = slot.topic.as_ref().is_some_and(|(topic, _)| topic.latest().is_some_and(|latest| latest > sent));
        behind && self.mark(id)
    }

    /// Notes that a slot's record may have become fresh, or no longer be it; true if no slot was doubted before.
    pub fn doubt(&mut self, id: SlotId) -> bool {
        match self.slots.get_mut(id.0 as usize) {
            Some(slot) if !slot.doubted => {
                slot.doubted = true;
                self.doubted.push(id);
                self.doubted.len() == 1
            }
            _ => false,
        }
    }

    /// Notes what the snapshot of an open slot says by itself: with `says_fresh` that the record is fresh. Unless that is so,
    /// and is the first that the watcher hears of it, the slot is doubted. True as for [`Self::doubt`].
    pub fn begin(&mut self, id: SlotId, says_fresh: bool, proven: impl Fn(&Topic) -> Proven) -> bool {
        let Some(slot) = self.slots.get_mut(id.0 as usize) else { return false };
        let is_fresh = slot.topic.as_ref().is_some_and(|(topic, _)| proven(topic).is_fresh);
        if says_fresh && is_fresh && slot.told.is_none() {
            slot.told = Some(true);
            return false;
        }
        self.doubt(id)
    }

    /// Whether any slot is doubted.
    pub fn is_doubted(&self) -> bool {
        !self.doubted.is_empty()
    }

    /// Takes the doubted slots off their list; returns those whose watcher was told something else than what holds now. A slot
    /// whose snapshot has not gone out is never called fresh.
    pub fn untold(&mut self, proven: impl Fn(&Topic) -> Proven) -> Vec<Untold> {
        let doubted = std::mem::take(&mut self.doubted);
        let untold = doubted.into_iter().filter_map(|id| {
            let slot = self.slots.get_mut(id.0 as usize)?;
            slot.doubted = false;
            let (topic, _) = slot.topic.as_ref()?;
            let proven = proven(topic);
            let is_news = slot.told != Some(proven.is_fresh) && (slot.open || !proven.is_fresh);
            is_news.then(|| Untold { slot: id, subscription: slot.subscription, key: topic.id().key.clone(), proven })
        });
        untold.collect()
    }

    /// Notes what a slot's watcher is told.
    pub fn tell(&mut self, id: SlotId, is_fresh: bool) {
        if let Some(slot) = self.slots.get_mut(id.0 as usize) {
            slot.told = Some(is_fresh);
        }
    }

    /// What a slot watches.
    pub fn topic(&self, id: SlotId) -> Option<&Topic> {
        self.slots.get(id.0 as usize)?.topic.as_ref().map(|(topic, _)| &**topic)
    }

    /// Hands what marked slots have to send to `take`, until it breaks off or nothing is left. Of each slot, every state
    /// that is still kept, in order, or with `latest_only` the newest.
    pub fn give_due(&mut self, latest_only: bool, mut take: impl FnMut(&Due<'_>) -> ControlFlow<()>) {
        while let Some(&id) = self.marked.front() {
            if let Some(slot) = self.slots.get_mut(id.0 as usize) {
                let Slot { topic, subscription, sent, .. } = slot;
                let flow = topic.as_ref().map_or(ControlFlow::Continue(()), |(topic, _)| {
                    topic.give_after(*sent, latest_only, |frame| {
                        let due = Due { subscription: *subscription, frame, key: topic.id().key.as_str(), sent: *sent };
                        *sent = frame.stamp;
                        take(&due)
                    })
                });
                // The slot stays marked: there may be more.
                if flow.is_break() {
                    return;
                }
                slot.marked = false;
            }
            self.marked.pop_front();
        }
    }

    /// Whether any slot is marked.
    pub fn is_marked(&self) -> bool {
        !self.marked.is_empty()
    }

    /// Subscribed keys.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether nothing is subscribed.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}
