//! `freshet doctor`: everything that would keep a node from serving, or would cost data.

mod database;
mod examine;
mod finding;
mod server;

use serde::Serialize;

use self::finding::{Finding, Verdict};
use super::{
    Error, Output,
    database::DatabaseArgs,
    figures::counted,
    table::{Cell, Paint, Palette, Table},
};

/// The most of a finding that is shown to people.
const DETAIL_CHARS_MAX: usize = 240;

/// What to look at.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    database: DatabaseArgs,
    /// Read every tracked row as well.
    #[arg(long)]
    deep: bool,
}

#[derive(Serialize)]
struct Report {
    database: String,
    findings: Vec<Finding>,
}

/// Prints what was looked at, with a verdict each and what to do. Changes nothing.
///
/// # Errors
/// [`Error::Database`] when there is nothing to look at; [`Error::Found`] when a finding is a failure.
pub async fn run(args: Args, output: &mut Output) -> Result<(), Error> {
    let mut failures = 0;
    for target in args.database.targets()? {
        let findings = examine::examine(&target, args.deep).await?;
        failures += count(&findings, Verdict::Fail);
        let report = Report { database: target.place.to_string(), findings };
        output.summary(&report, &described(&report, output.palette()))?;
    }
    match failures {
        0 => Ok(()),
        failures => Err(Error::Found(format!("{} to mend", counted(failures, "failure")))),
    }
}

fn count(findings: &[Finding], verdict: Verdict) -> usize {
    findings.iter().filter(|finding| finding.verdict == verdict).count()
}

fn described(report: &Report, palette: Palette) -> String {
    let mut table = Table::default();
    for about in report.findings.chunk_by(|a, b| a.about == b.about) {
        table.title(&about[0].about);
        about.iter().for_each(|finding| push(&mut table, finding));
    }
    let [ok, warnings, failures] = [Verdict::Ok, Verdict::Warn, Verdict::Fail].map(|v| count(&report.findings, v));
    let paint = match (warnings, failures) {
        (0, 0) => Paint::Good,
        (_, 0) => Paint::Warn,
        _ => Paint::Bad,
    };
    let verdict = format!("{ok} ok, {}, {}", counted(warnings, "warning"), counted(failures, "failure"));
    let (place, verdict) = (palette.paint(Paint::Strong, &report.database), palette.paint(paint, &verdict));
    format!("{place}\n{}\n{verdict}", table.lay_out(palette))
}

fn push(table: &mut Table, finding: &Finding) {
    let verdict = match finding.verdict {
        Verdict::Ok => Cell::painted(Paint::Good, "ok"),
        Verdict::Warn => Cell::painted(Paint::Warn, "warn"),
        Verdict::Fail => Cell::painted(Paint::Bad, "FAIL"),
    };
    table.push([verdict, (&finding.check).into(), shortened(&finding.detail).into()]);
    if let Some(hint) = &finding.hint {
        table.push(["".into(), "".into(), Cell::painted(Paint::Strong, format!("-> {hint}"))]);
    }
}

/// Each of 64 partitions may have the same fault; JSON has them all.
fn shortened(detail: &str) -> String {
    match detail.char_indices().nth(DETAIL_CHARS_MAX) {
        Some((end, _)) => format!("{} ... (all of it with --format json)", &detail[..end]),
        None => detail.to_owned(),
    }
}
