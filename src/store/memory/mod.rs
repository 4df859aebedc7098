//! Records in this process: the semantics of the PostgreSQL store without its durability.
//!
//! For simulation, for fast tests, and for a demo where no PostgreSQL is installed. Promises what [`store`](super)
//! promises: versions of a key rise with its commits, deletes and re-inserts included; a write that changes nothing
//! keeps its version and wakes nobody; a read's position and rows are one snapshot; every committed change comes out
//! of every [`Tail`] once it is visible, or the tail says that it fell behind. Values, defaults, constraints and
//! their messages are PostgreSQL's as far as a [`Schema`] can say them. What is held goes with the process.
//!
//! A model checks it (`any_sequence_of_writes_ends_as_the_model_says`). Each run is a generation of its own, so a client that
//! comes back is told to forget what it had.
//!
//! Differs knowingly: `timestamptz` keeps its text; `jsonb` is refused below 128 levels; tombstones are remembered
//! as long as the change log holds the deletion (65,536 changes unless told otherwise) and not for a time; a row's
//! error names the collection where PostgreSQL names the partition.

mod contents;
mod datatype;
mod jsonb;
mod log;
mod numeric;
mod schema;
mod table;
mod tail;
mod tokens;

#[cfg(test)]
mod tests;

use std::{num::NonZeroUsize, sync::Arc, time::SystemTime};

use parking_lot::RwLock;
use tokio::sync::watch;

pub use datatype::DataType;
pub use schema::{ColumnSchema, Schema, SchemaError};
pub use tail::Tail;
pub(super) use {datatype::input, jsonb::check_strings};

use crate::record::{Catalogue, CollectionId, DatabaseId, Key, ShardId};

use super::{Error, Fetched, Origin, Range, Stretch, Write, Written, write::Resolved};
use contents::{Contents, EPOCH};
use table::Table;

/// How many changes the log holds: a tail that polls at all does not fall this far behind.
const LOG_CHANGES_MAX: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");
/// How many keys a scan hands over at a time.
const SCAN_CHUNK_LEN: usize = 4096;

/// The memory store. All methods are short and none waits for anything but the one lock.
pub struct Memory {
    catalogue: Catalogue,
    tables: Vec<Table>,
    shared: Arc<Shared>,
    /// How long answers to reads are on their way in a simulation.
    #[cfg(test)]
    delay: parking_lot::Mutex<Option<Delay>>,
}

#[cfg(test)]
type Delay = Box<dyn FnMut() -> std::time::Duration + Send>;

/// What tails share with the store.
struct Shared {
    modulus: u32,
    contents: RwLock<Contents>,
    /// The newest version, sent under the lock: what wakes the tails.
    newest: watch::Sender<u64>,
}

impl Memory {
    /// An empty store with a collection for each of `schemas`, each of `modulus` logical shards.
    ///
    /// # Errors
    /// [`SchemaError`], naming the first fault.
    pub fn new(schemas: Vec<Schema>, modulus: u32) -> Result<Self, SchemaError> {
        Self::with_log(schemas, modulus, LOG_CHANGES_MAX)
    }

    /// Like [`new`](Self::new), with a log of `changes_max` changes. A small one makes tails fall behind at will.
    ///
    /// # Errors
    /// [`SchemaError`], naming the first fault.
    pub fn with_log(schemas: Vec<Schema>, modulus: u32, changes_max: NonZeroUsize) -> Result<Self, SchemaError> {
        schema::check_set(&schemas, modulus)?;
        let tables = schemas.iter().map(Table::new).collect::<Result<Vec<_>, _>>()?;
        let contents = RwLock::new(Contents::new(tables.len(), changes_max.get(), generation()));
        let catalogue = Catalogue::new(schemas.iter().map(|schema| table::collection(schema, modulus)));
        let shared = Arc::new(Shared { modulus, contents, newest: watch::Sender::new(0) });
        Ok(Memory {
            catalogue,
            tables,
            shared,
            #[cfg(test)]
            delay: parking_lot::Mutex::default(),
        })
    }

