//! The notifications that tell a client which of its subscriptions are fresh, and which are no longer.
//!
//! Promises: a notification is made when it is written, from what holds then; the same is not told twice in a row; what is told
//! together differs in age by little, and the largest age is told. Notifications are short, and what does not fit into a round
//! stays doubted, to be looked at again in the next.

use std::{collections::HashMap, time::Duration};

use crate::{
    hub::{Proven, SlotId, Slots, Topic, Untold},
    protocol::codec::{self, Told},
};

/// A notification ends with the subscription, or key, with which it becomes longer than this.
const NOTICE_BYTES: usize = 8 * 1024;
/// Ages that differ by less than this and a sixteenth are told together.
const AGE_SLACK: Duration = Duration::from_millis(50);

/// Writes what is to be told of doubted slots into `buffer`, until that is longer than `bytes_max`.
pub(super) fn gather(
    buffer: &mut Vec<u8>,
    bytes_max: usize,
    slots: &mut Slots,
    subscriptions: &HashMap<u64, Vec<SlotId>>,
    proven: impl Fn(&Topic) -> Proven,
) {
    let mut untold = slots.untold(proven);
    untold.sort_unstable_by_key(|untold| (untold.proven.is_fresh, untold.proven.age));
    let mut rest = &mut untold[..];
    while !rest.is_empty() {
        let (group, others) = rest.split_at_mut(alike(rest));
        group.sort_unstable_by_key(|untold| (untold.subscription, untold.slot.0));
        for notice in notices(group, subscriptions) {
            if buffer.len() >= bytes_max {
                for untold in notice {
                    slots.doubt(untold.slot);
                }
            } else {
                write(buffer, notice, subscriptions);
                notice.iter().for_each(|untold| slots.tell(untold.slot, untold.proven.is_fresh));
            }
        }
        rest = others;
    }
}

/// How many at the front are told together.
fn alike(untold: &[Untold]) -> usize {
    let first = untold[0].proven;
    let age_max = first.age + first.age / 16 + AGE_SLACK;
    untold.partition_point(|next| next.proven.is_fresh == first.is_fresh && next.proven.age <= age_max)
}

/// Cuts what is told together into notifications.
fn notices<'a>(group: &'a [Untold], subscriptions: &HashMap<u64, Vec<SlotId>>) -> impl Iterator<Item = &'a [Untold]> {
    let mut rest = group;
    std::iter::from_fn(move || {
        let (mut bytes, mut len) = (0, 0);
        for of_one in rest.chunk_by(of_one_subscription) {
            if is_whole(of_one, subscriptions) {
                (bytes, len) = (bytes + 12, len + of_one.len());
            } else {
                for untold in of_one {
                    if bytes > NOTICE_BYTES {
                        break;
                    }
                    (bytes, len) = (bytes + untold.key.as_str().len() + 4, len + 1);
                }
            }
            if bytes > NOTICE_BYTES {
                break;
            }
        }
        let (notice, others) = rest.split_at(len);
        rest = others;
        (len > 0).then_some(notice)
    })
}

fn write(buffer: &mut Vec<u8>, notice: &[Untold], subscriptions: &HashMap<u64, Vec<SlotId>>) {
    let told = notice.chunk_by(of_one_subscription).map(|of_one| Told {
        subscription: of_one[0].subscription,
        keys: match is_whole(of_one, subscriptions) {
            true => Vec::new(),
            false => of_one.iter().map(|untold| untold.key.as_str()).collect(),
        },
    });
    let told: Vec<_> = told.collect();
    let age = notice.iter().map(|untold| untold.proven.age).max().unwrap_or_default();
    codec::text_frame(buffer, |out| codec::freshness(out, notice[0].proven.is_fresh, age, &told));
}

fn of_one_subscription(one: &Untold, next: &Untold) -> bool {
    one.subscription == next.subscription
}

