//! What a collection is: a tracked table, its key and its columns, as the store describes them.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _};

use super::{Key, KeyError, KeyKind, RecordRef, ShardId, shard};

/// A collection's number in this process's [`Catalogue`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CollectionId(pub u16);

/// How a column takes part in a write; its type is the database's own business beyond that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// Any type that a JSON scalar is converted to by the database.
    Plain,
    /// `json`: the text is kept exactly and merged member by member.
    Json,
    /// `jsonb`: merged member by member, normalised by the database.
    Jsonb,
    /// Filled by the database (generated or identity always); it is read and never written.
    Generated,
}

/// One column of a collection, the version column left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The column's name, which is the member's name in the value.
    pub name: String,
    /// How it is written.
    pub kind: ColumnKind,
    /// Its type as PostgreSQL names it, without length or precision.
    pub sql: String,
    /// Whether it may be NULL.
    pub is_nullable: bool,
}

/// A collection as the store describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    /// Its number here.
    pub id: CollectionId,
    /// Its name on the wire, which is the table's.
    pub name: String,
    /// The primary key column.
    pub key_column: String,
    /// That column's type.
    pub key_kind: KeyKind,
    /// The number of logical shards; 1 for a plain table tracked in place.
    pub modulus: u32,
    /// Every column but the version's, in table order.
    pub columns: Vec<Column>,
}

impl Collection {
    /// Reads `text` as one of this collection's keys.
    ///
    /// # Errors
    /// What [`Key::parse`] refuses.
    pub fn key(&self, text: &str) -> Result<Key, KeyError> {
        Key::parse(self.key_kind, text)
    }

    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// The collections this process serves, by number and by name. Fixed from start to stop; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    collections: Arc<[Arc<Collection>]>,
    by_name: Arc<HashMap<String, CollectionId>>,
}

impl Catalogue {
    /// A catalogue of `collections`, which are numbered in the order given.
    pub fn new(collections: impl IntoIterator<Item = Collection>) -> Self {
        let collections: Arc<[_]> = (0..)
            .zip(collections)
            .map(|(number, collection)| Arc::new(Collection { id: CollectionId(number), ..collection }))
            .collect();
        let mut by_name = HashMap::with_capacity(collections.len());
        by_name.extend(collections.iter().map(|collection| (collection.name.clone(), collection.id)));
        Catalogue { collections, by_name: Arc::new(by_name) }
    }

    /// The collection called `name`.
    pub fn find(&self, name: &str) -> Option<&Arc<Collection>> {
        self.by_name.get(name).map(|&id| self.get(id))
    }

    /// The collection numbered `id`, which must come from this catalogue.
    pub fn get(&self, id: CollectionId) -> &Arc<Collection> {
        &self.collections[usize::from(id.0)]
    }

    /// The logical shard of a record; `None` for a key that is not canonical for the collection's key type.
    pub fn shard_of(&self, record: RecordRef<'_>) -> Option<ShardId> {
        let collection = self.get(record.collection);
        shard::shard_of(collection.key_kind, record.key, collection.modulus).map(ShardId)
    }

    /// All of them, in order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Collection>> {
        self.collections.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.collections.len()
    }

    /// Whether nothing is tracked.
    pub fn is_empty(&self) -> bool {
        self.collections.is_empty()
    }
}
