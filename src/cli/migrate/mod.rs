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
use crate::store::postgres::migrate::{self, Database, Orders, Refused, Source};

/// The longest statement that is shown whole.
const STATEMENT_CHARS_MAX: usize = 100;

/// What to set up.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    database: DatabaseArgs,
    /// Migrations to run in place of the shipped ones: a copy of migrations/ with your own after them.
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Create the demo's collection as well, for `freshet demo --config FILE` over databases of your own.
    #[arg(long, conflicts_with = "folder")]
    demo: bool,
    /// Give this role all the rights that `freshet serve` needs. Later runs give it those on what was made since.
    #[arg(long, value_name = "ROLE")]
    grant: Option<String>,
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
        source: args.source(),
        grantee: args.grant.as_deref(),
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

impl Args {
    fn source(&self) -> Source<'_> {
        match &self.folder {
            Some(folder) => Source::Folder(folder),
            None if self.demo => Source::Demo,
            None => Source::Release,
        }
    }
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

/// A statement as a line of a table: each of 64 partitions may be in it. JSON has all of it.
fn shortened(statement: &str) -> String {
    let statement = statement.strip_prefix("GRANT ").unwrap_or(statement);
    match statement.char_indices().nth(STATEMENT_CHARS_MAX) {
        Some((end, _)) => format!("{} ...", &statement[..end]),
        None => statement.to_owned(),
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
