//! L2: records in Redis, which all nodes share.
//!
//! What it is for: a node that starts cold, or a key that left L1, is answered without the databases, and a cold key costs one
//! read of a database in the whole cluster. What it is not for: truth. Redis may be empty, stale, slow, split or wrong at any
//! time, and only speed is lost.
//!
//! Promises: a slot that [`Cache::get`] returns was written by a node, for this key, and is whole. Each operation is bounded in
//! time. Leaves to `tiers` which slots may be used, and to `changes` how they are kept current.
//!
//! # Source
//! docs/coherence.md, section 5b.

mod chain;
mod config;
mod connection;
mod hints;
pub mod inspect;
mod link;
mod names;
mod scripts;
pub mod server;
mod slot;
mod switches;

use std::{sync::Arc, time::Duration};

use rand::Rng as _;
use redis::{FromRedisValue, ScriptInvocation};

pub use self::{
    chain::{Chain, Incarnation, StoredChain, Tail},
    config::Config,
    hints::{Hint, Hints, ToldChange},
    link::Standing,
    names::Slice,
    scripts::{Changed, Lease},
    slot::Slot,
    switches::{Change as SwitchChange, Switches},
};

use self::{link::Link, scripts::Scripts, switches::Board};
use crate::{
    record::{Position, Stamp, State},
    telemetry::Telemetry,
};

/// The most slots that one operation is about.
pub const SLOTS_AT_ONCE_MAX: usize = 256;
/// How long a lease lasts: a read of a database, and the fill, take less.
pub const LEASE: Duration = Duration::from_secs(3);
/// The share of its lifetime by which a slot's expiry is spread.
const JITTER: f64 = 0.1;

/// Why an operation came to nothing.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration has a URL that cannot be read.
    #[error("read the Redis url {url}: {reason}")]
    Url {
        /// The URL, without its password.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Redis does not answer, and is not asked.
    #[error("ask Redis: {reason}")]
    Away {
        /// Why it is taken for away.
        reason: String,
    },
    /// The operation failed, or its outcome is not known.
    #[error("ask Redis: {reason}")]
    Failed {
        /// What Redis said, or that it said nothing.
        reason: String,
    },
}

/// A state to be put where a lease was granted.
#[derive(Clone, Debug)]
pub struct Fill {
    /// The slot's name.
    pub name: String,
    /// The lease's token.
    pub token: u64,
    /// What to put there; `None` gives the lease up.
    pub slot: Option<Slot>,
}

impl Fill {
    /// Bytes of its value.
    pub fn bytes(&self) -> usize {
        self.slot.as_ref().and_then(|slot| slot.state.value.as_ref()).map_or(0, bytes::Bytes::len)
    }
}

/// What Redis has of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peek {
    /// The chain of its slice.
    pub chain: Option<Chain>,
    /// Whether it has nothing.
    pub is_empty: bool,
    /// The state.
    pub slot: Option<Slot>,
    /// In its place, a lease, and what is wanted at least.
    pub leased: Option<Stamp>,
}

/// The second tier. Cheap to clone.
#[derive(Clone)]
pub struct Cache {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    link: Link,
    scripts: Scripts,
    switches: Board,
}

impl Cache {
    /// The cache that `config` names, whose operations `telemetry` shows; it is connected to when it is first asked.
    ///
    /// # Errors
    /// [`Error::Url`].
    pub fn new(config: Config, telemetry: &Telemetry) -> Result<Self, Error> {
        let link = Link::new(&config, telemetry)?;
        let switches = Board::new(config.switches);
        Ok(Cache { inner: Arc::new(Inner { config, link, scripts: Scripts::new(), switches }) })
    }

    /// Whether Redis answers, as far as is known. Where it does not, it is tried again from time to time.
    pub fn is_open(&self) -> bool {
        self.inner.link.is_open()
    }

    /// Whether Redis is asked, since when, and why not. Asks nothing itself.
    pub fn state(&self) -> Standing {
        self.inner.link.standing()
    }

