//! What things are called in Redis.
//!
//! All names of a slice share a hash tag, so a cluster keeps a chain beside its slots. The tag has the database's name for
//! people, and its lineage, so that a database which was made anew does not believe the chain of the one before.
//!
//! # Source
//! Redis, "Cluster specification", Hash tags.

use std::fmt;

use crate::record::{Key, Lineage, ShardId};

/// A share of a database's shards, which has a chain of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Slice {
    tag: String,
}

impl Slice {
    /// The slice `number` of the database `name`.
    pub fn new(name: &str, lineage: Lineage, number: u32) -> Self {
        Slice { tag: format!("freshet1:{{{name}.{:08x}.{number}}}", lineage.0) }
    }

    /// Where its chain is.
    pub fn chain(&self) -> String {
        format!("{self}:chain")
    }

    /// Where its keeper tells of changes.
    pub fn changes(&self) -> String {
        format!("{self}:changes")
    }

    /// Who keeps it.
    pub fn keeper(&self) -> String {
        format!("{self}:keeper")
    }

    /// Where a record's slot is.
    pub fn slot(&self, shard: ShardId, collection: &str, key: &Key) -> String {
        format!("{self}:r:{}:{collection}:{}", shard.0, key.as_str())
    }
}

impl fmt::Display for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_names_of_a_slice_share_its_hash_tag() {
        let slice = Slice::new("shop", Lineage(0xab), 3);
        let slot = slice.slot(ShardId(17), "products", &Key::from_database("a}{b"));
        assert_eq!(slot, "freshet1:{shop.000000ab.3}:r:17:products:a}{b");
        for name in [slice.chain(), slice.changes(), slice.keeper(), slot] {
            assert!(name.starts_with("freshet1:{shop.000000ab.3}:"), "{name}");
        }
    }
}
