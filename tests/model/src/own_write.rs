//! A write that a node commits and answers itself. It does not touch the shared tier.

use crate::{
    database::{Database, Stamp},
    node::{Loaded, Node, Source},
    rules::Rules,
};

/// An own write in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Write {
    /// The record's key.
    pub key: u8,
    /// Whether it is committed.
    pub is_committed: bool,
    /// The state that is answered, at the position of the transaction's own snapshot.
    pub loaded: Loaded,
}

impl Node {
    /// The transaction begins: it reads its position.
    pub fn begin_write(&mut self, key: usize, database: &Database) {
        let position = database.position(database.now());
        let loaded = Loaded::new(Source::Primary { is_young: true }, position, Stamp::default());
        self.write = Some(Write { key: key as u8, is_committed: false, loaded });
    }

    /// The transaction commits.
    pub fn commit_write(&mut self, database: &mut Database) {
        if let Some(write) = &mut self.write {
            write.loaded.stamp = database.commit(usize::from(write.key));
            write.is_committed = true;
        }
    }

    /// The node installs the state and answers. Where it may not be kept, its stamp is the key's floor all the same.
    pub fn answer_write(&mut self, rules: &Rules) {
        let Some(Write { key, loaded, .. }) = self.write.take() else { return };
        let key = usize::from(key);
        if !self.install(key, loaded, rules) {
            self.raise(key, loaded.stamp, self.applied.max(loaded.position) + 2);
            self.drop_older(key, loaded.stamp);
            self.answered[key] = self.answered[key].max(loaded.stamp);
        }
    }
}
