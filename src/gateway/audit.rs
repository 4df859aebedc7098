//! What the standing audit has found, for `/v1/stats/events` and `/readyz`.

use std::time::Duration;

use serde::Serialize;

use super::readiness::Check;
use crate::tiers::audit::{Finding, Findings};

/// So long after a record was found wrong, a node says so.
const ALARM: Duration = Duration::from_secs(60 * 60);

/// What was found since the node started.
#[derive(Debug, Serialize)]
pub(super) struct Audit {
    /// Records that were compared with the primary.
    audited: u64,
    wrong: u64,
    /// The last that was wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<Last>,
}

#[derive(Debug, Serialize)]
struct Last {
    ago_s: u64,
    found: String,
}

impl From<Findings> for Audit {
    fn from(findings: Findings) -> Self {
        let last = findings.last.map(|Finding { at, text }| Last { ago_s: at.elapsed().as_secs(), found: text });
        Audit { audited: findings.audited, wrong: findings.wrong, last }
    }
}

impl Audit {
    /// A node that has answered something wrong still serves: another may be no better. It is for an operator to look.
    pub(super) fn check(&self) -> Check {
        let Audit { audited, wrong, last } = self;
        let counted = format!("{audited} cached records compared with the primary, {wrong} wrong");
        let recent = last.as_ref().filter(|last| last.ago_s < ALARM.as_secs());
        let detail = match recent {
            Some(Last { ago_s, found }) => format!("{counted}; {ago_s} s ago: {found}"),
            None => counted,
        };
        Check { name: "audit".into(), ok: recent.is_none(), detail }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_was_wrong_is_told_for_an_hour() {
        let found = || "shared held products/a as 1.7 with 20 bytes, the primary as 1.7 with 21 bytes".to_owned();
        let check = |last: Option<u64>| {
            Audit {
                audited: 1_204,
                wrong: u64::from(last.is_some()),
                last: last.map(|ago_s| Last { ago_s, found: found() }),
            }
            .check()
        };
        let counted = "1204 cached records compared with the primary";
        let told = check(None);
        assert_eq!((told.ok, told.detail), (true, format!("{counted}, 0 wrong")));
        let told = check(Some(60));
        assert_eq!((told.ok, told.detail), (false, format!("{counted}, 1 wrong; 60 s ago: {}", found())));
        let told = check(Some(3_600));
        assert_eq!((told.ok, told.detail), (true, format!("{counted}, 1 wrong")));
    }
}
