//! A node's second as a line, for logs and programs.

use serde::Serialize;

use super::{
    node::{Node, State},
    snapshot::{Audit, Database, Delivery, Local, Rates, Redis, Replicas},
};
use crate::cli::figures::{latency, rate, share};

/// A node's last second. Of a node that is away only that is said.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    node: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", flatten)]
    second: Option<Second>,
}

#[derive(Debug, Serialize)]
struct Second {
    uptime_s: u64,
    connections: u64,
    watchers: u64,
    /// The share of this second's reads that L1 answered; `None` without reads.
    hit_rate: Option<f64>,
    fresh: bool,
    age_ms: u64,
    databases: Vec<Database>,
    per_second: Rates,
    delivery: Option<Delivery>,
    local: Local,
    #[serde(skip_serializing_if = "Option::is_none")]
    redis: Option<Redis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audit: Option<Audit>,
}

impl Report {
    /// How `node` stands; `None` while nothing can be said.
    pub(super) fn of(node: &Node) -> Option<Self> {
        let (state, reason, second) = match &node.state {
            State::Connecting => return None,
            State::Away { reason, .. } => ("away", Some(reason.clone()), None),
            State::Live => {
                let (now, last) = (node.now()?, node.last.as_ref()?);
                let second = Second {
                    uptime_s: last.uptime_s,
                    connections: last.connections,
                    watchers: last.watchers,
                    hit_rate: now.rates.share("local"),
                    fresh: last.fresh,
                    age_ms: last.age_ms,
                    databases: last.databases.clone(),
                    per_second: now.rates.clone(),
                    delivery: now.delivery,
                    local: last.local,
                    redis: last.redis.clone(),
                    audit: last.audit.clone(),
                };
                ("live", None, Some(second))
            }
        };
        Some(Report { node: node.address.to_string(), state, reason, second })
    }

    /// Why the node cannot be followed, if it cannot.
    pub(super) fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// One line.
    pub(super) fn text(&self) -> String {
        let Some(second) = &self.second else {
            return format!("{}  away: {}", self.node, self.reason.as_deref().unwrap_or_default());
        };
        let rates = &second.per_second;
        let mut text = format!(
            "{}  {} reads/s, {} hits, {} store reads/s, {} writes/s, {} pushes/s, {} conflated/s",
            self.node,
            rate(rates.reads()),
            second.hit_rate.map_or("-".into(), share),
            rate(rates.store_reads),
            rate(rates.writes()),
            rate(rates.pushes),
            rate(rates.conflations),
        );
        if let Some((p50, p99)) = second.delivery.and_then(|delivery| Some((delivery.p50_ms?, delivery.p99_ms?))) {
            text.push_str(&format!(", to screen p50 {} p99 {}", latency(p50), latency(p99)));
        }
        let freshness = if second.fresh { "fresh" } else { "not fresh" };
        text.push_str(&format!(", {} connections, {freshness} ({} ms)", second.connections, second.age_ms));
        let replicas = Replicas::of(second.databases.iter().flat_map(Database::replicas));
        if replicas.all > 0 {
            text.push_str(&format!(", {replicas}"));
        }
        if let Some(redis) = &second.redis {
            text.push_str(&format!(", {redis}"));
        }
        if let Some(audit) = &second.audit {
            text.push_str(&format!(", {audit}"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{super::feed::News, super::node::tests::busy, *};

    #[test]
    fn a_second_is_a_line_and_an_object() {
        let report = Report::of(&busy("a:1", 3)).expect("a report");
        assert_eq!(
            report.text(),
            "a:1  1,006 reads/s, 99.4% hits, 5.0 store reads/s, 6.0 writes/s, 5.0 pushes/s, 1.0 conflated/s, \
             to screen p50 1.5 ms p99 7.0 ms, 12 connections, fresh (12 ms)"
        );
        let json = serde_json::to_value(&report).expect("JSON");
        assert_eq!((&json["state"], &json["per_second"]["pushes"]), (&"live".into(), &5.0.into()));
        assert_eq!(json["delivery"]["count"], 40);
    }

    #[test]
    fn a_node_that_is_away_is_said_with_its_reason() {
        let mut node = busy("a:1", 3);
        node.hear(News::Away("connection refused".into()), Instant::now());
        let report = Report::of(&node).expect("a report");
        assert_eq!(report.text(), "a:1  away: connection refused");
        assert_eq!(
            serde_json::to_string(&report).expect("JSON"),
            r#"{"node":"a:1","state":"away","reason":"connection refused"}"#
        );
    }

    #[test]
    fn nothing_is_said_of_a_node_before_its_second_snapshot() {
        assert!(Report::of(&busy("a:1", 0)).is_none());
    }
}
