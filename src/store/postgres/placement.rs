//! Which database a shard is placed on.
//!
//! Promises: a shard is placed once. Where a database says that it has a shard, every collection's partition of that shard
//! is created there, whatever the configuration says. The configuration places only shards that no database knows, on
//! databases that are blank, and once nodes have served others only if it is told to: a database that lost its records looks
//! like a new one. Nothing moves by itself.
//! Leaves asking the databases, and creating partitions, to `migrate`.

use std::{collections::BTreeMap, ops::RangeInclusive};

use super::{
    Config,
    shard_range::{ShardRange, ranges},
};

/// What a database says of the shards that it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It answers for the shard.
    Owned,
    /// The shard left, or is on its way: only a move brings it here.
    NotOwned,
}

/// A database, as far as placement goes.
#[derive(Clone, Debug)]
pub struct Database<'a> {
    /// Its name in the configuration.
    pub name: &'a str,
    /// The shards that the configuration places there in the beginning.
    pub initial: Option<RangeInclusive<u32>>,
    /// The shards that it knows itself; none while it is blank.
    pub known: &'a BTreeMap<u32, Standing>,
    /// A node has served it.
    pub has_served: bool,
}

/// Why shards are not placed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two databases say that they own a shard.
    #[error("place shards: {} and {} both own {}", .databases[0], .databases[1], named(.shards))]
    Disputed {
        /// The two.
        databases: [String; 2],
        /// What both own.
        shards: Vec<u32>,
    },
    /// A blank database shall have shards that another one owns.
    #[error("place {} on {database}: {owner} owns {}", named(.shards), pronoun(.shards))]
    Taken {
        /// The blank one.
        database: String,
        /// What it cannot have.
        shards: Vec<u32>,
        /// One that owns them.
        owner: String,
    },
    /// A blank database shall have shards that none knows, though nodes have served others.
    #[error("place {} on {database}: it is blank, and nodes have served the other databases", named(.shards))]
    Blank {
        /// The blank one.
        database: String,
        /// What it would get.
        shards: Vec<u32>,
    },
    /// A database was set up without shards that it shall have now, and none of the configured ones knows them.
    #[error("place {} on {database}: it was set up without {}, and {} on no other database here", named(.shards),
        pronoun(.shards), if .shards.len() == 1 { "it is" } else { "they are" })]
    Lost {
        /// Which one.
        database: String,
        /// What it was set up without.
        shards: Vec<u32>,
    },
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Error::Disputed { shards, .. } => format!(
                "compare their rows, and let the one that shall not have {} run\n  \
                 UPDATE feed.shard_state SET state = 'moved', epoch = epoch + 1 WHERE shard IN ({})",
                pronoun(shards),
                listed(shards)
            ),
            Error::Taken { database, owner, .. } => format!(
                "a shard does not move because the configuration says so: list the shards of {owner} as they are,\n  \
                 and leave `shards` out of the entry of {database}; it begins without any"
            ),
            Error::Blank { .. } => "does its url lead to the right database? has it lost its records? restore them, or, if they are lost for\n  \
                 good, `freshet migrate --rebuild` creates its shards anew, empty"
                .to_owned(),
            Error::Lost { database, shards } => format!(
                "is a [[database]] missing in this configuration? if not, create them on {database} for each collection:\n  \
                 SELECT freshet.create_shards('COLLECTION', SHARDS, '{{{}}}')",
                listed(shards)
            ),
        }
    }
}

/// The shards that the configuration places on `database` in the beginning: all `shards` on the only one, unless it says
/// otherwise.
pub fn initial(database: &Config, is_only: bool, shards: u32) -> Option<RangeInclusive<u32>> {
    let whole = is_only.then(|| 0..=shards.saturating_sub(1));
    database.shards.as_ref().map(ShardRange::numbers).or(whole)
}

/// What is wrong with the shards that the configuration gives to `databases`: each of `shards` belongs to one of them.
pub fn misconfigured(databases: &[Config], shards: u32) -> Option<String> {
    let mut owners = vec![None; shards as usize];
    for database in databases {
        let Some(range) = initial(database, databases.len() == 1, shards) else { continue };
        let name = &database.name;
        if *range.end() >= shards {
            let (first, last) = range.into_inner();
            return Some(format!("\"{name}\" has {first}-{last}, and there are {shards}: 0-{}", shards - 1));
        }
        for shard in range {
            if let Some(owner) = owners[shard as usize].replace(name) {
                return Some(format!("{shard} belongs to \"{owner}\" and to \"{name}\"; take it out of one"));
            }
        }
    }
    let unowned = owners.iter().position(Option::is_none).filter(|_| !databases.is_empty());
    unowned.map(|shard| format!("{shard} belongs to no database; give each of 0-{} to one", shards - 1))
}

