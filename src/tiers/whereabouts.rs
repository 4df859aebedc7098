//! Where a record stands: in each tier of this node, in Redis, and on each server of its database. For people; no answer depends
//! on it.

use std::time::{Duration, Instant};

use futures_util::future::join;
use serde::Serialize;

use super::{Tiers, freshness::Verdict};
use crate::{
    record::{RecordId, State},
    resilience::Deadline,
    shared::Peek,
    store::{Error, Role},
};

/// How long a server is waited for.
const LIMIT: Duration = Duration::from_secs(2);

/// What a place holds of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Of the state, as `generation.version`.
    pub stamp: String,
    /// The size of its value; `None` of an absence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<usize>,
}

impl From<&State> for Held {
    fn from(state: &State) -> Self {
        Held { stamp: state.stamp.to_string(), bytes: state.value.as_ref().map(bytes::Bytes::len) }
    }
}

/// What a node knows of a record.
#[derive(Debug, Serialize)]
pub struct Whereabouts {
    /// Its logical shard.
    pub shard: u32,
    /// The database that owns it.
    pub database: String,
    /// The shard's generation, as far as it is known here.
    pub generation: u32,
    /// The last mark of the database that was applied here.
    pub applied: u64,
    /// How long ago every change was known to be applied here.
    pub age_ms: u64,
    /// Whether that is not too long ago.
    pub fresh: bool,
    /// The lowest stamp that is answered here; `None` where any is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor: Option<String>,
    /// In L1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<Local>,
    /// What the filter of absent keys says.
    pub filter: Filter,
    /// In Redis, as seen from here; `None` without Redis.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis: Option<Redis>,
    /// On the servers of the database, in the order of the configuration.
    pub servers: Vec<Server>,
}

/// An entry of L1.
#[derive(Debug, Serialize)]
pub struct Local {
    #[serde(flatten)]
    held: Held,
    expires_s: u64,
}

/// What a filter says of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// It is certainly absent.
    Denies,
    /// It may be there.
    Passes,
    /// There is no filter now.
    Missing,
}

/// What Redis has.
#[derive(Debug, Serialize)]
pub struct Redis {
    /// The name of the record's slot.
    slot: String,
    /// The mark to which the slice has been brought; `None` where it is kept by no node.
    #[serde(skip_serializing_if = "Option::is_none")]
    applied: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<Held>,
    /// A node reads the record for all, and is to find at least this stamp.
    #[serde(skip_serializing_if = "Option::is_none")]
    leased: Option<String>,
    /// Why what is there is not used.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// What a server has.
#[derive(Debug, Serialize)]
pub struct Server {
    server: String,
    role: Role,
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<Held>,
    /// The newest mark that the read showed.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lag_ms: Option<u64>,
    /// Why it did not answer, or is asked nothing by others.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Tiers {
    /// Where a record stands. It reads the record on each server and in Redis, and takes 2 s at most.
    ///
    /// # Errors
    /// [`Error::NotOwned`], [`Error::Disputed`]: no database is known to own the record.
    pub async fn whereabouts(&self, id: &RecordId) -> Result<Whereabouts, Error> {
        let store = &self.inner.store;
        let shard = store.shard_of(id.as_ref())?;
        let database = store.owner(shard)?;
        let view = self.inner.views.of(database);
        let filter = match () {
            () if !view.filters.is_ready(id.collection) => Filter::Missing,
            () if self.is_denied(view, id) => Filter::Denies,
            () => Filter::Passes,
        };
        let (redis, servers) = join(self.shared_whereabouts(id), self.servers_whereabouts(id)).await;
        Ok(Whereabouts {
            shard: shard.0,
            database: store.name(database).to_owned(),
            generation: self.generation_of(id.as_ref()),
            applied: view.floors.applied().0,
            age_ms: u64::try_from(view.freshness.age().as_millis()).unwrap_or(u64::MAX),
            fresh: view.freshness.verdict() == Verdict::Fresh,
            floor: view.floors.get(id).map(|stamp| stamp.to_string()),
            local: self.local_whereabouts(id),
            filter,
            redis,
            servers,
        })
    }

    fn local_whereabouts(&self, id: &RecordId) -> Option<Local> {
        let now = Instant::now();
        self.inner.local.get(&id.as_ref(), now, |entry| Local {
            held: entry.state().into(),
            expires_s: entry.expires().saturating_duration_since(now).as_secs(),
        })
    }

    async fn shared_whereabouts(&self, id: &RecordId) -> Option<Redis> {
        let shared = self.inner.shared.as_ref()?;
        let (slice, slot) = self.slot_of(id)?;
        let nothing = Redis { slot, applied: None, held: None, leased: None, reason: None };
        let Peek { chain, slot: found, leased, is_empty } = match shared.cache.peek(&slice, &nothing.slot).await {
            Ok(peek) => peek,
            Err(error) => return Some(Redis { reason: Some(error.to_string()), ..nothing }),
        };
        let database = self.owner_of(id.as_ref())?;
        let reason = match (&chain, &found) {
            (None, _) => Some("it is kept by no node"),
            (Some(chain), _) if !self.is_usable(database, chain) => Some("it is too far behind, or ahead of this node"),
            (Some(chain), Some(found)) if found.incarnation != chain.incarnation => {
                Some("it is of an earlier life of the chain")
            }
            (Some(chain), Some(found)) if self.judge(id, chain, found.clone()).is_none() => {
                Some("it is older than the floor, or of another generation")
            }
            (Some(_), None) if leased.is_none() && !is_empty => Some("no node has written what is there"),
            _ => None,
        };
        Some(Redis {
            applied: chain.map(|chain| chain.applied.0),
            held: found.map(|found| Held::from(&found.state)),
            leased: leased.map(|stamp| stamp.to_string()),
            reason: reason.map(str::to_owned),
            ..nothing
        })
    }

    async fn servers_whereabouts(&self, id: &RecordId) -> Vec<Server> {
        let store = &self.inner.store;
        let Ok(shard) = store.shard_of(id.as_ref()) else { return Vec::new() };
        let Ok(database) = store.owner(shard) else { return Vec::new() };
        let reads = store.read_each(shard, id.collection, &id.key, Deadline::after(LIMIT)).await;
        let reads = reads.unwrap_or_else(|error| vec![Err(error.to_string())]);
        let servers = store.servers(database).into_iter().zip(reads).map(|(state, read)| {
            let (read, failed) = read.map_or_else(|reason| (None, Some(reason)), |read| (Some(read), None));
            let held = read.as_ref().and_then(|read| Some(Held::from(&read.rows.first()?.state(read.generation))));
            Server {
                server: state.server,
                role: state.role,
                held,
                position: read.map(|read| read.position.0),
                lag_ms: state.lag_ms,
                reason: failed.or(state.reason),
            }
        });
        servers.collect()
    }
}
