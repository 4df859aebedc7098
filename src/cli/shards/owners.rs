//! How many databases own each shard.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use crate::store::postgres::{shard_range::ranges, survey::Collection};

/// Shards of a collection that are not owned exactly once.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(in crate::cli) struct Misplaced {
    pub(in crate::cli) collection: String,
    pub(in crate::cli) shards: Vec<u32>,
}

impl fmt::Display for Misplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.collection, ranges(self.shards.iter().copied()))
    }
}

/// The shards that are not owned exactly once.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(in crate::cli) struct Owners {
    pub(in crate::cli) owned_by_none: Vec<Misplaced>,
    pub(in crate::cli) owned_by_two: Vec<Misplaced>,
    /// Those without an owner while a database could not be asked: it may have them.
    pub(in crate::cli) not_seen: Vec<Misplaced>,
}

impl Owners {
    /// Of what each database has; `is_partial` when one could not be asked.
    pub(in crate::cli) fn of<'a>(databases: impl Iterator<Item = &'a [Collection]> + Clone, is_partial: bool) -> Self {
        let (without, owned_by_two) =
            (misplaced(databases.clone(), |owners| owners == 0), misplaced(databases, |owners| owners > 1));
        match is_partial {
            false => Owners { owned_by_none: without, owned_by_two, not_seen: Vec::new() },
            true => Owners { owned_by_none: Vec::new(), owned_by_two, not_seen: without },
        }
    }
}

/// The shards with a number of owners that is `wrong`. A collection without any partition is not in use.
fn misplaced<'a>(databases: impl Iterator<Item = &'a [Collection]>, wrong: impl Fn(usize) -> bool) -> Vec<Misplaced> {
    let mut owners: BTreeMap<(&str, i32), usize> = BTreeMap::new();
    for collection in databases.flatten().filter(|collection| collection.is_used()) {
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::store::postgres::survey::Shard;

    /// Eight shards of "c", of which a database owns some.
    pub(in crate::cli::shards) fn collection(owned: &[i32]) -> Collection {
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
        Collection {
            name: "c".into(),
            key_column: "k".into(),
            key_kind: "text".into(),
            shards: (0..8).map(shard).collect(),
        }
    }

    #[test]
    fn a_shard_of_none_and_one_of_two_are_named() {
        let databases = [[collection(&[0, 1, 2, 3, 4])], [collection(&[4, 5, 7])]];
        let owners = |is_partial| Owners::of(databases.iter().map(<[_; 1]>::as_slice), is_partial);
        let named = |found: &[Misplaced]| found.iter().map(Misplaced::to_string).collect::<String>();
        let whole = owners(false);
        assert_eq!((&*named(&whole.owned_by_none), &*named(&whole.owned_by_two)), ("c 6", "c 4"));
        let partial = owners(true);
        assert_eq!((partial.owned_by_none.len(), &*named(&partial.not_seen)), (0, "c 6"));
        let unused = [collection(&[])];
        assert_eq!(Owners::of([unused.as_slice()].into_iter(), false), Owners::default());
    }
}
