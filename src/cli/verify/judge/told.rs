//! Histories of one key, written by hand, for tests.

use std::time::Duration;

use super::{Claim, Judgement, judge};
use crate::{
    cli::verify::history::{Content, Event, History, Micros, Outcome, Pushed, Read, State, Subscribed, Truth, Write},
    record::Stamp,
};

/// A millisecond.
pub(super) const MS: Micros = 1_000;
/// The age up to which an answer need not tell it.
const FRESH: Duration = Duration::from_secs(3);

/// A history of one key, told in milliseconds; versions are of generation 1.
#[derive(Default)]
pub(super) struct Told(pub(super) History);

pub(super) fn stamp(version: u64) -> Stamp {
    Stamp::new(1, version)
}

/// The state at `version`, with content `number`.
pub(super) fn at(version: u64, number: u64) -> State {
    State {
        stamp: stamp(version),
        content: Some(Content { number: Some(number), digest: Some(number) }),
        stale_ms: None,
    }
}

pub(super) fn absent(version: u64) -> State {
    State { stamp: stamp(version), content: None, stale_ms: None }
}

pub(super) fn acknowledged(version: u64) -> Outcome {
    Outcome::Acknowledged { stamp: stamp(version) }
}

pub(super) fn refused() -> Outcome {
    Outcome::Refused { reason: "deadline".into(), current: None }
}

pub(super) fn conflict(version: u64) -> Outcome {
    Outcome::Refused { reason: "version_conflict".into(), current: Some(stamp(version)) }
}

pub(super) fn unknown() -> Outcome {
    Outcome::Unknown { reason: "lost".into() }
}

impl Told {
    pub(super) fn new() -> Self {
        let mut told = Told::default();
        told.0.keys.push("k".into());
        told.0.sessions = vec!["ws://a".into(), "ws://b".into()];
        told
    }

    pub(super) fn event(mut self, event: Event) -> Self {
        self.0.events.push(event);
        self
    }

    /// A write over session 0, sent and ended then.
    pub(super) fn write(self, number: impl Into<Option<u64>>, [sent, ended]: [Micros; 2], outcome: Outcome) -> Self {
        self.write_with(number, [sent, ended], outcome, |_| {})
    }

    pub(super) fn write_with(
        self,
        number: impl Into<Option<u64>>,
        [sent, ended]: [Micros; 2],
        outcome: Outcome,
        change: impl FnOnce(&mut Write),
    ) -> Self {
        let mut write = Write {
            key: 0,
            session: Some(0),
            number: number.into(),
            if_stamp: None,
            is_repeat: false,
            sent: sent * MS,
            ended: ended * MS,
            outcome,
        };
        change(&mut write);
        self.event(Event::Write(write))
    }

    pub(super) fn by_sql(self, number: impl Into<Option<u64>>, times: [Micros; 2], outcome: Outcome) -> Self {
        self.write_with(number, times, outcome, |write| write.session = None)
    }

    pub(super) fn read_on(self, session: u32, min: Option<u64>, [sent, received]: [Micros; 2], state: State) -> Self {
        let (sent, received, min_stamp) = (sent * MS, received * MS, min.map(stamp));
        self.event(Event::Read(Read { key: 0, session, min_stamp, sent, received, state }))
    }

    /// A read over session 1.
    pub(super) fn read(self, times: [Micros; 2], state: State) -> Self {
        self.read_on(1, None, times, state)
    }

    pub(super) fn subscribed(self, since: Option<u64>, sent: Micros) -> Self {
        let (sent, since) = (sent * MS, since.map(stamp));
        self.event(Event::Subscribed(Subscribed { subscription: 1, key: 0, session: 1, since, sent }))
    }

    pub(super) fn push(self, at: Micros, state: State) -> Self {
        self.pushed(at, state, false)
    }

    pub(super) fn pushed(self, at: Micros, state: State, reset: bool) -> Self {
        self.event(Event::Pushed(Pushed { subscription: 1, key: 0, session: 1, at: at * MS, reset, state }))
    }

    pub(super) fn truth(self, state: State) -> Self {
        self.event(Event::Truth(Truth { key: 0, at: 100_000 * MS, by_sql: true, state }))
    }

    pub(super) fn judged(&self) -> Vec<Judgement> {
        judge(&self.0, FRESH)
    }

    #[track_caller]
    pub(super) fn accepted(self) {
        self.violates(&[]);
    }

    #[track_caller]
    pub(super) fn violates(self, claims: &[Claim]) {
        let judged = self.judged();
        let violated: Vec<Claim> =
            judged.iter().filter(|judgement| judgement.violations > 0).map(|judgement| judgement.claim).collect();
        assert_eq!(violated, claims, "{judged:#?}");
    }
}
