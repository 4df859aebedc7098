//! The shards as a table for people, a part for each collection.

use std::collections::BTreeMap;

use super::{Report, named, owners::Misplaced, servers, survey::Survey};
use crate::{
    cli::{
        figures::{counted, grouped, size},
        output::columns,
        table::{Cell, Paint, Palette, Table},
    },
    store::postgres::{
        shard_range::ranges,
        survey::{Collection, Shard},
    },
};

/// A shard and where it stands; one that no database has may be on one that cannot be asked.
#[derive(Clone, Copy)]
struct Line<'a> {
    number: u32,
    survey: Option<&'a Survey>,
    shard: Option<&'a Shard>,
}

/// The same collection in every database that has it, in the databases' order.
type Together<'a> = Vec<(&'a Survey, &'a Collection)>;

/// All that is known.
pub(super) fn described(report: &Report, all: bool, palette: Palette) -> String {
    let mut collections: BTreeMap<&str, Together<'_>> = BTreeMap::new();
    for survey in &report.databases {
        for collection in &survey.collections {
            collections.entry(&collection.name).or_default().push((survey, collection));
        }
    }
    let mut text = String::new();
    for together in collections.values() {
        text.push_str(&section(report, together, all, palette));
        text.push('\n');
    }
    if collections.is_empty() {
        text.push_str("no table is tracked: call freshet.track('your_table') in a migration\n\n");
    }
    text.push_str(&servers::described(&report.databases, palette, columns()));
    text.push_str(&away(report, palette));
    text.push_str(&summary(report, palette));
    text
}

/// The databases that cannot be asked, each with its error and what the configuration places there.
pub(super) fn away(report: &Report, palette: Palette) -> String {
    let mut text = String::new();
    for survey in &report.databases {
        let Some(error) = &survey.error else { continue };
        let name = palette.paint(Paint::Bad, &survey.name);
        let placed = survey.initial.as_ref().map_or("no shards".into(), |range| format!("shards {range}"));
        text.push_str(&format!("{name} cannot be asked\n  {error}\n  the configuration places {placed} there\n\n"));
    }
    text
}

fn section(report: &Report, together: &Together<'_>, all: bool, palette: Palette) -> String {
    let (_, collection) = together[0];
    let name = palette.paint(Paint::Strong, &collection.name);
    if !together.iter().any(|(_, collection)| collection.is_used()) {
        return format!("{name}  has no partition here; `freshet migrate` creates them\n");
    }
    let lines = lines(report, together);
    let owned: Vec<&Shard> = lines.iter().filter_map(|line| line.shard.filter(|shard| shard.is_owned())).collect();
    let (rows, bytes) = totals(owned.iter().copied());
    let mut about = format!(
        "{} key {}, {}, {}{}, {}",
        collection.key_kind,
        collection.key_column,
        counted(collection.shards.len(), "shard"),
        if report.is_exact { "" } else { "about " },
        counted(rows as usize, "row"),
        size(bytes)
    );
    let used = together.iter().filter(|(_, collection)| collection.is_used()).count();
    if together.len() > 1 {
        about.push_str(&format!(" on {}", counted(used, "database")));
    }
    let average = bytes as f64 / owned.len().max(1) as f64;
    let mut table =
        Table::headed(["shard", "server", "database", "state", ">epoch", ">gen", ">rows", ">size", ">skew"]);
    for run in lines.chunk_by(|a, b| !all && is_like(a, b)) {
        table.push(row(run, average));
    }
    format!("{name}  {}\n{}", palette.paint(Paint::Quiet, &about), table.lay_out(palette))
}

/// A line for each shard of each database that has it, and one for each shard that none has.
fn lines<'a>(report: &'a Report, together: &Together<'a>) -> Vec<Line<'a>> {
    let modulus = together.iter().map(|(_, collection)| collection.shards.len()).max().unwrap_or_default() as u32;
    let mut lines = Vec::new();
    for number in 0..modulus {
        let here = together.iter().filter_map(|(survey, collection)| {
            let shard = collection.shards.get(number as usize).filter(|shard| is_here(shard))?;
            Some(Line { number, survey: Some(survey), shard: Some(shard) })
        });
        let before = lines.len();
        lines.extend(here);
        if lines.len() == before {
            let may_have = |survey: &&Survey| {
                survey.error.is_some() && survey.initial.as_ref().is_some_and(|range| range.numbers().contains(&number))
            };
            lines.push(Line { number, survey: report.databases.iter().find(may_have), shard: None });
        }
    }
    lines
}

/// A shard that left and took its partition along is not here; one that lost its partition should be.
fn is_here(shard: &Shard) -> bool {
    shard.partition.is_some() || matches!(shard.state.as_deref(), Some("active" | "frozen"))
}

/// Whether two neighbours can share a line.
fn is_like(a: &Line<'_>, b: &Line<'_>) -> bool {
    let place = |line: &Line<'_>| line.survey.map(|survey| &raw const *survey);
    let standing = |line: &Line<'_>| {
        line.shard.map(|shard| (shard.state.clone(), shard.partition.is_some(), shard.epoch, shard.generation))
    };
    a.number + 1 == b.number && place(a) == place(b) && standing(a) == standing(b)
}