    /// How it is configured.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// What of it this node uses at present.
    pub fn switches(&self) -> Switches {
        self.inner.switches.switches()
    }

    /// Changes what this node uses, until it ends; returns how the switches stand.
    ///
    /// # Errors
    /// What is wrong with a value; then nothing was changed.
    pub fn switch(&self, change: SwitchChange) -> Result<Switches, String> {
        self.inner.switches.change(change)
    }

    /// Waits until hints are to be listened to.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn hints_on(&self) {
        self.inner.switches.hints_on().await;
    }

    /// Reads a slice's chain and the slots of `names`, in one operation. What is no slot is `None`.
    ///
    /// # Errors
    /// [`Error::Away`], [`Error::Failed`].
    pub async fn get(&self, slice: &Slice, names: &[String]) -> Result<(Option<Chain>, Vec<Option<Slot>>), Error> {
        let mut command = redis::cmd("MGET");
        command.arg(slice.chain()).arg(names);
        let stored: Vec<Option<Vec<u8>>> =
            self.inner.link.run(async |connection| command.query_async(connection).await).await?;
        let mut stored = stored.into_iter();
        let chain = StoredChain(stored.next().flatten().unwrap_or_default()).chain();
        let slots = names.iter().zip(stored).map(|(name, stored)| self.decode(name, stored?));
        Ok((chain, slots.collect()))
    }

    /// Reads a slice's chain.
    ///
    /// # Errors
    /// [`Error::Away`], [`Error::Failed`].
    pub async fn chain(&self, slice: &Slice) -> Result<StoredChain, Error> {
        let mut command = redis::cmd("MGET");
        command.arg(slice.chain());
        let (stored,): (Option<Vec<u8>>,) =
            self.inner.link.run(async |connection| command.query_async(connection).await).await?;
        Ok(StoredChain(stored.unwrap_or_default()))
    }

    /// Asks for leases on slots that do not show the stamps wanted. `None` where the slice has no chain.
    ///
    /// # Errors
    /// [`Error::Away`]; [`Error::Failed`]: leases may have been granted, and end by themselves.
    pub async fn lease(
        &self,
        slice: &Slice,
        wanted: &[(String, Stamp)],
        token: u64,
    ) -> Result<Option<(Chain, Vec<Lease>)>, Error> {
        let answer: Option<Vec<Vec<u8>>> = self.invoke(self.inner.scripts.lease(slice, wanted, token)).await?;
        let Some(answer) = answer else { return Ok(None) };
        let mut answer = answer.into_iter();
        let chain = StoredChain(answer.next().unwrap_or_default()).chain();
        let lease = |(name, answer): (&String, Vec<u8>)| match answer.as_slice() {
            b"granted" => Lease::Granted,
            b"held" => Lease::Held,
            _ => self.decode(name, answer).map_or(Lease::Unfit, Lease::Found),
        };
        let leases: Vec<Lease> = wanted.iter().map(|(name, _)| name).zip(answer).map(lease).collect();
        Ok(chain.filter(|_| leases.len() == wanted.len()).map(|chain| (chain, leases)))
    }

    /// Puts states where their leases still stand. A value that is too large gives its lease up.
    ///
    /// # Errors
    /// [`Error::Away`], [`Error::Failed`].
    pub async fn fill(&self, slice: &Slice, fills: &[Fill]) -> Result<u64, Error> {
        let config = &self.inner.config;
        let lifetimes = fills.iter().map(|fill| {
            let is_value = fill.slot.as_ref().is_some_and(|slot| slot.state.value.is_some());
            jittered(if is_value { config.ttl } else { config.absent_ttl })
        });
        let lifetimes: Vec<Duration> = lifetimes.collect();
        self.invoke(self.inner.scripts.fill(slice, fills, &lifetimes)).await
    }

    /// Reads a slice's chain and the slot of `name` for people: a lease as well.
    ///
    /// # Errors
    /// [`Error::Away`], [`Error::Failed`].
    pub async fn peek(&self, slice: &Slice, name: &str) -> Result<Peek, Error> {
        let mut command = redis::cmd("MGET");
        command.arg(slice.chain()).arg(name);
        let (chain, stored): (Option<Vec<u8>>, Option<Vec<u8>>) =
            self.inner.link.run(async |connection| command.query_async(connection).await).await?;
        let chain = StoredChain(chain.unwrap_or_default()).chain();
        let leased = stored.as_deref().and_then(Slot::leased);
        Ok(Peek {
            chain,
            leased,
            is_empty: stored.is_none(),
            slot: stored.and_then(|stored| self.decode(name, stored)),
        })
    }

    /// Removes a slot, as an eviction does.
    ///
    /// # Errors
    /// [`Error::Away`]; [`Error::Failed`]: it may have been removed.
    pub async fn discard(&self, slice: &Slice, name: &str) -> Result<(), Error> {
        debug_assert!(name.starts_with(&slice.to_string()), "a slot of the slice");
        let mut command = redis::cmd("UNLINK");
        command.arg(name);
        self.inner.link.run(async |connection| command.query_async(connection).await).await
    }

    /// Whether a state is small enough to be put there.
    pub fn has_room_for(&self, state: &State) -> bool {
        let len = state.value.as_ref().map_or(0, bytes::Bytes::len);
        len as u64 <= self.inner.config.value_max.as_u64()
    }

    /// Removes the slots that are older than `changes`, at most [`SLOTS_AT_ONCE_MAX`] of them, tells of the changes, and moves the
    /// chain: its tail from `expected` to `next`, and to the mark `applied`, if that is one. False where the chain is another;
    /// then nothing was done. Where the changes are not told, it is told that there are some.
    ///
    /// # Errors
    /// [`Error::Away`]; [`Error::Failed`]: it may have been done.
    pub async fn apply(
        &self,
        slice: &Slice,
        expected: Tail,
        next: Tail,
        applied: Option<Position>,
        changes: &[Changed],
        is_told: bool,
    ) -> Result<bool, Error> {
        self.invoke(self.inner.scripts.apply(slice, expected, next, applied, changes, is_told)).await
    }

    /// Puts `new` in place of the chain that was `read`. False where that is another by now.
    ///
    /// # Errors
    /// [`Error::Away`]; [`Error::Failed`]: it may have been done.
    pub async fn claim(&self, slice: &Slice, read: &StoredChain, new: Chain) -> Result<bool, Error> {
        self.invoke(self.inner.scripts.claim(slice, read, new)).await
    }

    /// Takes or keeps the right to keep a slice, for so long. It is there for economy: any number of keepers may work on a
    /// slice.
    ///
    /// # Errors
    /// [`Error::Away`], [`Error::Failed`].
    pub async fn hold(&self, slice: &Slice, holder: u64, time: Duration) -> Result<bool, Error> {
        self.invoke(self.inner.scripts.hold(slice, holder, time)).await
    }

    /// What the keepers of `slices` tell from now on: a reader for each server that may have some of them.
    pub fn hints(&self, slices: &[Slice]) -> Vec<Hints> {
        let at_once = if self.inner.config.cluster { 1 } else { slices.len().max(1) };
        slices.chunks(at_once).map(|slices| Hints::new(self.inner.link.clone(), slices)).collect()
    }

    async fn invoke<T: FromRedisValue>(&self, invocation: ScriptInvocation<'_>) -> Result<T, Error> {
        self.inner.link.run(async |connection| invocation.invoke_async(connection).await).await
    }

    fn decode(&self, name: &str, stored: Vec<u8>) -> Option<Slot> {
        // Nodes put no larger ones there.
        let len_max = self.inner.config.value_max.as_u64() + slot::HEAD as u64;
        (stored.len() as u64 <= len_max).then(|| Slot::decode(name, stored)).flatten()
    }
}

fn jittered(lifetime: Duration) -> Duration {
    lifetime.mul_f64(1.0 - rand::rng().random_range(0.0..JITTER))
}