/// The shards that each of `databases` shall have partitions of, in their order. All databases of the service must be among
/// them. With `rebuilds`, shards whose database is lost are placed anew.
///
/// # Errors
/// [`Error`]: nothing may be created.
pub fn place(databases: &[Database<'_>], rebuilds: bool) -> Result<Vec<Vec<u32>>, Error> {
    let mut placed: Vec<Vec<u32>> = databases.iter().map(owned).collect();
    check_owners(databases, &placed)?;
    // Nodes that served a database without shards had none to lose.
    let has_served = databases.iter().any(|database| database.has_served && !database.known.is_empty());
    let is_known = |shard: &u32| databases.iter().any(|database| database.known.contains_key(shard));
    for (at, database) in databases.iter().enumerate() {
        let initial = || database.initial.clone().into_iter().flatten();
        let unknown: Vec<u32> = initial().filter(|shard| !is_known(shard)).collect();
        if database.known.is_empty() {
            check_blank(database, initial(), databases, &placed)?;
            if has_served && !rebuilds && !unknown.is_empty() {
                return Err(Error::Blank { database: database.name.to_owned(), shards: unknown });
            }
            placed[at].extend(unknown);
        } else if !unknown.is_empty() {
            return Err(Error::Lost { database: database.name.to_owned(), shards: unknown });
        }
    }
    Ok(placed)
}

fn owned(database: &Database<'_>) -> Vec<u32> {
    let known = database.known.iter();
    known.filter(|(_, standing)| **standing == Standing::Owned).map(|(shard, _)| *shard).collect()
}

/// No two databases own a shard.
fn check_owners(databases: &[Database<'_>], owned: &[Vec<u32>]) -> Result<(), Error> {
    for (at, database) in databases.iter().enumerate() {
        for (other, earlier) in databases[..at].iter().enumerate() {
            let shards: Vec<u32> = owned[at].iter().copied().filter(|shard| owned[other].contains(shard)).collect();
            if !shards.is_empty() {
                let databases = [earlier.name.to_owned(), database.name.to_owned()];
                return Err(Error::Disputed { databases, shards });
            }
        }
    }
    Ok(())
}

/// Nothing that a blank `database` shall have is owned by another. It was added to the configuration by someone who expects
/// shards to move, so this must not go unnoticed.
fn check_blank(
    database: &Database<'_>,
    initial: impl Iterator<Item = u32> + Clone,
    databases: &[Database<'_>],
    placed: &[Vec<u32>],
) -> Result<(), Error> {
    for (other, owned) in databases.iter().zip(placed).filter(|(other, _)| other.name != database.name) {
        let shards: Vec<u32> = initial.clone().filter(|shard| owned.contains(shard)).collect();
        if !shards.is_empty() {
            let (database, owner) = (database.name.to_owned(), other.name.to_owned());
            return Err(Error::Taken { database, shards, owner });
        }
    }
    Ok(())
}

/// `shard 5`, `shards 0-7`.
fn named(shards: &[u32]) -> String {
    match shards {
        [only] => format!("shard {only}"),
        _ => format!("shards {}", ranges(shards.iter().copied())),
    }
}

fn pronoun(shards: &[u32]) -> &'static str {
    if shards.len() == 1 { "it" } else { "them" }
}

fn listed(shards: &[u32]) -> String {
    shards.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    type Known = BTreeMap<u32, Standing>;

    fn owns(shards: impl IntoIterator<Item = u32>) -> Known {
        shards.into_iter().map(|shard| (shard, Standing::Owned)).collect()
    }

    /// Places on databases a, b and so on, each with what is configured and what it knows.
    fn placed(databases: &[(Option<RangeInclusive<u32>>, Known)]) -> Result<Vec<Vec<u32>>, Error> {
        let databases: Vec<_> = ["a", "b", "c"]
            .into_iter()
            .zip(databases)
            .map(|(name, (initial, known))| Database { name, initial: initial.clone(), known, has_served: false })
            .collect();
        place(&databases, false)
    }

    #[test]
    fn a_database_that_lost_its_records_is_not_taken_for_a_new_one() {
        let (owned, blank) = (owns([0, 1]), Known::new());
        let databases = [
            Database { name: "a", initial: Some(0..=1), known: &owned, has_served: true },
            Database { name: "b", initial: Some(2..=3), known: &blank, has_served: false },
        ];
        let refused = place(&databases, false).expect_err("it is blank");
        assert_eq!(
            refused.to_string(),
            "place shards 2-3 on b: it is blank, and nodes have served the other databases"
        );
        assert!(refused.hint().contains("--rebuild"), "{}", refused.hint());
        assert_eq!(place(&databases, true), Ok(vec![vec![0, 1], vec![2, 3]]));
    }

    #[test]
    fn a_database_that_was_served_before_it_had_a_collection_is_blank_like_a_new_one() {
        let blank = Known::new();
        let database = Database { name: "a", initial: Some(0..=3), known: &blank, has_served: true };
        assert_eq!(place(&[database], false), Ok(vec![vec![0, 1, 2, 3]]));
    }

    #[test]
    fn the_configuration_places_on_blank_databases() {
        let blank = Known::new;
        let found = placed(&[(Some(0..=1), blank()), (Some(2..=3), blank()), (None, blank())]);
        assert_eq!(found, Ok(vec![vec![0, 1], vec![2, 3], vec![]]));
        // The first was set up before the run ended.
        let found = placed(&[(Some(0..=1), owns([0, 1])), (Some(2..=3), blank())]);
        assert_eq!(found, Ok(vec![vec![0, 1], vec![2, 3]]));
    }

    #[test]
    fn what_databases_say_wins_over_the_configuration() {
        let mut left = owns([0]);
        left.insert(1, Standing::NotOwned);
        let found = placed(&[(Some(0..=1), left.clone()), (Some(2..=3), owns([1, 2, 3]))]);
        assert_eq!(found, Ok(vec![vec![0], vec![1, 2, 3]]));
        // On its way: it is placed on neither.
        let found = placed(&[(Some(0..=1), left), (Some(2..=3), owns([2, 3]))]);
        assert_eq!(found, Ok(vec![vec![0], vec![2, 3]]));
        let swapped = placed(&[(Some(2..=3), owns([0, 1])), (Some(0..=1), owns([2, 3]))]);
        assert_eq!(swapped, Ok(vec![vec![0, 1], vec![2, 3]]));
    }

    #[test]
    fn a_shard_is_not_placed_a_second_time() {
        let taken = placed(&[(Some(0..=1), owns([0, 1, 2, 3])), (Some(2..=3), Known::new())]).expect_err("taken");
        assert_eq!(taken.to_string(), "place shards 2-3 on b: a owns them");
        assert!(taken.hint().contains("leave `shards` out of the entry of b"), "{}", taken.hint());
        let stale = placed(&[(Some(0..=3), owns([0, 1, 2]))]).expect_err("a database is missing");
        assert_eq!(
            stale.to_string(),
            "place shard 3 on a: it was set up without it, and it is on no other database here"
        );
        assert!(stale.hint().contains("'{3}'"), "{}", stale.hint());
        let disputed = placed(&[(Some(0..=1), owns([0, 1])), (Some(2..=3), owns([1, 2, 3]))]).expect_err("disputed");
        assert_eq!(disputed.to_string(), "place shards: a and b both own shard 1");
        assert!(disputed.hint().contains("shard IN (1)"), "{}", disputed.hint());
    }

    #[test]
    fn a_configuration_gives_each_shard_to_one_database() {
        let database = |shards: &str| Config {
            name: format!("holds {shards}"),
            shards: shards.parse().ok(),
            ..Config::at("postgres://h/d")
        };
        let wrong = |all: &[&str]| misconfigured(&all.iter().map(|shards| database(shards)).collect::<Vec<_>>(), 4);
        for sound in [&["0-1", "2-3"][..], &["0-3", "nothing"], &["nothing"], &[]] {
            assert_eq!(wrong(sound), None, "{sound:?}");
        }
        for (shards, expected) in [
            (["0-1", "2-4"], "\"holds 2-4\" has 2-4, and there are 4: 0-3"),
            (["0-1", "1-3"], "1 belongs to \"holds 0-1\" and to \"holds 1-3\"; take it out of one"),
            (["0-1", "3"], "2 belongs to no database; give each of 0-3 to one"),
            (["0-1", "nothing"], "2 belongs to no database; give each of 0-3 to one"),
        ] {
            assert_eq!(wrong(&shards).as_deref(), Some(expected));
        }
    }
}
