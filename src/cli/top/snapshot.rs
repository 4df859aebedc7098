//! What a node says of itself, once a second.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    cli::figures::{grouped, lasting},
    shared::Switches,
};

/// Counts by a label, such as the tier or the reason.
pub(super) type Counts = BTreeMap<String, u64>;

/// An event of `/v1/stats/events`: counts since the node started, and how things stand now. What a node of another
/// release leaves out is taken as zero.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Snapshot {
    pub(super) uptime_s: u64,
    pub(super) connections: u64,
    pub(super) watchers: u64,
    pub(super) messages: u64,
    pub(super) errors: Counts,
    /// Reads, by the tier that answered.
    pub(super) answers: Counts,
    pub(super) store_reads: u64,
    /// Writes, by outcome.
    pub(super) writes: Counts,
    pub(super) pushes: u64,
    pub(super) conflations: u64,
    /// The certificate's age: how long ago the node knew that it had applied every change.
    pub(super) age_ms: u64,
    pub(super) fresh: bool,
    /// Each database by itself.
    pub(super) databases: Vec<Database>,
    pub(super) local: Local,
    /// `None` from a node without Redis.
    pub(super) redis: Option<Redis>,
    /// `None` from a node that does not audit.
    pub(super) audit: Option<Audit>,
    /// Of the last second; `None` from a node that does not measure it.
    pub(super) delivery: Option<Delivery>,
}

/// What the node knows of a database.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Database {
    pub(super) name: String,
    pub(super) fresh: bool,
    pub(super) age_ms: u64,
    /// None from a node that does not say, or that keeps records in memory.
    pub(super) servers: Vec<Server>,
}

/// What the node knows of one of a database's servers.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Server {
    /// Host and port, or the folder of its socket.
    pub(super) server: String,
    pub(super) role: Role,
    /// How far a replica is behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lag_ms: Option<u64>,
    /// Records that it has read for clients.
    pub(super) reads: u64,
    /// Why it is asked nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
}

/// What a server is to its database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    Primary,
    Replica,
    Banned,
    /// One that this release does not know.
    #[default]
    #[serde(other)]
    Unknown,
}

impl Database {
    /// All servers but the primary.
    pub(super) fn replicas(&self) -> impl Iterator<Item = &Server> {
        self.servers.iter().filter(|server| server.role != Role::Primary)
    }
}

/// How Redis stands.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Redis {
    /// Whether it is asked.
    pub(super) open: bool,
    /// For how long that has been so.
    pub(super) since_s: u64,
    /// Why it is not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    /// What of it the node uses.
    pub(super) switches: Switches,
    pub(super) databases: Vec<Kept>,
}

/// How much of a database is kept in Redis.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Kept {
    pub(super) name: String,
    pub(super) slices: u32,
    /// From which records may be answered.
    pub(super) usable: u32,
    /// Those that the node keeps current.
    pub(super) kept_here: u32,
    pub(super) behind_ms: Option<u64>,
}

/// What comparisons of cached records with the primary have found.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Audit {
    pub(super) audited: u64,
    pub(super) wrong: u64,
    /// The last that was wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last: Option<LastWrong>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct LastWrong {
    pub(super) ago_s: u64,
    pub(super) found: String,
}

/// `audited 1,204, wrong 0`, and what was wrong last.
impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "audited {}, wrong {}", grouped(self.audited), grouped(self.wrong))?;
        match &self.last {
            Some(LastWrong { ago_s, found }) => write!(f, "; {} ago: {found}", lasting(*ago_s as f64)),
            None => Ok(()),
        }
    }
}

impl Redis {
    /// Slices from which records may be answered, of all.
    pub(super) fn usable(&self) -> (u32, u32) {
        self.databases.iter().fold((0, 0), |(usable, all), kept| (usable + kept.usable, all + kept.slices))
    }
}

/// `Redis in use, 250 ms behind, 1 slice of 1 kept by this node`, or why it is not.
impl fmt::Display for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(reason) = self.reason.as_deref().filter(|_| !self.open) {
            return write!(f, "Redis not in use for {}: {reason}", lasting(self.since_s as f64));
        }
        let (usable, all) = self.usable();
        write!(f, "Redis in use")?;
        if let Some(behind) = self.databases.iter().filter_map(|kept| kept.behind_ms).max() {
            write!(f, ", {} behind", age(behind))?;
        }
        if usable < all {
            write!(f, ", {} of {} slices not kept", all - usable, all)?;
        }
        match self.databases.iter().map(|kept| kept.kept_here).sum::<u32>() {
            0 => {}
            kept if kept == all => write!(f, ", kept by this node")?,
            kept => write!(f, ", {kept} of {all} slices kept by this node")?,
        }
        let Switches { reads, fills, hints, .. } = self.switches;
        for (name, _) in [("reads", reads), ("fills", fills), ("hints", hints)].iter().filter(|(_, is_on)| !is_on) {
            write!(f, ", {name} off")?;
        }
        Ok(())
    }
}

