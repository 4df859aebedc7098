//! The operations of Freshet. Knows no sockets.
//!
//! Promises: a write is answered after its commit, and this node's tiers and watchers have it by then; every
//! operation ends by its deadline. Leaves parameters' syntax to `protocol` and connections to `session`.

pub mod budget;
mod certificates;
pub mod error;
mod failures;
mod list;
mod place;
mod read;
mod snapshots;
mod write;

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

pub use budget::{Budget, Charge};
pub use certificates::Certificates;
pub use error::Error;
use failures::Failures;
use list::Turns;
pub use list::{LIMIT_DEFAULT, ListRequest, Page};
pub use place::Place;
pub use read::{Records, answer_bytes};
pub use snapshots::{Opening, Permits, Snapshot, Snapshots};
use write::Outcomes;
pub use write::{Conditions, WriteRequest};

use crate::{
    hub::Hub,
    record::{Catalogue, Collection, DatabaseId, RecordId},
    resilience::Deadline,
    store::{ServerState, Store},
    telemetry::Telemetry,
    tiers::Tiers,
};

/// Limits on operations.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The longest any operation may take.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
    /// The largest value that is written.
    pub value_max: ByteSize,
    /// The most keys of one `get_many`, and records of a page of `list`.
    pub keys_max: usize,
    /// The largest answer to one message or HTTP request.
    pub answer_max: ByteSize,
    /// What all answers larger than 32 KiB may take together until clients have taken them.
    pub answers_max: ByteSize,
}

impl Config {
    /// [`Self::answer_max`] in bytes.
    pub fn answer_bytes_max(&self) -> usize {
        bytes(self.answer_max)
    }
}

fn bytes(size: ByteSize) -> usize {
    usize::try_from(size.as_u64()).unwrap_or(usize::MAX)
}

impl Default for Config {
    fn default() -> Self {
        Config {
            deadline: Duration::from_secs(5),
            value_max: ByteSize::mib(1),
            keys_max: 1_000,
            answer_max: ByteSize::mib(16),
            answers_max: ByteSize::mib(512),
        }
    }
}

/// What clients can ask for, whatever door they came through. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    store: Store,
    tiers: Tiers,
    hub: Hub,
    config: Config,
    answers: Budget,
    certificates: Certificates,
    outcomes: Outcomes,
    failures: Failures,
    turns: Turns,
}

impl Service {
    /// A service over the parts below it.
    pub fn new(config: Config, store: Store, tiers: Tiers, hub: Hub, telemetry: &Telemetry) -> Self {
        let answers = Budget::new(bytes(config.answers_max), telemetry);
        let turns = Turns::new(telemetry);
        let certificates = Certificates::new(store.clone(), tiers.clone(), hub.clone());
        let (outcomes, failures) = (Outcomes::new(telemetry), Failures::default());
        Service { store, tiers, hub, config, answers, certificates, outcomes, failures, turns }
    }

    /// The collections served.
    pub fn catalogue(&self) -> &Catalogue {
        self.store.catalogue()
    }

    /// The tiers that answer reads.
    pub fn tiers(&self) -> &Tiers {
        &self.tiers
    }

    /// Permits for the snapshots of a watcher: `count`, shared out among the databases, but at least a quarter for each.
    pub fn permits(&self, count: usize) -> Permits {
        Permits::new(count, self.store.databases().count())
    }

    /// Where a record lies.
    ///
    /// # Errors
    /// [`Error::Store`] for a shard that no database owns, or two.
    pub fn place_of(&self, id: &RecordId) -> Result<Place<'_>, Error> {
        let shard = self.store.shard_of(id.as_ref())?;
        let owner = self.store.owner(shard)?;
        let (servers, login) = (self.store.servers(owner), self.store.login(owner));
        Ok(Place { shard, database: self.store.name(owner), servers, login })
    }

    /// How the servers of a database stand.
    pub fn servers(&self, database: DatabaseId) -> Vec<ServerState> {
        self.store.servers(database)
    }

    fn database_of(&self, id: &RecordId) -> Option<DatabaseId> {
        self.store.owner(self.store.shard_of(id.as_ref()).ok()?).ok()
    }

    /// Who watches what.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// What watchers are told of the certificates.
    pub fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// The memory that answers may take.
    pub fn answers(&self) -> &Budget {
        &self.answers
    }

    /// The limits in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The record that `collection` and `key` name.
    ///
    /// # Errors
    /// [`Error::UnknownCollection`] and [`Error::InvalidKey`].
    pub fn record(&self, collection: &str, key: &str) -> Result<RecordId, Error> {
        let collection = self.collection(collection)?;
        Ok(RecordId::new(collection.id, collection.key(key)?))
    }

    /// The collection called `name`.
    ///
    /// # Errors
    /// [`Error::UnknownCollection`], naming those that are served.
    pub fn collection(&self, name: &str) -> Result<&Collection, Error> {
        self.catalogue().find(name).map(|collection| &**collection).ok_or_else(|| Error::UnknownCollection {
            name: name.chars().take(64).collect(),
            known: self.catalogue().iter().map(|collection| collection.name.clone()).collect(),
        })
    }

    fn deadline(&self) -> Deadline {
        Deadline::after(self.config.deadline)
    }
}
