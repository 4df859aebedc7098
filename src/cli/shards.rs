//! `freshet shards`: where every logical shard stands.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    Error, Output,
    database::DatabaseArgs,
    figures::{counted, grouped, size},
    table::{Cell, Paint, Palette, Table},
};
use crate::store::postgres::{
    session::Session,
    shard_range::ranges,
    survey::{self, Collection, Shard},
};

/// What to show.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    database: DatabaseArgs,
    /// A line for each shard, not for each run of like ones.
    #[arg(long)]
    all: bool,
}

/// What one database has.
#[derive(Serialize)]
struct Survey {
    database: String,
    collections: Vec<Collection>,
}

/// A shard that is not owned exactly once.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Misplaced {
    collection: String,
    shards: Vec<u32>,
}

/// What all databases have together.
#[derive(Serialize)]
struct Report {
    databases: Vec<Survey>,
    owned_by_none: Vec<Misplaced>,
    owned_by_two: Vec<Misplaced>,
}

/// Prints the shards of every collection, and those that no database or two databases own.
///
/// # Errors
/// [`Error::Found`] when a shard is not owned exactly once.
pub async fn run(args: Args, output: &mut Output) -> Result<(), Error> {
    let mut databases = Vec::new();
    for target in args.database.targets()? {
        let mut session = Session::open(&target.database.url, "shards").await?;
        let collections = survey::collections(&mut session).await?;
        session.close().await;
        databases.push(Survey { database: target.place.to_string(), collections });
    }
    let report = Report {
        owned_by_none: misplaced(&databases, |owners| owners == 0),
        owned_by_two: misplaced(&databases, |owners| owners > 1),
        databases,
    };
    output.summary(&report, &described(&report, args.all, output.palette()))?;
    match report.owned_by_none.is_empty() && report.owned_by_two.is_empty() {
        true => Ok(()),
        false => Err(Error::Found(
            "some shards are not owned exactly once; their keys are answered with an error.\n  \
             `freshet migrate` creates partitions that are missing; `freshet doctor` says more"
                .into(),
        )),
    }
}

/// The shards with a number of owners that is `wrong`. A collection without any partition is not in use.
fn misplaced(databases: &[Survey], wrong: impl Fn(usize) -> bool) -> Vec<Misplaced> {
    let mut owners: BTreeMap<(&str, i32), usize> = BTreeMap::new();
    for collection in databases.iter().flat_map(|survey| &survey.collections).filter(|c| is_used(c)) {
        for shard in &collection.shards {
            *owners.entry((&collection.name, shard.number)).or_default() += usize::from(shard.is_owned());
        }
    }
    let mut found: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for ((collection, shard), _) in owners.into_iter().filter(|(_, owners)| wrong(*owners)) {
        found.entry(collection).or_default().push(shard.unsigned_abs());
    }
    found.into_iter().map(|(collection, shards)| Misplaced { collection: collection.to_owned(), shards }).collect()
}

fn is_used(collection: &Collection) -> bool {
    collection.shards.iter().any(|shard| shard.partition.is_some())
}

fn described(report: &Report, all: bool, palette: Palette) -> String {
    let mut text = String::new();
    for survey in &report.databases {
        text.push_str(&format!("{}\n\n", palette.paint(Paint::Strong, &survey.database)));
        if survey.collections.is_empty() {
            text.push_str("  no table is tracked: call freshet.track('your_table') in a migration\n\n");
        }
        for collection in &survey.collections {
            // Each database lists the shards that it has; the summary names those without an owner.
            let is_shown = |shard: &&Shard| report.databases.len() == 1 || shard.partition.is_some();
            let shards: Vec<&Shard> = collection.shards.iter().filter(is_shown).collect();
            text.push_str(&section(collection, &shards, all, palette));
            text.push('\n');
        }
    }
    text.push_str(&summary(report, palette));
    text
}

fn section(collection: &Collection, shards: &[&Shard], all: bool, palette: Palette) -> String {
    let name = palette.paint(Paint::Strong, &collection.name);
    if !is_used(collection) {
        return format!("{name}  has no partition here; `freshet migrate` creates them\n");
    }
    let (rows, bytes) = totals(shards);
    let whole = counted(collection.shards.len(), "shard");
    let here = if shards.len() == collection.shards.len() { whole } else { format!("{} of {whole}", shards.len()) };
    let about = format!(
        "{} key {}, {}, about {}, {}",
        collection.key_kind,
        collection.key_column,
        here,
        counted(rows as usize, "row"),
        size(bytes)
    );
    let mut table = Table::headed(["shard", "partition", "state", ">epoch", ">gen", ">rows", ">size"]);
    for run in shards.chunk_by(|a, b| !all && is_like(a, b)) {
        table.push(row(run));
    }
    format!("{name}  {}\n{}", palette.paint(Paint::Quiet, &about), table.lay_out(palette))
}