/// Whether these are all keys of their subscription.
fn is_whole(of_one: &[Untold], subscriptions: &HashMap<u64, Vec<SlotId>>) -> bool {
    subscriptions.get(&of_one[0].subscription).is_some_and(|slots| slots.len() == of_one.len())
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, sync::Arc};

    use serde_json::Value;

    use super::*;
    use crate::{
        hub::{Hub, Outlet},
        record::{CollectionId, Key, RecordId, Stamp},
        telemetry::Telemetry,
    };

    struct Nowhere;

    impl Outlet for Nowhere {
        fn mark(&self, _: SlotId) -> bool {
            false
        }

        fn doubt(&self, _: SlotId) -> bool {
            false
        }

        fn must_enqueue(&self) -> bool {
            false
        }

        fn write_marked(&self) {}
    }

    /// Slots of one connection, and whether their records are fresh now.
    struct Connection {
        slots: Slots,
        subscriptions: HashMap<u64, Vec<SlotId>>,
        is_fresh: Cell<bool>,
    }

    impl Connection {
        /// Subscriptions with so many keys each, open and known to be fresh.
        fn of(keys: &[usize]) -> Self {
            let hub = Hub::new(&Telemetry::new());
            let (mut slots, mut subscriptions) = (Slots::default(), HashMap::new());
            for (subscription, &keys) in (1..).zip(keys) {
                for key in 0..keys {
                    let slot = slots.insert(subscription);
                    let id = RecordId::new(CollectionId(0), Key::from_database(format!("key {subscription} {key}")));
                    let (topic, place) = hub.watch(&id, Arc::new(Nowhere), slot);
                    slots.bind(slot, subscription, topic, place);
                    slots.open(slot, Stamp::ABSENT);
                    slots.tell(slot, true);
                    subscriptions.entry(subscription).or_insert_with(Vec::new).push(slot);
                }
            }
            Connection { slots, subscriptions, is_fresh: Cell::new(true) }
        }

        fn all(&self) -> Vec<SlotId> {
            self.subscriptions.values().flatten().copied().collect()
        }

        /// The params of what is told in rounds of `bytes_max`, and how long the longest round was.
        fn told(&mut self, bytes_max: usize) -> (Vec<Value>, usize) {
            let (mut told, mut longest) = (Vec::new(), 0);
            while self.slots.is_doubted() {
                let mut buffer = Vec::new();
                let proven = Proven { is_fresh: self.is_fresh.get(), age: Duration::from_secs(4) };
                gather(&mut buffer, bytes_max, &mut self.slots, &self.subscriptions, |_| proven);
                longest = longest.max(buffer.len());
                told.extend(texts(&buffer));
            }
            (told, longest)
        }
    }

    /// The params of each notification in frames of up to 64 KiB.
    fn texts(mut frames: &[u8]) -> Vec<Value> {
        let mut texts = Vec::new();
        while let [_, len, rest @ ..] = frames {
            let (len, rest) = match len {
                126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
                len => (usize::from(*len), rest),
            };
            let mut text: Value = serde_json::from_slice(&rest[..len]).expect("JSON");
            texts.push(text["params"].take());
            frames = &rest[len..];
        }
        texts
    }

    #[test]
    fn a_flip_back_before_it_was_written_is_not_told() {
        let mut connection = Connection::of(&[1, 2]);
        for slot in connection.all() {
            connection.slots.doubt(slot);
        }
        assert_eq!(connection.told(1_000).0, Vec::<Value>::new());
        connection.is_fresh.set(false);
        for slot in connection.all().into_iter().chain(connection.all()) {
            connection.slots.doubt(slot);
        }
        let (told, _) = connection.told(1_000);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0]["subscriptions"].as_array().map(Vec::len), Some(2), "{told:?}");
    }

    #[test]
    fn long_lists_are_cut_and_name_each_key_once() {
        let mut connection = Connection::of(&[3_000, 1, 3_000]);
        connection.is_fresh.set(false);
        let doubted: Vec<SlotId> = connection.all().into_iter().filter(|slot| slot.0 != 0).collect();
        for &slot in &doubted {
            connection.slots.doubt(slot);
        }
        let (told, longest) = connection.told(20_000);
        assert!(longest < 20_000 + 2 * NOTICE_BYTES, "{longest}");
        assert!(told.len() > 2, "{}", told.len());
        let keys = told.iter().flat_map(|told| told["keys"]["s1"].as_array().cloned().unwrap_or_default());
        let mut keys: Vec<String> = keys.map(|key| key.to_string()).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 2_999, "all but one of the first");
        let whole = |id: &str| {
            told.iter()
                .filter(|told| told["subscriptions"].as_array().is_some_and(|all| all.contains(&id.into())))
                .count()
        };
        assert_eq!((whole("s2"), whole("s3")), (1, 1), "named once, without keys");
        assert!(told.iter().all(|told| told["keys"].get("s3").is_none()));
    }
}
