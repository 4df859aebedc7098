//! What a run came to.

use std::time::Duration;

use serde::Serialize;

use super::{Target, label, shortened};
use crate::{
    cli::{
        Error, Output,
        figures::{counted, lasting},
        output::Format,
        table::{Cell, Paint, Palette, Table},
    },
    store::postgres::migrate::{self, Report},
};

type Migrated = Result<(Report, Duration), migrate::Error>;

#[derive(Serialize)]
struct Done<'a> {
    name: &'a str,
    database: String,
    applied: &'a [String],
    created: Vec<Partitions<'a>>,
    granted: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Serialize)]
struct Partitions<'a> {
    collection: &'a str,
    partitions: i64,
}

/// Prints what was changed: of one database everything, of several a line each.
///
/// # Errors
/// [`Error::Migrate`] naming those that failed.
pub(super) fn print(targets: &[Target], migrated: Vec<Migrated>, output: &mut Output) -> Result<(), Error> {
    match (&migrated[..], output.format()) {
        (_, Format::Json) => {
            for (target, migrated) in targets.iter().zip(&migrated) {
                output.summary(&Done::new(target, migrated), "")?;
            }
        }
        ([Ok((report, took))], _) => output.summary(&(), &only(&targets[0], report, *took, output.palette()))?,
        ([Err(_)], _) => {}
        _ => output.summary(&(), &several(targets, &migrated, output.palette()))?,
    }
    let failed = migrated.into_iter().enumerate().filter_map(|(at, done)| Some((label(targets, at), done.err()?)));
    let failed: Vec<_> = failed.collect();
    if failed.is_empty() { Ok(()) } else { Err(Error::Migrate { failed, others_are_unchanged: false }) }
}

impl<'a> Done<'a> {
    fn new(target: &'a Target, migrated: &'a Migrated) -> Self {
        let report = migrated.as_ref().ok().map(|(report, _)| report);
        let created = report.into_iter().flat_map(|report| &report.created);
        Done {
            name: &target.name,
            database: target.place.to_string(),
            applied: report.map_or(&[], |report| &report.applied),
            created: created
                .map(|(collection, partitions)| Partitions { collection, partitions: *partitions })
                .collect(),
            granted: report.map_or(&[], |report| &report.granted),
            error: migrated.as_ref().err().map(|error| format!("failed to {error}")),
        }
    }
}

fn only(target: &Target, report: &Report, took: Duration, palette: Palette) -> String {
    let place = palette.paint(Paint::Strong, &target.place.to_string());
    if is_unchanged(report) {
        let names: Vec<_> = report.created.iter().map(|(name, _)| name.as_str()).collect();
        let collections = if names.is_empty() { "no collection is partitioned".into() } else { names.join(", ") };
        return format!("{place} is up to date: {collections}");
    }
    let mut table = Table::default();
    for migration in &report.applied {
        table.push([Cell::painted(Paint::Good, "applied"), migration.into()]);
    }
    for (collection, partitions) in report.created.iter().filter(|(_, created)| *created > 0) {
        let text = format!("{} of {collection}", counted(partitions.unsigned_abs() as usize, "partition"));
        table.push([Cell::painted(Paint::Good, "created"), text.into()]);
    }
    for statement in &report.granted {
        table.push([Cell::painted(Paint::Good, "granted"), shortened(statement).into()]);
    }
    let took = lasting(took.as_secs_f64());
    let [applied, created, granted] = sums([report]);
    let granted = if report.granted.is_empty() { String::new() } else { format!(", {granted} made") };
    format!("{place}\n\n{}\n{applied} applied, {created} created{granted} in {took}", table.lay_out(palette))
}

fn several(targets: &[Target], migrated: &[Migrated], palette: Palette) -> String {
    let mut table = Table::headed(["database", "server", "result", ">took"]);
    for (target, migrated) in targets.iter().zip(migrated) {
        let (result, took) = match migrated {
            Ok((report, took)) => {
                let paint = if is_unchanged(report) { Paint::Plain } else { Paint::Good };
                (Cell::painted(paint, changes(report)), lasting(took.as_secs_f64()))
            }
            Err(_) => (Cell::painted(Paint::Bad, "failed"), "-".into()),
        };
        table.push([(&target.name).into(), (&target.place.server).into(), result, Cell::figure(took)]);
    }
    let done: Vec<_> = migrated.iter().filter_map(|migrated| migrated.as_ref().ok()).collect();
    let sums = joined(done.iter().map(|(report, _)| report));
    let took = done.iter().map(|(_, took)| took.as_secs_f64()).fold(0.0, f64::max);
    let state = match done.len() == targets.len() {
        true => palette.paint(Paint::Good, &format!("{} databases are up to date", targets.len())),
        false => palette.paint(Paint::Bad, &format!("{} of {} databases are up to date", done.len(), targets.len())),
    };
    format!("{}\n{state}: {sums} in {}", table.lay_out(palette), lasting(took))
}

/// What a report says, in few words.
pub(super) fn changes(report: &Report) -> String {
    if is_unchanged(report) { "was up to date".into() } else { joined([report]) }
}

fn is_unchanged(report: &Report) -> bool {
    report.applied.is_empty() && report.granted.is_empty() && report.created.iter().all(|(_, created)| *created == 0)
}

/// `8 migrations, 64 partitions`, and grants where there were any.
fn joined<'a>(reports: impl IntoIterator<Item = &'a Report>) -> String {
    match sums(reports) {
        [applied, created, granted] if granted.starts_with("0 ") => format!("{applied}, {created}"),
        all => all.join(", "),
    }
}

/// `8 migrations`, `64 partitions` and `9 grants`.
fn sums<'a>(reports: impl IntoIterator<Item = &'a Report>) -> [String; 3] {
    let (mut applied, mut created, mut granted) = (0, 0, 0);
    for report in reports {
        applied += report.applied.len();
        granted += report.granted.len();
        created += report.created.iter().map(|(_, created)| created.unsigned_abs() as usize).sum::<usize>();
    }
    [counted(applied, "migration"), counted(created, "partition"), counted(granted, "grant")]
}
