//! One thing that was looked at, and what was made of it.

use serde::Serialize;

/// What a finding means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and an operator should know.
    Warn,
    /// Records are not served, changes are not seen, data is at risk, or what is configured cannot be used.
    Fail,
}

/// What was looked at, what was found, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// What it is about: the server, the database or a collection.
    pub(super) about: String,
    pub(super) check: String,
    pub(super) verdict: Verdict,
    pub(super) detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hint: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: impl Into<String>, detail: impl Into<String>) -> Self {
        let (check, detail) = (check.into(), detail.into());
        Finding { about: String::new(), check, verdict: Verdict::Ok, detail, hint: None }
    }

    pub(super) fn warn(check: impl Into<String>, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Finding { verdict: Verdict::Warn, hint: Some(hint.into()), ..Finding::ok(check, detail) }
    }

    pub(super) fn fail(check: impl Into<String>, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Finding { verdict: Verdict::Fail, ..Finding::warn(check, detail, hint) }
    }

    pub(super) fn about(self, about: impl Into<String>) -> Self {
        Finding { about: about.into(), ..self }
    }
}
