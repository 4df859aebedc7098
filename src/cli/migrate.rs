//! `freshet migrate`: sets the databases up, side by side, or with `--check` says what is left to do.

use std::{path::PathBuf, time::Instant};

use futures_util::future::join_all;
use serde::Serialize;

use super::{
    Error, Output,
    database::{DatabaseArgs, Target},
    figures::{counted, lasting, ranges},
    table::{Cell, Paint, Palette, Table},
};
use crate::store::postgres::{
    migrate::{self, Placement, Plan, Report},
    shard_range::ShardRange,
};

/// What to set up.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    database: DatabaseArgs,
    /// Migrations to run in place of the shipped ones: a copy of migrations/ with your own after them.
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Change nothing; list what is left to do, and exit with 1 if there is anything.
    #[arg(long)]
    check: bool,
}

/// Runs the migrations and creates missing partitions on all databases, side by side. All are looked at before any is changed:
/// while one of them is away, or refuses, nothing is placed.
///
/// # Errors
/// [`Error::Migrate`] for the first database that fails; [`Error::Found`] when a check finds something to do.
pub async fn run(args: Args, output: &mut Output) -> Result<(), Error> {
    let targets = args.database.targets()?;
    let folder = args.folder.as_deref();
    let planned = targets.iter().map(async |target| {
        let plan = migrate::plan(&target.database.url, folder, &target.placement()).await;
        plan.map_err(|error| target.failed(error))
    });
    let plans = join_all(planned).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    if args.check {
        return check(&targets, &plans, output);
    }
    let migrated = targets.iter().map(async |target| {
        let began = Instant::now();
        let report = migrate::migrate(&target.database.url, folder, &target.placement()).await;
        report.map(|report| (report, began.elapsed().as_secs_f64())).map_err(|error| target.failed(error))
    });
    let mut failed = None;
    for (target, migrated) in targets.iter().zip(join_all(migrated).await) {
        match migrated {
            Ok((report, took)) => {
                output.summary(&Done::new(target, &report), &done(target, &report, took, output.palette()))?;
            }
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(()), Err)
}

fn check(targets: &[Target], plans: &[Plan], output: &mut Output) -> Result<(), Error> {
    for (target, plan) in targets.iter().zip(plans) {
        output.summary(&Planned::new(target, plan), &planned(target, plan, output.palette()))?;
    }
    let todo = plans.iter().filter(|plan| !plan.is_done()).count();
    match (todo, targets.len()) {
        (0, _) => Ok(()),
        (_, 1) => Err(Error::Found("the database is not up to date; run `freshet migrate` to bring it there".into())),
        (todo, all) => Err(Error::Found(format!(
            "{todo} of {all} databases are not up to date; run `freshet migrate` to bring them there"
        ))),
    }
}

impl Target {
    /// The shards that the database shall have.
    fn placement(&self) -> Placement {
        let shards = self.database.shards.as_ref().map_or(0..=self.shards - 1, ShardRange::numbers);
        Placement { modulus: self.shards, shards }
    }

    fn failed(&self, error: migrate::Error) -> Error {
        Error::Migrate { place: self.place.clone(), error }
    }
}

#[derive(Serialize)]
struct Done<'a> {
    database: &'a str,
    applied: &'a [String],
    created: Vec<Partitions<'a>>,
}

#[derive(Serialize)]
struct Partitions<'a> {
    collection: &'a str,
    partitions: i64,
}

impl<'a> Done<'a> {
    fn new(target: &'a Target, report: &'a Report) -> Self {
        let created = report.created.iter();
        let created = created.map(|(collection, partitions)| Partitions { collection, partitions: *partitions });
        Done { database: &target.place, applied: &report.applied, created: created.collect() }
    }
}

#[derive(Serialize)]
struct Planned<'a> {
    database: &'a str,
    pending: &'a [String],
    missing: Vec<Missing<'a>>,
}

#[derive(Serialize)]
struct Missing<'a> {
    collection: &'a str,
    shards: &'a [u32],
}

impl<'a> Planned<'a> {
    fn new(target: &'a Target, plan: &'a Plan) -> Self {
        let missing = plan.missing.iter().filter(|(_, shards)| !shards.is_empty());
        let missing = missing.map(|(collection, shards)| Missing { collection, shards }).collect();
        Planned { database: &target.place, pending: &plan.pending, missing }
    }
}

fn done(target: &Target, report: &Report, took: f64, palette: Palette) -> String {
    let created: i64 = report.created.iter().map(|(_, created)| created).sum();
    let place = palette.paint(Paint::Strong, &target.place);
    if report.applied.is_empty() && created == 0 {
        return format!("{place} is up to date: {}", collections(report.created.iter().map(|(name, _)| name), target));
    }
    let mut table = Table::default();
    for migration in &report.applied {
        table.push([Cell::painted(Paint::Good, "applied"), migration.into()]);
    }
    for (collection, partitions) in report.created.iter().filter(|(_, created)| *created > 0) {
        let text = format!("{} of {collection}", counted(partitions.unsigned_abs() as usize, "partition"));
        table.push([Cell::painted(Paint::Good, "created"), text.into()]);
    }
    let applied = counted(report.applied.len(), "migration");
    let created = counted(created.unsigned_abs() as usize, "partition");
    format!("{place}\n\n{}\n{applied} applied, {created} created in {}", table.lay_out(palette), lasting(took))
}

fn planned(target: &Target, plan: &Plan, palette: Palette) -> String {
    let place = palette.paint(Paint::Strong, &target.place);
    if plan.is_done() {
        let collections = collections(plan.missing.iter().map(|(name, _)| name), target);
        return format!("{place} is up to date: {}, {collections}", counted(plan.applied, "migration"));
    }
    let mut table = Table::default();
    for migration in &plan.pending {
        table.push([Cell::painted(Paint::Warn, "pending"), migration.into()]);
    }
    for (collection, shards) in plan.missing.iter().filter(|(_, shards)| !shards.is_empty()) {
        let text = format!("{collection}: shards {} of {}", ranges(shards.iter().copied()), target.shards);
        table.push([Cell::painted(Paint::Warn, "missing"), text.into()]);
    }
    format!("{place}\n\n{}", table.lay_out(palette).trim_end())
}

fn collections<'a>(names: impl Iterator<Item = &'a String>, target: &Target) -> String {
    let names: Vec<_> = names.map(String::as_str).collect();
    let (whole, placed) = (counted(target.shards as usize, "shard"), target.placement().shards.count());
    let shards = if placed == target.shards as usize { whole } else { format!("{placed} of {whole}") };
    match &names[..] {
        [] => "no collection is partitioned".into(),
        names => format!("{shards} of {}", names.join(", ")),
    }
}
