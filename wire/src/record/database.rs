//! Which of the configured databases something is of.

/// A database's number in this process: its place in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DatabaseId(pub u16);

impl DatabaseId {
    /// Its place among the databases.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Tells a database, with the tables that are read there, from every other one that had its name: on another server, made anew on
/// the same, or with other tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lineage(pub u32);