fn row(run: &[Line<'_>], average_bytes: f64) -> [Cell; 9] {
    let first = &run[0];
    let quiet = || Cell::painted(Paint::Quiet, "-");
    let place = |text: fn(&Survey) -> &String| first.survey.map_or_else(quiet, |survey| text(survey).into());
    let figure = |figure: fn(&Shard) -> Option<i64>| {
        Cell::figure(first.shard.and_then(figure).map_or("-".into(), |number| number.to_string()))
    };
    let (rows, bytes, skew) = match first.shard.filter(|shard| shard.partition.is_some()) {
        None => ["-"; 3].map(str::to_owned).into(),
        Some(_) => {
            let (rows, bytes) = totals(run.iter().filter_map(|line| line.shard));
            (grouped(rows), size(bytes), skew(run, average_bytes))
        }
    };
    [
        ranges(run.iter().map(|line| line.number)).into(),
        place(|survey| &survey.server),
        place(|survey| &survey.name),
        state(first),
        figure(|shard| shard.epoch),
        figure(|shard| shard.generation),
        Cell::figure(rows),
        Cell::figure(bytes),
        Cell::figure(skew),
    ]
}

/// A shard that says it is here and has no partition is lost; one that left is not.
fn state(line: &Line<'_>) -> Cell {
    let Some(shard) = line.shard else {
        return Cell::painted(Paint::Bad, if line.survey.is_some() { "away" } else { "missing" });
    };
    match (shard.state.as_deref(), shard.partition.is_some()) {
        (Some("active"), true) => Cell::painted(Paint::Good, "active"),
        (Some("active" | "frozen") | None, false) => Cell::painted(Paint::Bad, "missing"),
        (Some(state), _) => Cell::painted(Paint::Warn, state),
        (None, true) => Cell::painted(Paint::Bad, "unregistered"),
    }
}

/// How much larger the largest of `run` is than the average shard.
fn skew(run: &[Line<'_>], average_bytes: f64) -> String {
    let largest = run.iter().filter_map(|line| line.shard?.bytes).max().unwrap_or_default();
    match average_bytes > 0.0 {
        true => format!("{:+.0}%", (largest as f64 / average_bytes - 1.0) * 100.0),
        false => "-".into(),
    }
}

fn totals<'a>(shards: impl Iterator<Item = &'a Shard> + Clone) -> (u64, u64) {
    let sum = |figure: fn(&Shard) -> Option<i64>| shards.clone().filter_map(figure).map(i64::unsigned_abs).sum();
    (sum(|shard| shard.rows), sum(|shard| shard.bytes))
}

fn summary(report: &Report, palette: Palette) -> String {
    let owners = &report.owners;
    let said = |found: &[Misplaced]| match found {
        [] => palette.paint(Paint::Good, "none"),
        found => palette.paint(Paint::Bad, &named(found)),
    };
    match owners.not_seen.is_empty() {
        true => format!(
            "owned by no database: {}   owned by two: {}",
            said(&owners.owned_by_none),
            said(&owners.owned_by_two)
        ),
        false => format!("not seen: {}   owned by two: {}", said(&owners.not_seen), said(&owners.owned_by_two)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::shards::owners::{Owners, tests::collection};

    fn survey(name: &str, initial: std::ops::RangeInclusive<u32>, owned: &[i32]) -> Survey {
        Survey {
            name: name.into(),
            database: format!("{name} on h:1"),
            server: "h:1".into(),
            initial: Some(initial.into()),
            error: None,
            servers: Vec::new(),
            collections: vec![collection(owned)],
        }
    }

    fn report(databases: Vec<Survey>) -> Report {
        let is_partial = databases.iter().any(|survey| survey.error.is_some());
        let owners = Owners::of(databases.iter().map(|survey| &survey.collections[..]), is_partial);
        Report { databases, owners, is_exact: false }
    }

    /// The fields of each line of the table.
    fn fields(report: &Report, all: bool) -> Vec<Vec<String>> {
        let text = described(report, all, Palette { colours: false });
        let lines = text.lines().skip(2).take_while(|line| !line.is_empty());
        lines.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    }

    #[test]
    fn like_neighbours_of_one_database_share_a_line() {
        let report = report(vec![survey("a", 0..=3, &[0, 1, 2, 5]), survey("b", 4..=7, &[6, 7])]);
        let lines = fields(&report, false);
        let told: Vec<_> = lines.iter().map(|line| [&*line[0], &*line[2], &*line[3]]).collect();
        assert_eq!(
            told,
            [["0-2", "a", "active"], ["3-4", "-", "missing"], ["5", "a", "active"], ["6-7", "b", "active"]]
        );
        assert_eq!(fields(&report, true).len(), 8);
    }

    #[test]
    fn the_shards_of_a_database_that_is_away_are_not_called_lost() {
        let mut gone = survey("b", 4..=7, &[]);
        (gone.error, gone.collections) = (Some("connection refused".into()), vec![]);
        let report = report(vec![survey("a", 0..=3, &[0, 1, 2, 3]), gone]);
        let text = described(&report, false, Palette { colours: false });
        assert_eq!(fields(&report, false)[1][..4], ["4-7", "h:1", "b", "away"]);
        for part in ["b cannot be asked\n  connection refused", "places shards 4-7 there", "not seen: c 4-7"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn skew_is_of_the_largest_against_the_average() {
        let mut a = survey("a", 0..=7, &[0, 1, 2, 3, 4, 5, 6, 7]);
        a.collections[0].shards[3].bytes = Some(9 * 1024);
        let report = report(vec![a]);
        assert_eq!(fields(&report, false)[0].last().map(String::as_str), Some("+350%"));
        assert_eq!(fields(&report, true)[0].last().map(String::as_str), Some("-50%"));
    }
}
