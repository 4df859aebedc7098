//! What is left to do, for `freshet migrate --check`.

use serde::Serialize;

use super::{Target, shortened};
use crate::{
    cli::{
        Error, Output,
        figures::counted,
        table::{Cell, Paint, Palette, Table},
    },
    store::postgres::{migrate::Plan, shard_range::ranges},
};

#[derive(Serialize)]
struct Planned<'a> {
    name: &'a str,
    database: String,
    pending: &'a [String],
    missing: Vec<Missing<'a>>,
    rights: &'a [String],
}

#[derive(Serialize)]
struct Missing<'a> {
    collection: &'a str,
    shards: &'a [u32],
}

/// Prints each database's plan, beside the shards placed there.
///
/// # Errors
/// [`Error::Found`] when there is something to do.
pub(super) fn print(targets: &[Target], plans: &[(Plan, Vec<u32>)], output: &mut Output) -> Result<(), Error> {
    for (target, (plan, shards)) in targets.iter().zip(plans) {
        let text = described(target, plan, shards, output.palette());
        output.summary(&Planned::new(target, plan), &text)?;
    }
    let todo = plans.iter().filter(|(plan, _)| !plan.is_done()).count();
    match (todo, targets.len()) {
        (0, _) => Ok(()),
        (_, 1) => Err(Error::Found("the database is not up to date; run `freshet migrate` to bring it there".into())),
        (todo, all) => Err(Error::Found(format!(
            "{todo} of {all} databases are not up to date; run `freshet migrate` to bring them there"
        ))),
    }
}

impl<'a> Planned<'a> {
    fn new(target: &'a Target, plan: &'a Plan) -> Self {
        let missing = plan.missing.iter().filter(|(_, shards)| !shards.is_empty());
        let missing = missing.map(|(collection, shards)| Missing { collection, shards }).collect();
        Planned {
            name: &target.name,
            database: target.place.to_string(),
            pending: &plan.pending,
            missing,
            rights: &plan.rights,
        }
    }
}

fn described(target: &Target, plan: &Plan, shards: &[u32], palette: Palette) -> String {
    let place = palette.paint(Paint::Strong, &target.place.to_string());
    if plan.is_done() {
        let collections = collections(plan.missing.iter().map(|(name, _)| name), shards, target.shards);
        return format!("{place} is up to date: {}, {collections}", counted(plan.applied, "migration"));
    }
    let mut table = Table::default();
    for migration in &plan.pending {
        table.push([Cell::painted(Paint::Warn, "pending"), migration.into()]);
    }
    if plan.missing.is_empty() && !shards.is_empty() {
        let text = format!("shards {} of {}, of each collection", ranges(shards.iter().copied()), target.shards);
        table.push([Cell::painted(Paint::Warn, "to place"), text.into()]);
    }
    for (collection, shards) in plan.missing.iter().filter(|(_, shards)| !shards.is_empty()) {
        let text = format!("{collection}: shards {} of {}", ranges(shards.iter().copied()), target.shards);
        table.push([Cell::painted(Paint::Warn, "missing"), text.into()]);
    }
    for statement in &plan.rights {
        table.push([Cell::painted(Paint::Warn, "to grant"), shortened(statement).into()]);
    }
    format!("{place}\n\n{}", table.lay_out(palette))
}

/// `8 of 64 shards of prices, products`.
pub(super) fn collections<'a>(names: impl Iterator<Item = &'a String>, shards: &[u32], modulus: u32) -> String {
    let names: Vec<_> = names.map(String::as_str).collect();
    let whole = counted(modulus as usize, "shard");
    let placed = if shards.len() == modulus as usize { whole } else { format!("{} of {whole}", shards.len()) };
    match &names[..] {
        [] => "no collection is partitioned".into(),
        names => format!("{placed} of {}", names.join(", ")),
    }
}
