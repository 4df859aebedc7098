//! What a run did and saw, each event with its moments.
//!
//! Promises: moments are of one monotonic clock; `sent` is no later than the request left, `ended`, `received` and `at` no
//! earlier than the message came. So "ended before sent" means that the one was over before the other began. Leaves what
//! it means to `judge`.

use serde::{Serialize, Serializer};

use crate::record::Stamp;

/// Microseconds since the run began.
pub(super) type Micros = u64;

/// A run.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct History {
    /// The keys, by their places.
    pub(super) keys: Vec<String>,
    /// Each connection that was opened, by its place: the node that it leads to.
    pub(super) sessions: Vec<String>,
    /// In the order in which they were noted.
    pub(super) events: Vec<Event>,
}

/// Something that was done or seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event {
    Write(Write),
    Read(Read),
    Subscribed(Subscribed),
    Pushed(Pushed),
    /// A subscription that is over: what comes for it later is of no account.
    Ended {
        subscription: u32,
        at: Micros,
    },
    /// A message that belongs to nothing that was asked for, or that cannot be read.
    Stray {
        session: u32,
        at: Micros,
        text: String,
    },
    Truth(Truth),
}

/// A write, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Write {
    pub(super) key: u32,
    /// The connection; `None`: a statement in the database itself.
    pub(super) session: Option<u32>,
    /// The number that it writes; `None` for a deletion.
    pub(super) number: Option<u64>,
    /// The state that the record had to be in.
    #[serde(serialize_with = "some_stamp")]
    pub(super) if_stamp: Option<Stamp>,
    /// Whether it repeats an earlier write under its idempotency key.
    pub(super) is_repeat: bool,
    pub(super) sent: Micros,
    pub(super) ended: Micros,
    pub(super) outcome: Outcome,
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    /// It was committed.
    Acknowledged {
        #[serde(serialize_with = "stamp_text")]
        stamp: Stamp,
    },
    /// It was not: so says the answer.
    Refused {
        reason: String,
        /// Where the record was instead, if that was told.
        #[serde(serialize_with = "some_stamp")]
        current: Option<Stamp>,
    },
    /// It may have been committed, and may still be.
    Unknown { reason: String },
}

/// An answer about a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Read {
    pub(super) key: u32,
    pub(super) session: u32,
    #[serde(serialize_with = "some_stamp")]
    pub(super) min_stamp: Option<Stamp>,
    pub(super) sent: Micros,
    pub(super) received: Micros,
    pub(super) state: State,
}

/// A key of a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Subscribed {
    pub(super) subscription: u32,
    pub(super) key: u32,
    pub(super) session: u32,
    #[serde(serialize_with = "some_stamp")]
    pub(super) since: Option<Stamp>,
    pub(super) sent: Micros,
}

/// A state that was pushed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Pushed {
    pub(super) subscription: u32,
    pub(super) key: u32,
    pub(super) session: u32,
    pub(super) at: Micros,
    pub(super) reset: bool,
    pub(super) state: State,
}

/// The state on which a key ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Truth {
    pub(super) key: u32,
    pub(super) at: Micros,
    /// Whether it was read in the database itself; else it is a node's answer.
    pub(super) by_sql: bool,
    pub(super) state: State,
}

/// A state as it was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct State {
    #[serde(serialize_with = "stamp_text")]
    pub(super) stamp: Stamp,
    /// `None` for an absence.
    pub(super) content: Option<Content>,
    pub(super) stale_ms: Option<u64>,
}

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Content {
    /// The number in the field that is watched; `None`: it holds none.
    pub(super) number: Option<u64>,
    /// A hash of the whole value, as far as it is known.
    pub(super) digest: Option<u64>,
}

impl Write {
    /// The stamp with which it was acknowledged.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        match self.outcome {
            Outcome::Acknowledged { stamp } => Some(stamp),
            _ => None,
        }
    }

    /// Whether it happened, or may have.
    pub(super) fn may_have_happened(&self) -> bool {
        !matches!(self.outcome, Outcome::Refused { .. })
    }

    /// After this moment it cannot happen any more.
    pub(super) fn over(&self) -> Micros {
        match self.outcome {
            Outcome::Unknown { .. } => Micros::MAX,
            _ => self.ended,
        }
    }

    pub(super) fn is_deletion(&self) -> bool {
        self.number.is_none()
    }
}

impl State {
    pub(super) fn is_absent(&self) -> bool {
        self.content.is_none()
    }

    /// Whether it is an absence whose deletion is not told: it stands for any deletion.
    pub(super) fn is_forgotten(&self) -> bool {
        self.is_absent() && self.stamp.version == 0
    }
}

fn stamp_text<S: Serializer>(stamp: &Stamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(stamp)
}

#[expect(clippy::ref_option, reason = "serde hands it over so")]
fn some_stamp<S: Serializer>(stamp: &Option<Stamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match stamp {
        Some(stamp) => serializer.collect_str(stamp),
        None => serializer.serialize_none(),
    }
}
