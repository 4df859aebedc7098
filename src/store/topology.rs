//! Which database owns which shard: the union of what the databases say of themselves.
//!
//! No map is stored anywhere. Each database lists in its own catalogues the shards that it owns, and so a shard can be owned
//! by one, by none or, after a mistake, by several. Only the first is served; the others are named, and everything else is
//! served. What a database said last holds while it is away.

use std::collections::HashMap;

use crate::record::{DatabaseId, ShardId};

use super::Error;

/// The owner of every shard that anybody owns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// By shard; empty where it has no owner.
    owners: Vec<Vec<DatabaseId>>,
}

impl Topology {
    /// The union of `reports`: what each database said that it owns.
    pub fn of<'a>(reports: impl IntoIterator<Item = (DatabaseId, &'a [ShardId])>) -> Self {
        let mut owners: Vec<Vec<DatabaseId>> = Vec::new();
        for (database, shards) in reports {
            for shard in shards {
                let at = shard.0 as usize;
                if owners.len() <= at {
                    owners.resize(at + 1, Vec::new());
                }
                owners[at].push(database);
            }
        }
        Topology { owners }
    }

    /// The same, with the `first` owner of each shard beside another that has taken its place: what a node has cached of a
    /// shard has the versions of the database that it came from, and those of two databases do not compare.
    pub fn beside(mut self, first: &mut HashMap<ShardId, DatabaseId>) -> Self {
        for (shard, owners) in (0..).map(ShardId).zip(&mut self.owners) {
            match (&owners[..], first.get(&shard)) {
                ([owner], None) => drop(first.insert(shard, *owner)),
                ([owner], Some(known)) if known != owner => owners.push(*known),
                _ => {}
            }
        }
        self
    }

    /// The one database that owns `shard`.
    ///
    /// # Errors
    /// [`Error::NotOwned`], and [`Error::Disputed`] where several say that they do.
    pub fn owner(&self, shard: ShardId) -> Result<DatabaseId, Error> {
        match self.owners.get(shard.0 as usize).map(Vec::as_slice) {
            Some([owner]) => Ok(*owner),
            None | Some([]) => Err(Error::NotOwned { shard }),
            Some(_) => Err(Error::Disputed { shard }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_has_the_one_owner_that_says_so_or_none() {
        let [first, second] = [DatabaseId(0), DatabaseId(1)];
        let shards = |numbers: &[u32]| numbers.iter().copied().map(ShardId).collect::<Vec<_>>();
        let (low, high) = (shards(&[0, 2, 5]), shards(&[1, 5]));
        let topology = Topology::of([(first, &*low), (second, &*high)]);
        for (shard, owner) in [(0, first), (1, second), (2, first)] {
            assert_eq!(topology.owner(ShardId(shard)).ok(), Some(owner));
        }
        for shard in [3, 4, 6, 1_000] {
            assert!(matches!(topology.owner(ShardId(shard)), Err(Error::NotOwned { shard: of }) if of.0 == shard));
        }
        assert!(matches!(topology.owner(ShardId(5)), Err(Error::Disputed { shard: ShardId(5) })));
    }

    #[test]
    fn a_shard_that_another_database_takes_is_served_by_neither() {
        let [first, second] = [DatabaseId(0), DatabaseId(1)];
        let shard = [ShardId(0)];
        let mut known = HashMap::new();
        let mut owner = |reports: &[(DatabaseId, &[ShardId])]| {
            Topology::of(reports.iter().copied()).beside(&mut known).owner(ShardId(0)).ok()
        };
        assert_eq!(owner(&[(first, &shard)]), Some(first));
        assert_eq!(owner(&[(second, &shard)]), None);
        assert_eq!(owner(&[(first, &shard), (second, &shard)]), None);
        assert_eq!(owner(&[(first, &shard)]), Some(first), "it has come back");
    }
}