    /// The collections, numbered in the order of their schemas.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Reads `keys` in one snapshot; a row for each, absent ones included, in the order asked. Every shard is here,
    /// so `_shard` is of no interest.
    pub fn read(&self, _shard: ShardId, collection: CollectionId, keys: &[Key]) -> Fetched {
        let contents = self.shared.contents.read();
        let rows = keys.iter().map(|key| contents.row(index(collection), key)).collect();
        Fetched {
            database: DatabaseId(0),
            position: contents.position(),
            origin: Origin::Primary,
            epoch: EPOCH,
            generation: contents.generation(),
            rows,
        }
    }

    /// [`read`](Self::read), whose answer is on its way for as long as a simulation says.
    pub(super) async fn answer(&self, shard: ShardId, collection: CollectionId, keys: &[Key]) -> Fetched {
        let fetched = self.read(shard, collection, keys);
        #[cfg(test)]
        {
            let delay = self.delay.lock().as_mut().map(|delay| delay());
            tokio::time::sleep(delay.unwrap_or_default()).await;
        }
        fetched
    }

    /// From now on answers to reads are on their way for so long.
    #[cfg(test)]
    pub(crate) fn delay_answers(&self, delay: impl FnMut() -> std::time::Duration + Send + 'static) {
        *self.delay.lock() = Some(Box::new(delay));
    }

    /// Commits one write. What it did is visible to reads and tails when this returns.
    ///
    /// An idempotency key is remembered for 10 minutes, the last 65,536 of them; a write that failed leaves none.
    ///
    /// # Errors
    /// [`Error::Conflict`], [`Error::InvalidValue`], [`Error::TokenReused`]; nothing has changed then.
    pub fn write(&self, write: &Write) -> Result<Written, Error> {
        let collection = self.catalogue.get(write.id.collection);
        let table = &self.tables[index(write.id.collection)];
        let mut contents = self.shared.contents.write();
        if let Some(written) = contents.repeated(write)? {
            return Ok(written);
        }
        let value = match write.resolve(collection, &contents.state(&write.id))? {
            Resolved::Upsert(members) => Some(table.row(&members)?),
            Resolved::Delete | Resolved::Nothing => None,
        };
        let written = contents.commit(write, value);
        self.shared.announce(contents.version());
        Ok(written)
    }

    /// The part of a collection in the order of its keys.
    pub fn list(&self, collection: CollectionId, range: &Range) -> Stretch {
        let kind = self.catalogue.get(collection).key_kind;
        let is_within = |key: &Key| {
            key.as_str().starts_with(&range.prefix)
                && range.after.as_ref().is_none_or(|after| kind.order(key, after).is_gt())
        };
        let records = self.shared.contents.read().records(index(collection), is_within);
        Stretch::merge(kind, vec![Stretch { records, end: None }], range)
    }

    /// Hands the keys of one snapshot to `sink`, in chunks of at most 4,096, in no order. `sink` runs unlocked.
    pub fn scan(&self, collection: CollectionId, mut sink: impl FnMut(&[Key])) {
        let keys = self.shared.contents.read().keys(index(collection));
        keys.chunks(SCAN_CHUNK_LEN).for_each(&mut sink);
    }

    /// Every shard.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.shared.modulus).map(ShardId)
    }

    /// How many records a collection has.
    pub fn len(&self, collection: CollectionId) -> usize {
        self.shared.contents.read().len(index(collection))
    }

    /// A reader of the changes from its first poll on.
    pub fn tail(&self) -> Tail {
        Tail::new(Arc::clone(&self.shared))
    }

    /// What an operator should know: that nothing here lasts, and how much there is.
    pub fn health(&self) -> String {
        let records: usize = self.catalogue.iter().map(|collection| self.len(collection.id)).sum();
        format!("in memory; install postgresql to keep data; records: {records}")
    }
}

impl Shared {
    /// Wakes the tails if `version` is news to them.
    fn announce(&self, version: u64) {
        self.newest.send_if_modified(|newest| std::mem::replace(newest, version) != version);
    }
}

/// Where a collection's table stands: schemas, tables and the catalogue's numbers have one order.
fn index(collection: CollectionId) -> usize {
    usize::from(collection.0)
}

/// A generation above that of every store this process's predecessors had: what they held is gone, and a client that
/// saw it must be told so. Seconds of the clock, which fit until 2106.
fn generation() -> u32 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u32::try_from(now.as_secs()).unwrap_or(u32::MAX)
}