/// How many of the replicas answer reads, and how far those are behind at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Replicas {
    pub(super) all: usize,
    pub(super) asked: usize,
    pub(super) lag_ms: u64,
}

impl Replicas {
    pub(super) fn of<'s>(servers: impl Iterator<Item = &'s Server>) -> Self {
        servers.fold(Replicas::default(), |sum, server| {
            let is_asked = server.role == Role::Replica;
            let lag_ms = server.lag_ms.filter(|_| is_asked).unwrap_or_default();
            Replicas { all: sum.all + 1, asked: sum.asked + usize::from(is_asked), lag_ms: sum.lag_ms.max(lag_ms) }
        })
    }
}

impl fmt::Display for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "replicas {}/{}", self.asked, self.all)?;
        match self.asked {
            0 => Ok(()),
            _ => write!(f, " {}", age(self.lag_ms)),
        }
    }
}

/// Beyond this age, seconds say more than milliseconds.
const MILLIS_MAX: u64 = 9_999;

/// `1,250 ms`, `12 s`.
pub(super) fn age(millis: u64) -> String {
    match millis {
        ..=MILLIS_MAX => format!("{} ms", grouped(millis)),
        _ => lasting(millis as f64 / 1e3),
    }
}

/// L1.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Local {
    pub(super) entries: u64,
    pub(super) bytes: u64,
    /// The most it may take; 0 from a node that does not say.
    pub(super) capacity: u64,
}

/// From commit to the socket: how many states were delivered, and how long that took.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Delivery {
    pub(super) count: u64,
    /// `None` when nothing was delivered.
    pub(super) p50_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
}

/// What happened a second between two snapshots.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Rates {
    pub(super) answers: BTreeMap<String, f64>,
    pub(super) store_reads: f64,
    pub(super) writes: BTreeMap<String, f64>,
    pub(super) errors: BTreeMap<String, f64>,
    pub(super) pushes: f64,
    pub(super) conflations: f64,
    pub(super) messages: f64,
}

impl Snapshot {
    /// The rates since `older`, which arrived `apart` before this one. A node that was restarted in between counts from
    /// zero again, over the time it is up.
    pub(super) fn since(&self, older: &Snapshot, apart: Duration) -> Rates {
        if self.restarted(older) {
            let up = Duration::from_secs(self.uptime_s.max(1));
            return self.rates(&Snapshot::default(), up.as_secs_f64());
        }
        // Snapshots may arrive in a bunch after a stall. Whole seconds of uptime say within one how far they were apart.
        let uptime = (self.uptime_s - older.uptime_s) as f64;
        self.rates(older, apart.as_secs_f64().clamp((uptime - 1.0).max(0.5), uptime + 1.0))
    }

    /// Whose certificates are too old, in a few words; nothing where there is one database.
    pub(super) fn not_fresh(&self) -> Option<String> {
        let old: Vec<_> = self.databases.iter().filter(|database| !database.fresh).collect();
        match (&old[..], self.databases.len()) {
            (_, 0 | 1) | ([], _) => None,
            ([one], _) => Some(one.name.clone()),
            (some, all) => Some(format!("{} of {all}", some.len())),
        }
    }

    /// Whether the node began anew after `older`.
    fn restarted(&self, older: &Snapshot) -> bool {
        let fell = |now: &Counts, then: &Counts| then.iter().any(|(label, &n)| now.get(label).is_none_or(|&m| m < n));
        self.uptime_s < older.uptime_s
            || self.messages < older.messages
            || self.pushes < older.pushes
            || self.store_reads < older.store_reads
            || fell(&self.answers, &older.answers)
            || fell(&self.writes, &older.writes)
    }

    fn rates(&self, older: &Snapshot, seconds: f64) -> Rates {
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
        let by_label = |now: &Counts, then: &Counts| -> BTreeMap<String, f64> {
            let rate =
                |(label, &n): (&String, &u64)| (label.clone(), rate(n, then.get(label).copied().unwrap_or_default()));
            now.iter().map(rate).collect()
        };
        Rates {
            answers: by_label(&self.answers, &older.answers),
            store_reads: rate(self.store_reads, older.store_reads),
            writes: by_label(&self.writes, &older.writes),
            errors: by_label(&self.errors, &older.errors),
            pushes: rate(self.pushes, older.pushes),
            conflations: rate(self.conflations, older.conflations),
            messages: rate(self.messages, older.messages),
        }
    }
}