/// Whether two neighbours can share a line.
fn is_like(a: &Shard, b: &Shard) -> bool {
    let place = |shard: &Shard| (shard.partition.is_some(), shard.epoch, shard.generation);
    a.state == b.state && place(a) == place(b)
}

fn row(run: &[&Shard]) -> [Cell; 7] {
    let (first, last) = (run[0], run[run.len() - 1]);
    let partition = match (&first.partition, &last.partition) {
        (Some(only), Some(_)) if run.len() == 1 => only.into(),
        (Some(first), Some(last)) => format!("{first} .. {last}").into(),
        _ => Cell::painted(Paint::Quiet, "-"),
    };
    let (rows, bytes) = totals(run);
    let figure = |number: Option<i64>| Cell::figure(number.map_or("-".into(), |number| number.to_string()));
    [
        ranges(run.iter().map(|shard| shard.number.unsigned_abs())).into(),
        partition,
        state(first),
        figure(first.epoch),
        figure(first.generation),
        Cell::figure(grouped(rows)),
        Cell::figure(size(bytes)),
    ]
}

/// A shard that says it is here and has no partition is lost; one that left is not.
fn state(shard: &Shard) -> Cell {
    match (shard.state.as_deref(), shard.partition.is_some()) {
        (Some("active"), true) => Cell::painted(Paint::Good, "active"),
        (Some("active" | "frozen") | None, false) => Cell::painted(Paint::Bad, "missing"),
        (Some(state), _) => Cell::painted(Paint::Warn, state),
        (None, true) => Cell::painted(Paint::Bad, "unregistered"),
    }
}

fn totals(shards: &[&Shard]) -> (u64, u64) {
    let sum = |figure: fn(&Shard) -> Option<i64>| {
        shards.iter().filter_map(|shard| figure(shard)).map(i64::unsigned_abs).sum()
    };
    (sum(|shard| shard.rows), sum(|shard| shard.bytes))
}

fn summary(report: &Report, palette: Palette) -> String {
    let named = |found: &[Misplaced]| match found {
        [] => palette.paint(Paint::Good, "none"),
        found => {
            let names = found.iter().map(|m| format!("{} {}", m.collection, ranges(m.shards.iter().copied())));
            palette.paint(Paint::Bad, &names.collect::<Vec<_>>().join("; "))
        }
    };
    format!("owned by no database: {}   owned by two: {}", named(&report.owned_by_none), named(&report.owned_by_two))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survey(database: &str, owned: &[i32]) -> Survey {
        let shard = |number: i32| Shard {
            collection: "c".into(),
            number,
            state: owned.contains(&number).then(|| "active".into()),
            epoch: Some(1),
            generation: Some(1),
            partition: owned.contains(&number).then(|| format!("c_{number:03}")),
            rows: Some(2),
            bytes: Some(1024),
        };
        let collection = Collection {
            name: "c".into(),
            key_column: "k".into(),
            key_kind: "text".into(),
            shards: (0..8).map(shard).collect(),
        };
        Survey { database: database.into(), collections: vec![collection] }
    }

    #[test]
    fn a_shard_of_none_and_one_of_two_are_named() {
        let databases = [survey("a", &[0, 1, 2, 3, 4]), survey("b", &[4, 5, 7])];
        let shards = |wrong: fn(usize) -> bool| misplaced(&databases, wrong).pop().map(|found| found.shards);
        assert_eq!(shards(|owners| owners == 0), Some(vec![6]));
        assert_eq!(shards(|owners| owners > 1), Some(vec![4]));
        assert_eq!(misplaced(&[survey("unused", &[])], |owners| owners == 0), []);
    }

    #[test]
    fn each_of_several_databases_lists_its_own_shards() {
        let databases = vec![survey("a", &[0, 1, 2, 3]), survey("b", &[4, 5, 6, 7])];
        let report = Report { databases, owned_by_none: vec![], owned_by_two: vec![] };
        let text = described(&report, false, Palette { colours: false });
        assert!(!text.contains("missing") && text.matches("4 of 8 shards").count() == 2, "{text}");
    }

    #[test]
    fn like_neighbours_share_a_line() {
        let survey = survey("a", &[0, 1, 2, 5, 6, 7]);
        let shards: Vec<&Shard> = survey.collections[0].shards.iter().collect();
        let section = |all| section(&survey.collections[0], &shards, all, Palette { colours: false });
        let text = section(false);
        let lines: Vec<_> = text.lines().skip(2).map(|line| line.split_whitespace().next().unwrap_or("")).collect();
        assert_eq!(lines, ["0-2", "3-4", "5-7"], "{text}");
        assert!(text.contains("c_000 .. c_002") && text.contains("missing"), "{text}");
        assert_eq!(section(true).lines().count(), 10);
    }
}
