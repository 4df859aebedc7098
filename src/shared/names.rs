//! What things are called in Redis.
//!
//! All names of a slice share a hash tag, so a cluster keeps a chain beside its slots. The tag has the database's name for
//! people, and its lineage, so that a database which was made anew, or whose tables have changed, does not believe the chain of
//! the one before.
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
    /// The slice `number` of the `slices` of the database `name`. Nodes that cut a database in another number of slices keep apart.
    pub fn new(name: &str, lineage: Lineage, number: u32, slices: u32) -> Self {
        // Braces would end the hash tag.
        let name = name.replace(['{', '}'], "_");
        Slice { tag: format!("freshet1:{{{name}.{:08x}.{number}of{slices}}}", lineage.0) }
    }

    /// All slices of a database.
    pub fn all(name: &str, lineage: Lineage, slices: u32) -> Vec<Self> {
        (0..slices).map(|number| Slice::new(name, lineage, number, slices)).collect()
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
        // The length keeps a collection's name apart from the key, whatever is in either.
        format!("{self}:r:{}:{}:{collection}:{}", shard.0, collection.len(), key.as_str())
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
        let slice = Slice::new("shop", Lineage(0xab), 3, 16);
        let slot = slice.slot(ShardId(17), "products", &Key::from_database("a}{b"));
        assert_eq!(slot, "freshet1:{shop.000000ab.3of16}:r:17:8:products:a}{b");
        for name in [slice.chain(), slice.changes(), slice.keeper(), slot] {
            assert!(name.starts_with("freshet1:{shop.000000ab.3of16}:"), "{name}");
        }
    }

    #[test]
    fn no_two_records_share_a_name() {
        let slice = Slice::new("a}b", Lineage(1), 0, 1);
        assert!(slice.chain().starts_with("freshet1:{a_b.00000001.0of1}:"));
        let name = |collection, key| slice.slot(ShardId(1), collection, &Key::from_database(key));
        assert_ne!(name("a", "b:c"), name("a:b", "c"));
    }
}