impl Rates {
    /// Reads, whichever tier answered.
    pub(super) fn reads(&self) -> f64 {
        self.answers.values().sum()
    }

    /// Writes, whatever came of them.
    pub(super) fn writes(&self) -> f64 {
        self.writes.values().sum()
    }

    /// The share of reads that `tier` answered; `None` when there were none.
    pub(super) fn share(&self, tier: &str) -> Option<f64> {
        let all = self.reads();
        (all > 0.0).then(|| self.answers.get(tier).copied().unwrap_or_default() / all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(text: &str) -> Snapshot {
        serde_json::from_str(text).expect("a snapshot")
    }

    #[test]
    fn rates_are_differences_over_the_time_between() {
        let older = snapshot(r#"{"uptime_s":10,"messages":100,"answers":{"local":50},"pushes":5}"#);
        let newer = snapshot(r#"{"uptime_s":12,"messages":140,"answers":{"local":80,"store":10},"pushes":5}"#);
        let rates = newer.since(&older, Duration::from_secs(2));
        assert_eq!((rates.messages, rates.pushes, rates.reads()), (20.0, 0.0, 20.0));
        assert_eq!((rates.share("local"), rates.share("store")), (Some(0.75), Some(0.25)));
        assert_eq!(rates.share("filter"), Some(0.0));
        assert_eq!(Rates::default().share("local"), None);
    }

    #[test]
    fn one_database_that_is_too_old_is_named_and_several_are_counted() {
        let databases = |fresh: &[bool]| {
            let all: Vec<_> =
                fresh.iter().map(|fresh| format!(r#"{{"name":"shop-{fresh}","fresh":{fresh}}}"#)).collect();
            snapshot(&format!(r#"{{"databases":[{}]}}"#, all.join(","))).not_fresh()
        };
        assert_eq!((databases(&[]), databases(&[false]), databases(&[true, true])), (None, None, None));
        assert_eq!(databases(&[true, false]).as_deref(), Some("shop-false"));
        assert_eq!(databases(&[true, false, false]).as_deref(), Some("2 of 3"));
    }

    #[test]
    fn redis_is_told_in_a_line() {
        let said = |redis: &str| snapshot(&format!(r#"{{"redis":{redis}}}"#)).redis.map(|redis| redis.to_string());
        let kept = |usable: u32, kept_here: u32| {
            let database = r#"{"name":"shop","slices":16,"#;
            said(&format!(
                r#"{{"open":true,"since_s":9,"databases":[{database}"usable":{usable},"kept_here":{kept_here},"behind_ms":250}}]}}"#
            ))
        };
        assert_eq!(said("null"), None);
        assert_eq!(kept(16, 16).as_deref(), Some("Redis in use, 250 ms behind, kept by this node"));
        assert_eq!(kept(16, 0).as_deref(), Some("Redis in use, 250 ms behind"));
        let some = "Redis in use, 250 ms behind, 4 of 16 slices not kept, 3 of 16 slices kept by this node";
        assert_eq!(kept(12, 3).as_deref(), Some(some));
        let away = said(r#"{"open":false,"since_s":90,"reason":"connection refused"}"#);
        assert_eq!(away.as_deref(), Some("Redis not in use for 90 s: connection refused"));
    }

    #[test]
    fn a_restarted_node_counts_from_zero() {
        let older = snapshot(r#"{"uptime_s":100,"messages":1000,"answers":{"local":500}}"#);
        let newer = snapshot(r#"{"uptime_s":4,"messages":40,"answers":{"local":8}}"#);
        let rates = newer.since(&older, Duration::from_secs(9));
        assert_eq!((rates.messages, rates.reads()), (10.0, 2.0));
        // It was away for longer than it had been up, and only its counters tell.
        let later = snapshot(r#"{"uptime_s":200,"messages":400,"answers":{"local":600}}"#);
        assert_eq!(later.since(&older, Duration::from_secs(300)).messages, 2.0);
    }

    #[test]
    fn snapshots_in_a_bunch_do_not_make_a_peak() {
        let older = snapshot(r#"{"uptime_s":10,"messages":0}"#);
        let newer = snapshot(r#"{"uptime_s":13,"messages":30}"#);
        assert_eq!(newer.since(&older, Duration::from_micros(5)).messages, 15.0);
        assert_eq!(newer.since(&older, Duration::from_secs(60)).messages, 7.5);
    }

    #[test]
    fn a_node_that_measures_no_delivery_is_understood() {
        assert!(snapshot(r#"{"uptime_s":1,"something":"new"}"#).delivery.is_none());
        let measured = snapshot(r#"{"delivery":{"count":0,"p50_ms":null,"p99_ms":null}}"#);
        assert_eq!(measured.delivery.map(|delivery| (delivery.count, delivery.p50_ms)), Some((0, None)));
    }
}
