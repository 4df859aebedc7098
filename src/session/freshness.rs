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
