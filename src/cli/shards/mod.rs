//! `freshet shards`: where every logical shard stands, over all databases.

pub(super) mod owners;
mod servers;
mod survey;
mod table;

use serde::Serialize;

use self::{
    owners::{Misplaced, Owners},
    survey::Survey,
};
use super::{Error, Output, database::DatabaseArgs};

/// The columns, as `--help` explains them.
const COLUMNS: &str = "Columns: server is the database's primary; rows are its estimate, or counted with --exact, on a replica \
    where one is near enough; size includes indexes; epoch rises \
    when a shard changes hands, generation (gen) when history was lost; skew is how much larger a shard is than the average \
    shard of its collection, and for a run of shards that of the largest.";

/// What to show.
#[derive(Debug, clap::Args)]
#[command(after_help = COLUMNS)]
pub struct Args {
    #[command(flatten)]
    database: DatabaseArgs,
    /// A line for each shard, not for each run of like ones.
    #[arg(long)]
    all: bool,
    /// Count rows, which reads every one, in place of the server's estimate: on a replica, if one is near enough.
    #[arg(long)]
    exact: bool,
}

/// What all databases have together.
#[derive(Serialize)]
struct Report {
    databases: Vec<Survey>,
    #[serde(flatten)]
    owners: Owners,
    /// Whether rows were counted.
    is_exact: bool,
}

/// Prints the shards of every collection, the databases that cannot be asked, and the shards that no database or two databases
/// own.
///
/// # Errors
/// [`Error::Found`] when a shard is not owned exactly once, or a database cannot be asked; what the first one said, when none of
/// them can.
pub async fn run(args: Args, output: &mut Output) -> Result<(), Error> {
    let asked = survey::all(&args.database.targets()?, args.exact).await;
    let mut away = 0;
    let mut databases = Vec::with_capacity(asked.len());
    let mut first_error = None;
    for (survey, error) in asked {
        away += usize::from(error.is_some());
        first_error = first_error.or(error);
        databases.push(survey);
    }
    let owners = Owners::of(databases.iter().map(|survey| &survey.collections[..]), away > 0);
    let report = Report { databases, owners, is_exact: args.exact };
    if let Some(error) = first_error.filter(|_| away == report.databases.len()) {
        if away > 1 {
            output.summary(&report, &table::away(&report, output.palette()))?;
        }
        return Err(error);
    }
    output.summary(&report, &table::described(&report, args.all, output.palette()))?;
    verdict(&report.owners, away, report.databases.len())
}

fn verdict(owners: &Owners, away: usize, databases: usize) -> Result<(), Error> {
    let is_misplaced = !owners.owned_by_none.is_empty() || !owners.owned_by_two.is_empty();
    match (is_misplaced, away) {
        (false, 0) => Ok(()),
        (false, _) => Err(Error::Found(format!("{away} of {databases} databases cannot be asked"))),
        (true, _) => Err(Error::Found(
            "some shards are not owned exactly once; their keys are answered with an error.\n  \
             `freshet migrate` creates partitions that are missing; `freshet doctor` says more"
                .into(),
        )),
    }
}

/// Named in few words: `products 3, 10-11; prices 4`.
pub(super) fn named(found: &[Misplaced]) -> String {
    found.iter().map(Misplaced::to_string).collect::<Vec<_>>().join("; ")
}
