//! Findings as people read them: all of one database; of several, first what needs a look, with the databases that have it.

use serde::Serialize;

use super::finding::{Finding, Verdict};
use crate::cli::{
    database::Target,
    figures::counted,
    table::{Cell, Paint, Palette, Table},
};
use crate::store::postgres::session::Place;

/// The most of a finding that is shown to people.
const DETAIL_CHARS_MAX: usize = 240;

/// What was found in one database, or in all together.
#[derive(Serialize)]
pub(super) struct Report {
    name: String,
    /// `shop on db1:5432`; absent for all together, and for Redis.
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<String>,
    #[serde(skip)]
    server: String,
    findings: Vec<Finding>,
}

impl Report {
    /// Of the database of `target`, whose primary is `server`.
    pub(super) fn of(target: &Target, server: String, findings: Vec<Finding>) -> Self {
        let place = Place { database: target.place.database.clone(), server };
        Report { name: target.name.clone(), database: Some(place.to_string()), server: place.server, findings }
    }

    pub(super) fn of_all(findings: Vec<Finding>) -> Self {
        Report { name: "all databases".into(), database: None, server: String::new(), findings }
    }

    pub(super) fn of_redis(findings: Vec<Finding>) -> Self {
        Report { name: "Redis".into(), ..Report::of_all(findings) }
    }

    pub(super) fn count(&self, verdict: Verdict) -> usize {
        self.findings.iter().filter(|finding| finding.verdict == verdict).count()
    }

    /// Every finding.
    pub(super) fn described(&self, palette: Palette, width: usize) -> String {
        let mut table = Table::default();
        for about in self.findings.chunk_by(|a, b| a.about == b.about) {
            table.title(&about[0].about);
            about.iter().for_each(|finding| push(&mut table, finding, None));
        }
        let title = palette.paint(Paint::Strong, self.database.as_ref().unwrap_or(&self.name));
        format!("{title}\n{}\n{}\n", table.lay_out_within(palette, width), verdict(&[self], palette))
    }
}

/// A line for each database, then what needs a look; `all` prints every finding.
pub(super) fn together(reports: &[Report], all: bool, palette: Palette, width: usize) -> String {
    let refs: Vec<&Report> = reports.iter().collect();
    if all {
        let parts = reports.iter().map(|report| report.described(palette, width) + "\n");
        return parts.collect::<String>() + &verdict(&refs, palette) + "\n";
    }
    let mut overview = Table::headed(["database", "server", ">ok", ">warnings", ">failures"]);
    for report in reports.iter().filter(|report| report.database.is_some()) {
        let count = |verdict, paint| match report.count(verdict) {
            0 => Cell::figure("0"),
            count => Cell::figure(count.to_string()).paint(paint),
        };
        overview.push([
            (&report.name).into(),
            (&report.server).into(),
            count(Verdict::Ok, Paint::Good),
            count(Verdict::Warn, Paint::Warn),
            count(Verdict::Fail, Paint::Bad),
        ]);
    }
    let mut findings = Table::default();
    let databases: Vec<&Report> = refs.iter().copied().filter(|report| report.database.is_some()).collect();
    for (finding, names) in worth_a_look(&databases) {
        if findings.is_empty() {
            findings.title("worth a look");
        }
        let place = if names.len() == databases.len() { "all databases".into() } else { names.join(", ") };
        push(&mut findings, finding, Some(&place));
    }
    for report in refs.iter().filter(|report| report.database.is_none() && !report.findings.is_empty()) {
        findings.title(&report.name);
        report.findings.iter().for_each(|finding| push(&mut findings, finding, None));
    }
    format!("{}{}\n{}\n", overview.lay_out(palette), findings.lay_out_within(palette, width), verdict(&refs, palette))
}

/// What is not in order, failures first, each once with the databases where it was found.
fn worth_a_look<'a>(reports: &[&'a Report]) -> Vec<(&'a Finding, Vec<&'a str>)> {
    let mut found: Vec<(&Finding, Vec<&str>)> = Vec::new();
    for report in reports {
        for finding in report.findings.iter().filter(|finding| finding.verdict != Verdict::Ok) {
            match found.iter_mut().find(|(known, _)| *known == finding) {
                Some((_, names)) => names.push(&report.name),
                None => found.push((finding, vec![&report.name])),
            }
        }
    }
    found.sort_by_key(|(finding, _)| finding.verdict != Verdict::Fail);
    found
}

fn verdict(reports: &[&Report], palette: Palette) -> String {
    let count = |verdict| reports.iter().map(|report| report.count(verdict)).sum::<usize>();
    let [ok, warnings, failures] = [Verdict::Ok, Verdict::Warn, Verdict::Fail].map(count);
    let paint = match (warnings, failures) {
        (0, 0) => Paint::Good,
        (_, 0) => Paint::Warn,
        _ => Paint::Bad,
    };
    palette.paint(paint, &format!("{ok} ok, {}, {}", counted(warnings, "warning"), counted(failures, "failure")))
}

fn push(table: &mut Table, finding: &Finding, place: Option<&str>) {
    let verdict = match finding.verdict {
        Verdict::Ok => Cell::painted(Paint::Good, "ok"),
        Verdict::Warn => Cell::painted(Paint::Warn, "warn"),
        Verdict::Fail => Cell::painted(Paint::Bad, "FAIL"),
    };
    let about = match place {
        Some(_) if !["server", "database"].contains(&&*finding.about) => format!("{}: ", finding.about),
        _ => String::new(),
    };
    table.push([verdict, (&finding.check).into(), (about + &shortened(&finding.detail)).into()]);
    let mut below = |paint, text: String| table.push(["".into(), "".into(), Cell::painted(paint, text)]);
    if let Some(place) = place {
        below(Paint::Quiet, format!("in {place}"));
    }
    for (at, line) in finding.hint.iter().flat_map(|hint| hint.lines()).enumerate() {
        below(Paint::Strong, format!("{} {}", if at == 0 { "->" } else { "  " }, line.trim_start()));
    }
}

/// Each of 64 partitions may have the same fault; JSON has them all.
fn shortened(detail: &str) -> String {
    match detail.char_indices().nth(DETAIL_CHARS_MAX) {
        Some((end, _)) => format!("{} ... (all of it with --format json)", &detail[..end]),
        None => detail.to_owned(),
    }
}
