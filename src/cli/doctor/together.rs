//! What only all databases together show: whether they agree, and whether each shard has one owner.

use super::{
    examine::{Contents, Examined},
    finding::Finding,
};
use crate::{
    cli::{
        database::Target,
        figures::counted,
        shards::{
            named,
            owners::{Misplaced, Owners},
        },
    },
    store::postgres::{
        comparison::{self, Difference},
        placement::{self, Database, place},
        survey::known,
    },
};

/// Findings over all databases that could be asked.
pub(super) fn of_all(targets: &[Target], examined: &[Examined]) -> Vec<Finding> {
    let contents: Vec<(&Target, &Contents)> =
        targets.iter().zip(examined).filter_map(|(target, found)| Some((target, found.contents.as_ref()?))).collect();
    if contents.is_empty() {
        return Vec::new();
    }
    let mut findings = of_agreement(&contents);
    let is_partial = contents.len() < targets.len();
    findings.extend(of_owners(&contents, is_partial));
    // Where a database cannot be asked, nothing is placed at all.
    if !is_partial {
        findings.extend(of_placement(&contents));
    }
    findings
}

fn of_agreement(contents: &[(&Target, &Contents)]) -> Vec<Finding> {
    let descriptions: Vec<_> = contents.iter().map(|(_, contents)| &contents.description).collect();
    let differences = comparison::differences(&descriptions);
    let mut findings = Vec::new();
    for ((target, _), Difference { collections, triggers }) in contents.iter().zip(differences) {
        findings.extend(collections.map(|difference| {
            let hint = "nodes do not serve such a database: run the same migrations in all";
            Finding::fail("agreement", format!("{}: {difference}", target.name), hint)
        }));
        findings.extend(triggers.map(|difference| {
            let hint = "records follow other rules there: run the same migrations in all";
            Finding::warn("agreement", format!("{}: {difference}", target.name), hint)
        }));
    }
    if findings.is_empty() {
        let detail = format!("{} describe their collections alike", counted(contents.len(), "database"));
        findings.push(Finding::ok("agreement", detail));
    }
    findings
}

fn of_owners(contents: &[(&Target, &Contents)], is_partial: bool) -> Vec<Finding> {
    let check = "owners";
    let owners = Owners::of(contents.iter().map(|(_, contents)| &contents.collections[..]), is_partial);
    let mut findings = Vec::new();
    let mut found = |misplaced: &[Misplaced], what: &str, hint: &str| {
        if !misplaced.is_empty() {
            findings.push(Finding::fail(check, format!("{what}: {}", named(misplaced)), hint));
        }
    };
    found(
        &owners.owned_by_none,
        "owned by no database",
        "run `freshet migrate`: it creates them, or says what is in the way",
    );
    found(
        &owners.owned_by_two,
        "owned by two databases",
        "`freshet shards` shows which, `freshet migrate` says what to do",
    );
    found(&owners.not_seen, "not seen", "a database that cannot be asked may have them");
    if findings.is_empty() {
        findings.push(Finding::ok(check, "each shard has one"));
    }
    findings
}

/// What `freshet migrate` would refuse, but for shards of two owners: those were named.
fn of_placement(contents: &[(&Target, &Contents)]) -> Option<Finding> {
    let knowledge: Vec<_> = contents.iter().map(|(_, contents)| known(&contents.collections)).collect();
    let databases = contents.iter().zip(&knowledge).map(|((target, _), known)| Database {
        name: &target.name,
        initial: target.initial.clone(),
        known,
        has_served: false,
    });
    match place(&databases.collect::<Vec<_>>(), false) {
        Ok(_) | Err(placement::Error::Disputed { .. }) => None,
        Err(error) => Some(Finding::fail("placement", format!("`freshet migrate` refuses to {error}"), error.hint())),
    }
}
