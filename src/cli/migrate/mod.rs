//! `freshet migrate`: sets the databases up, side by side, or with `--check` says what is left to do.

mod plan;
mod progress;
mod result;

use std::path::PathBuf;

use self::progress::Progress;
use super::{
    Error, Output,
    database::{DatabaseArgs, Target},
    output::Format,
};
use crate::store::postgres::migrate::{self, Database, Orders, Refused};

/// What to set up.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    database: DatabaseArgs,
    /// Migrations to run in place of the shipped ones: a copy of migrations/ with your own after them.
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Create the shards of a database that was lost anew, without its records, although nodes have served the others.
    #[arg(long)]
    rebuild: bool,
    /// Change nothing; list what is left to do, and exit with 1 if there is anything.
    #[arg(long)]
    check: bool,
}

/// Runs the migrations and creates missing partitions on all databases, side by side. While one of them is away, or refuses,
/// nothing is changed in any.
///
/// # Errors
/// [`Error::Migrate`] naming the databases that failed, [`Error::Placement`] when shards cannot be placed; [`Error::Found`] when
/// a check finds something to do.
pub async fn run(args: Args, output: &mut Output) -> Result<(), Error> {
    let targets = args.database.all_targets()?;
    let databases: Vec<Database> = targets.iter().map(Target::to_migrate).collect();
    let orders = Orders {
        databases: &databases,
        modulus: targets[0].shards,
        folder: args.folder.as_deref(),
        rebuilds: args.rebuild,
    };
    if args.check {
        let plans = migrate::plan(orders).await.map_err(|refused| refusal(&targets, refused))?;
        return plan::print(&targets, &plans, output);
    }
    let progress = match output.format() {
        Format::Human => Progress::shown(&targets, output.palette()),
        Format::Json => Progress::silent(),
    };
    let migrated = migrate::migrate(orders, &|at, step| progress.hear(at, &step)).await;
    progress.end();
    result::print(&targets, migrated.map_err(|refused| refusal(&targets, refused))?, output)
}

impl Target {
    fn to_migrate(&self) -> Database {
        Database {
            name: self.name.clone(),
            url: self.database.url.clone(),
            replicas: self.database.replicas.clone(),
            initial: self.initial.clone(),
        }
    }
}

/// Each of several databases is told by its name, the only one by its place.
fn label(targets: &[Target], at: usize) -> String {
    match targets.len() {
        1 => targets[at].place.to_string(),
        _ => targets[at].name.clone(),
    }
}

fn refusal(targets: &[Target], refused: Refused) -> Error {
    match refused {
        Refused::Databases(failed) => {
            let named = failed.into_iter().map(|(at, error)| (label(targets, at), error));
            Error::Migrate { failed: named.collect(), others_are_unchanged: targets.len() > 1 }
        }
        Refused::Placement(error) => Error::Placement(error),
        one => Error::Usage(format!("failed to {one}\n  remove one of the two [[database]] entries")),
    }
}
