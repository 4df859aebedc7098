//! What is known of a node: its state, its last snapshot, and the last two minutes.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{
    feed::News,
    snapshot::{Delivery, Rates, Snapshot},
};
use crate::cli::operations::Address;

/// Seconds that are remembered.
pub(super) const SECONDS_KEPT: usize = 120;

/// A node that is followed.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) address: Address,
    pub(super) state: State,
    pub(super) last: Option<Snapshot>,
    /// A second each, the oldest first; `None` where the node was away.
    seconds: VecDeque<Option<Second>>,
    arrived: Option<Instant>,
}

/// How a node stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing was heard yet.
    Connecting,
    /// It sends a snapshot a second.
    Live,
    /// It cannot be followed.
    Away {
        /// Why.
        reason: String,
        /// Since when.
        since: Instant,
    },
}

/// What happened in a second.
#[derive(Clone, Debug, Default)]
pub(super) struct Second {
    pub(super) rates: Rates,
    pub(super) delivery: Option<Delivery>,
}

impl Node {
    /// A node of which nothing was heard.
    pub(super) fn new(address: Address) -> Self {
        Node { address, state: State::Connecting, last: None, seconds: VecDeque::new(), arrived: None }
    }

    /// Takes news in that came `now`.
    pub(super) fn hear(&mut self, news: News, now: Instant) {
        match news {
            News::Snapshot(snapshot) => self.take(*snapshot, now),
            News::Away(reason) => {
                let since = match self.state {
                    State::Away { since, .. } => since,
                    _ => now,
                };
                self.state = State::Away { reason, since };
            }
        }
    }

    fn take(&mut self, snapshot: Snapshot, now: Instant) {
        if let (Some(older), Some(arrived)) = (&self.last, self.arrived) {
            let rates = snapshot.since(older, now.saturating_duration_since(arrived));
            self.remember(Some(Second { rates, delivery: snapshot.delivery }));
        }
        self.state = State::Live;
        self.arrived = Some(now);
        self.last = Some(snapshot);
    }

    /// A second has passed: one in which the node was away is remembered as a gap.
    pub(super) fn tick(&mut self) {
        if matches!(self.state, State::Away { .. }) && self.last.is_some() {
            self.remember(None);
        }
    }

    fn remember(&mut self, second: Option<Second>) {
        if self.seconds.len() == SECONDS_KEPT {
            self.seconds.pop_front();
        }
        self.seconds.push_back(second);
    }

    /// The second that ended last; `None` while the node is away or two snapshots have not come yet.
    pub(super) fn now(&self) -> Option<&Second> {
        match self.state {
            State::Live => self.seconds.back()?.as_ref(),
            _ => None,
        }
    }

    /// `figure` of each second that is remembered, with its age: 0 for the last.
    pub(super) fn series(&self, figure: impl Fn(&Second) -> Option<f64>) -> Vec<(usize, Option<f64>)> {
        let seconds = self.seconds.iter().rev().enumerate();
        seconds.map(|(age, second)| (age, second.as_ref().and_then(&figure))).collect()
    }

    /// How long the node has been away.
    pub(super) fn away_for(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Away { since, .. } => Some(now.saturating_duration_since(since)),
            _ => None,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A node that was heard once a second, `seconds` seconds long, busier with each.
    pub(in crate::cli::top) fn busy(address: &str, seconds: u64) -> Node {
        let mut node = Node::new(address.parse().expect("an address"));
        let began = Instant::now();
        for second in 0..=seconds {
            let snapshot = format!(
                r#"{{"uptime_s":{up},"connections":12,"watchers":34,"messages":{n},"pushes":{n},"conflations":{up},
                "answers":{{"local":{local},"filter":{up},"store":{n}}},"store_reads":{n},"age_ms":12,"fresh":true,
                "writes":{{"committed":{n},"conflict":{up}}},"errors":{{"overloaded":{up}}},
                "local":{{"entries":4064,"bytes":2097152,"capacity":268435456}},
                "delivery":{{"count":40,"p50_ms":1.5,"p99_ms":{p99}}}}}"#,
                up = second,
                n = second * second,
                local = second * 1000,
                p99 = 4.0 + (second % 7) as f64,
            );
            let snapshot = serde_json::from_str(&snapshot).expect("a snapshot");
            node.hear(News::Snapshot(Box::new(snapshot)), began + Duration::from_secs(second));
        }
        node
    }

    #[test]
    fn the_last_two_minutes_are_remembered() {
        let node = busy("a:1", 300);
        let reads = node.series(|second| Some(second.rates.reads()));
        assert_eq!(reads.len(), SECONDS_KEPT);
        assert_eq!(reads[0], (0, Some(1000.0 + 1.0 + 599.0)));
    }

    #[test]
    fn time_away_is_a_gap_and_no_rate() {
        let mut node = busy("a:1", 3);
        let now = Instant::now();
        node.hear(News::Away("connection refused".into()), now);
        node.hear(News::Away("connection refused".into()), now + Duration::from_secs(1));
        node.tick();
        assert!(node.now().is_none());
        assert_eq!(node.away_for(now + Duration::from_secs(4)), Some(Duration::from_secs(4)), "since the first loss");
        assert_eq!(node.series(|second| Some(second.rates.pushes))[0], (0, None));
    }

    #[test]
    fn a_node_never_heard_has_no_past() {
        let mut node = Node::new("a:1".parse().expect("an address"));
        node.hear(News::Away("connection refused".into()), Instant::now());
        node.tick();
        assert!(node.series(|_| Some(1.0)).is_empty());
    }
}
