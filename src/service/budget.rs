//! How much memory answers may take, from before they are put together until their clients have taken them.
//!
//! Each answer has a [`Charge`] with a limit of its own, and what all of them take together is bounded by a [`Budget`] for
//! the node. A small answer is never refused for what others hold: the first [`SMALL_BYTES`] of each charge are free of
//! the node's bound, since the number of connections and of their requests bounds these already.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use prometheus::IntGauge;

use super::Error;
use crate::telemetry::Telemetry;

/// What one answer may take, in bytes, whatever the other answers of the node take.
pub const SMALL_BYTES: usize = 32 * 1024;

/// The memory that all answers of a node may take together. Cheap to clone.
#[derive(Clone)]
pub struct Budget {
    inner: Arc<Inner>,
}

struct Inner {
    limit: usize,
    taken: AtomicUsize,
    gauge: IntGauge,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize, telemetry: &Telemetry) -> Self {
        let help = "Memory held by answers larger than 32 KiB that clients have not taken yet.";
        let gauge = telemetry.gauge("freshet_service_answer_bytes", help);
        let help = "What freshet_service_answer_bytes may come to: service.answers_max.";
        telemetry.limit("freshet_service_answer_max_bytes", help, limit);
        Budget { inner: Arc::new(Inner { limit, taken: AtomicUsize::new(0), gauge }) }
    }

    /// A charge for one answer of at most `limit` bytes; it takes nothing yet.
    pub fn charge(&self, limit: usize) -> Charge {
        Charge { budget: self.clone(), limit: AtomicUsize::new(limit), taken: AtomicUsize::new(0) }
    }

    fn take(&self, bytes: usize) -> bool {
        if bytes == 0 {
            return true;
        }
        let before = self.inner.taken.fetch_add(bytes, Ordering::Relaxed);
        let is_within = before + bytes <= self.inner.limit;
        if is_within {
            self.show();
        } else {
            self.give_back(bytes);
        }
        is_within
    }

    fn give_back(&self, bytes: usize) {
        if bytes > 0 {
            self.inner.taken.fetch_sub(bytes, Ordering::Relaxed);
            self.show();
        }
    }

    fn show(&self) {
        let taken = self.inner.taken.load(Ordering::Relaxed);
        self.inner.gauge.set(i64::try_from(taken).unwrap_or(i64::MAX));
    }
}

/// What one answer takes; given back when dropped.
pub struct Charge {
    budget: Budget,
    limit: AtomicUsize,
    taken: AtomicUsize,
}

impl Charge {
    /// Takes `bytes` more.
    ///
    /// # Errors
    /// [`Error::AnswerTooLarge`] beyond the charge's own limit, [`Error::AnswersOverloaded`] beyond the node's. Then
    /// nothing was taken.
    pub fn take(&self, bytes: usize) -> Result<(), Error> {
        let (before, limit) = (self.taken.fetch_add(bytes, Ordering::Relaxed), self.limit.load(Ordering::Relaxed));
        let refused = if before + bytes > limit {
            Error::AnswerTooLarge { limit }
        } else if self.budget.take(beyond_small(before + bytes) - beyond_small(before)) {
            return Ok(());
        } else {
            Error::AnswersOverloaded
        };
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
        Err(refused)
    }

    /// What is taken, in bytes.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Gives `bytes` of what was taken back.
    pub fn give_back(&self, bytes: usize) {
        let before = self.taken.fetch_sub(bytes, Ordering::Relaxed);
        self.budget.give_back(beyond_small(before) - beyond_small(before - bytes));
    }

    /// Sets what is taken, within any bound or not: for memory that is held already.
    pub fn set(&mut self, bytes: usize) {
        let before = std::mem::replace(self.taken.get_mut(), bytes);
        let (before, now) = (beyond_small(before), beyond_small(bytes));
        if now > before {
            self.budget.inner.taken.fetch_add(now - before, Ordering::Relaxed);
            self.budget.show();
        } else {
            self.budget.give_back(before - now);
        }
    }

    /// Raises the charge's own limit to `bytes`.
    pub fn raise_limit(&self, bytes: usize) {
        self.limit.fetch_max(bytes, Ordering::Relaxed);
    }

    /// `answer`, with the charge that is given back when its last copy is dropped.
    pub fn hold(self, answer: Bytes) -> Bytes {
        Bytes::from_owner(Held { answer, _charge: self })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.give_back(beyond_small(*self.taken.get_mut()));
    }
}

struct Held {
    answer: Bytes,
    _charge: Charge,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.answer
    }
}

fn beyond_small(bytes: usize) -> usize {
    bytes.saturating_sub(SMALL_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(limit: usize) -> Budget {
        Budget::new(limit, &Telemetry::new())
    }

    fn taken(budget: &Budget) -> usize {
        budget.inner.taken.load(Ordering::Relaxed)
    }

    #[test]
    fn an_answer_beyond_its_own_limit_takes_nothing_more() {
        let budget = budget(1 << 30);
        let charge = budget.charge(100_000);
        charge.take(60_000).expect("within the limit");
        assert!(matches!(charge.take(60_000), Err(Error::AnswerTooLarge { limit: 100_000 })));
        assert_eq!(taken(&budget), 60_000 - SMALL_BYTES);
        charge.raise_limit(200_000);
        charge.take(60_000).expect("the limit was raised");
        charge.give_back(60_000);
        assert_eq!(taken(&budget), 60_000 - SMALL_BYTES);
        drop(charge);
        assert_eq!(taken(&budget), 0);
    }

    #[test]
    fn small_answers_pass_however_much_others_hold() {
        let budget = budget(1 << 20);
        let large = budget.charge(usize::MAX);
        large.take(SMALL_BYTES + (1 << 20)).expect("all there is");
        let (small, other) = (budget.charge(usize::MAX), budget.charge(usize::MAX));
        small.take(SMALL_BYTES).expect("small answers are free");
        assert!(matches!(other.take(SMALL_BYTES + 1), Err(Error::AnswersOverloaded)));
        drop(large);
        other.take(SMALL_BYTES + 1).expect("there is room again");
        drop((small, other));
        assert_eq!(taken(&budget), 0);
    }

    #[test]
    fn what_is_held_already_counts_and_what_is_sent_does_not() {
        let budget = budget(1);
        let mut charge = budget.charge(0);
        charge.set(SMALL_BYTES + 5);
        assert_eq!(taken(&budget), 5);
        charge.set(10);
        assert_eq!(taken(&budget), 0);
    }

    #[test]
    fn a_held_answer_is_charged_until_its_last_copy_is_dropped() {
        let budget = budget(1 << 20);
        let charge = budget.charge(usize::MAX);
        charge.take(SMALL_BYTES + 7).expect("room");
        let answer = charge.hold(Bytes::from_static(b"answer"));
        let copy = answer.slice(1..);
        drop(answer);
        assert_eq!((&copy[..], taken(&budget)), (&b"nswer"[..], 7));
        drop(copy);
        assert_eq!(taken(&budget), 0);
    }
}
