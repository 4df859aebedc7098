//! How Redis stands, for `/v1/stats/events` and `/readyz`.

use std::time::Duration;

use serde::Serialize;

use super::readiness::Check;
use crate::{
    shared::Switches,
    telemetry::Reading,
    tiers::{SharedDatabase, SharedState, Tiers},
};

/// How Redis stands.
#[derive(Debug, Serialize)]
pub(super) struct Redis {
    /// Whether it is asked.
    open: bool,
    /// For how long that has been so.
    since_s: u64,
    /// Why it is not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// What of it this node uses.
    switches: Switches,
    databases: Vec<Kept>,
}

/// What is known of a database there.
#[derive(Debug, Serialize)]
struct Kept {
    name: String,
    slices: u32,
    /// From which records may be answered.
    usable: u32,
    /// Those that this node keeps current.
    kept_here: u32,
    /// How far they are behind what this node has applied, at most.
    behind_ms: Option<u64>,
}

impl Redis {
    /// `None` without Redis.
    pub(super) fn read(tiers: &Tiers, reading: impl FnOnce() -> Reading) -> Option<Self> {
        let SharedState { standing, switches, databases } = tiers.shared_state()?;
        let reading = reading();
        let kept = |SharedDatabase { name, slices, usable, behind }| {
            let kept_here = reading.where_label("freshet_changes_kept_slices", "database", &name) as u32;
            Kept { name, slices, usable, kept_here, behind_ms: behind.map(millis) }
        };
        Some(Redis {
            open: standing.is_open,
            since_s: standing.since.elapsed().as_secs(),
            reason: standing.reason,
            switches,
            databases: databases.into_iter().map(kept).collect(),
        })
    }

    /// Without Redis the databases answer what it would have answered: that is no reason to send clients elsewhere.
    pub(super) fn check(&self) -> Check {
        let databases = self.databases.iter().map(Kept::describe).collect::<Vec<_>>().join("; ");
        let detail = match &self.reason {
            None => format!("in use for {} s; {databases}", self.since_s),
            Some(reason) => format!("not in use for {} s: {reason}", self.since_s),
        };
        let off = describe_off(&self.switches);
        let detail = if off.is_empty() { detail } else { format!("{detail}; switched off: {off}") };
        let ok = self.open && self.databases.iter().all(|database| database.usable == database.slices);
        Check { name: "redis".into(), ok, detail }
    }
}

impl Kept {
    fn describe(&self) -> String {
        let Kept { name, slices, usable, kept_here, .. } = self;
        let behind = self.behind_ms.map_or_else(String::new, |behind| format!(", {behind} ms behind"));
        match (slices, usable, kept_here) {
            (1, 0, _) => format!("{name} is kept by no node"),
            (1, _, 0) => format!("{name} is kept by another node{behind}"),
            (1, _, _) => format!("{name} is kept by this node{behind}"),
            (_, _, _) => format!("{name}: {usable} of {slices} slices kept, {kept_here} by this node{behind}"),
        }
    }
}

/// What an operator has switched off.
fn describe_off(switches: &Switches) -> String {
    let Switches { reads, fills, hints, shadow } = *switches;
    let reads_off = match shadow {
        0.0 => "reads".to_owned(),
        share => format!("reads, with a share of {share} in shadow"),
    };
    let off = [(reads, reads_off), (fills, "fills".into()), (hints, "hints".into())];
    off.into_iter().filter(|(is_on, _)| !is_on).map(|(_, name)| name).collect::<Vec<_>>().join(", ")
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_says_who_keeps_a_database_and_why_redis_is_not_asked() {
        let kept =
            |slices, usable, kept_here, behind_ms| Kept { name: "shop".into(), slices, usable, kept_here, behind_ms };
        let check = |reason: Option<&str>, kept| {
            let (open, reason, switches) = (reason.is_none(), reason.map(str::to_owned), Switches::default());
            let redis = Redis { open, since_s: 12, reason, switches, databases: vec![kept] };
            let Check { ok, detail, .. } = redis.check();
            (ok, detail)
        };
        for (kept, ok, expected) in [
            (kept(1, 1, 1, Some(250)), true, "in use for 12 s; shop is kept by this node, 250 ms behind"),
            (kept(1, 1, 0, Some(50)), true, "in use for 12 s; shop is kept by another node, 50 ms behind"),
            (kept(1, 0, 0, None), false, "in use for 12 s; shop is kept by no node"),
            (
                kept(16, 12, 4, Some(50)),
                false,
                "in use for 12 s; shop: 12 of 16 slices kept, 4 by this node, 50 ms behind",
            ),
        ] {
            assert_eq!(check(None, kept), (ok, expected.to_owned()));
        }
        for (switches, expected) in [
            (Switches::default(), ""),
            (Switches { reads: false, hints: false, ..Switches::default() }, "reads, hints"),
            (Switches { reads: false, shadow: 0.05, ..Switches::default() }, "reads, with a share of 0.05 in shadow"),
        ] {
            assert_eq!(describe_off(&switches), expected);
        }
        let away = check(Some("no answer within 30ms"), kept(1, 0, 0, None));
        assert_eq!(away, (false, "not in use for 12 s: no answer within 30ms".to_owned()));
    }
}
