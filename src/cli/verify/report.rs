//! The verdict of a run, for people and for programs.

use std::time::Duration;

use serde::Serialize;

use super::{
    cleanup::Left,
    explain::explain,
    history::{Event, History, Outcome},
    judge::{Claim, Judgement},
    recorder::Disturbances,
};
use crate::cli::{
    Error,
    figures::{counted, grouped},
    pretty::harmless,
    table::{Cell, Paint, Palette, Table},
};

/// Violations of a claim that are explained to people; programs get more.
const EXPLAINED_MAX: usize = 3;

/// What a run came to.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) verdict: Verdict,
    pub(super) collection: String,
    pub(super) nodes: Vec<String>,
    pub(super) databases: Vec<String>,
    pub(super) seed: u32,
    pub(super) figures: Figures,
    pub(super) disturbances: Disturbances,
    pub(super) claims: Vec<Judgement>,
    /// What was not done, and why.
    pub(super) left_out: Vec<String>,
    /// Nodes that no connection led to at the end.
    pub(super) away: Vec<String>,
    /// Records that could not be deleted.
    pub(super) left: Left,
}

/// All in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Clean,
    Violated,
    /// Too little was seen to judge.
    Inconclusive,
}

/// How much was done and seen.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Figures {
    keys: usize,
    events: usize,
    pub(super) writes_per_s: f64,
    acknowledged: u64,
    /// Of these, by SQL.
    by_sql: u64,
    refused: u64,
    unknown: u64,
    reads: u64,
    pushes: u64,
    subscriptions: u64,
}

impl Figures {
    /// Of a history whose load lasted so long.
    pub(super) fn of(history: &History, lasted: Duration) -> Self {
        let (keys, events) = (history.keys.len(), history.events.len());
        let mut figures = Figures { keys, events, ..Figures::default() };
        for event in &history.events {
            match event {
                Event::Write(write) => {
                    let figure = match write.outcome {
                        Outcome::Acknowledged { .. } => &mut figures.acknowledged,
                        Outcome::Refused { .. } => &mut figures.refused,
                        Outcome::Unknown { .. } => &mut figures.unknown,
                    };
                    *figure += 1;
                    figures.by_sql += u64::from(write.session.is_none() && write.stamp().is_some());
                }
                Event::Read(_) => figures.reads += 1,
                Event::Pushed(_) => figures.pushes += 1,
                Event::Subscribed(_) => figures.subscriptions += 1,
                _ => {}
            }
        }
        // Creating the records was not part of the load.
        let writes = (figures.acknowledged + figures.refused + figures.unknown).saturating_sub(keys as u64);
        figures.writes_per_s = writes as f64 / lasted.as_secs_f64().max(f64::MIN_POSITIVE);
        figures
    }
}

impl Verdict {
    pub(super) fn of(claims: &[Judgement]) -> Self {
        let is_seen = |claim: Claim| claims.iter().any(|judgement| judgement.claim == claim && judgement.checked > 0);
        match claims.iter().any(|judgement| judgement.violations > 0) {
            true => Verdict::Violated,
            false if [Claim::Rising, Claim::Acknowledged, Claim::Ends].into_iter().all(is_seen) => Verdict::Clean,
            false => Verdict::Inconclusive,
        }
    }
}

impl Report {
    /// The exit that the verdict asks for.
    ///
    /// # Errors
    /// [`Error::Found`] when a claim is violated, too little was seen, or records were left behind; [`Error::Away`] when
    /// too little was seen because nodes were away.
    pub(super) fn exit(&self) -> Result<(), Error> {
        let violations: u64 = self.claims.iter().map(|judgement| judgement.violations).sum();
        let broken = self.claims.iter().filter(|judgement| judgement.violations > 0).count();
        match self.verdict {
            Verdict::Violated => Err(Error::Found(format!(
                "{} of {}",
                counted(violations as usize, "violation"),
                counted(broken, "promise")
            ))),
            Verdict::Inconclusive if !self.away.is_empty() => Err(Error::Away(self.away.join(", "))),
            Verdict::Inconclusive => {
                Err(Error::Found("too little was seen to judge: give it more --seconds, or a higher --rate".into()))
            }
            Verdict::Clean if !self.left.keys.is_empty() => {
                Err(Error::Found(format!("{} could not be deleted", counted(self.left.keys.len(), "record"))))
            }
            Verdict::Clean => Ok(()),
        }
    }

    pub(super) fn text(&self, history: &History, palette: Palette) -> String {
        let mut table = Table::headed(["promise", ">checked", ">violations"]);
        for judgement in &self.claims {
            table.push(row(judgement));
        }
        let mut text = table.lay_out(palette);
        for judgement in self.claims.iter().filter(|judgement| judgement.violations > 0) {
            text.push_str(&violations(judgement, history, palette));
        }
        text.push('\n');
        for line in self.notes() {
            text.push_str(&format!("  {}\n", palette.paint(Paint::Quiet, &line)));
        }
        text.push_str(&format!("\n{}", self.verdict_line(palette)));
        text
    }

    fn verdict_line(&self, palette: Palette) -> String {
        let checked: u64 = self.claims.iter().map(|judgement| judgement.checked).sum();
        let violations: u64 = self.claims.iter().map(|judgement| judgement.violations).sum();
        let (word, paint) = match self.verdict {
            Verdict::Clean => ("clean", Paint::Good),
            Verdict::Violated => ("violated", Paint::Bad),
            Verdict::Inconclusive => ("inconclusive", Paint::Warn),
        };
        let figures = format!("{} checks, {}", grouped(checked), counted(violations as usize, "violation"));
        format!("{}: {figures}", palette.paint(paint, word))
    }

    /// What the run consisted of, what disturbed it and what it left out.
    fn notes(&self) -> Vec<String> {
        let Figures { acknowledged, by_sql, refused, unknown, reads, pushes, subscriptions, .. } = self.figures;
        let [acknowledged, by_sql, refused, unknown, reads, pushes, subscriptions] =
            [acknowledged, by_sql, refused, unknown, reads, pushes, subscriptions].map(grouped);
        let mut notes = vec![
            format!("{} of {}, {}", counted(self.figures.keys, "record"), self.collection, self.nodes.join(", ")),
            format!(
                "writes: {acknowledged} acknowledged ({by_sql} by SQL), {refused} refused, {unknown} of unknown outcome"
            ),
            format!("{reads} states read, {pushes} pushed to {subscriptions} subscribed keys; --seed {}", self.seed),
            self.disturbed(),
        ];
        notes.extend(match &self.databases[..] {
            [] => None,
            [only] => Some(format!("written and read by SQL: {only}")),
            all => Some(format!("written and read by SQL: {}", counted(all.len(), "database"))),
        });
        notes.extend(self.left_out.iter().map(|what| format!("left out: {what}")));
        notes.extend(self.away.iter().map(|node| format!("away at the end: {node}")));
        let deleted = || format!("cleaned up: {} deleted", counted(self.figures.keys, "record"));
        notes.push(self.left.told(&self.collection).unwrap_or_else(deleted));
        notes
    }

    fn disturbed(&self) -> String {
        let Disturbances { disconnects, drains, timeouts, refusals, last_loss } = &self.disturbances;
        let mut text = format!(
            "{}, {}, {}",
            counted(*disconnects as usize, "lost connection"),
            counted(*drains as usize, "drain"),
            counted(*timeouts as usize, "timeout")
        );
        for (reason, count) in refusals {
            text.push_str(&format!(", {} {}", grouped(*count), harmless(reason)));
        }
        text.push_str(
            &last_loss.as_ref().map(|reason| format!("; last lost: {}", harmless(reason))).unwrap_or_default(),
        );
        text
    }
}

fn row(judgement: &Judgement) -> [Cell; 3] {
    let violations = match (judgement.checked, judgement.violations) {
        (0, _) => Cell::figure("not checked"),
        (_, 0) => Cell::figure("none"),
        (_, violations) => Cell::figure(grouped(violations)).paint(Paint::Bad),
    };
    [judgement.says.into(), Cell::figure(grouped(judgement.checked)), violations]
}

fn violations(judgement: &Judgement, history: &History, palette: Palette) -> String {
    let mut text = format!("\n{}\n", palette.paint(Paint::Strong, judgement.says));
    for violation in judgement.first.iter().take(EXPLAINED_MAX) {
        text.push_str(&format!("  {}\n", palette.paint(Paint::Bad, &violation.what)));
        for [what, about] in violation.evidence.iter().map(|event| explain(event, history)) {
            text.push_str(&format!("  {what}\n             {}\n", palette.paint(Paint::Quiet, &about)));
        }
    }
    let more = judgement.violations.saturating_sub(EXPLAINED_MAX as u64);
    if more > 0 {
        text.push_str(&format!("  and {} more\n", grouped(more)));
    }
    text
}
