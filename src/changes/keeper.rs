//! Keeps Redis current: removes the slots that changes have made old, and says up to which mark it has done so.
//!
//! One node keeps a slice, for economy: it has a right in Redis that it renews. Any number may keep one without harm: each
//! step names the one before, so of two keepers one is refused, and finds out where the slice is.
//!
//! It polls the feed by itself, so that a slow Redis slows no follower.
//!
//! # Source
//! docs/coherence.md, section 5b, rules 10 and 11.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use prometheus::{IntCounterVec, IntGauge};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{
    counters::Counters,
    kept_slice::{Claim, Generations, KeptSlice, Source},
    pace::Pace,
};
use crate::{
    record::{DatabaseId, Position, RecordRef},
    resilience::Backoff,
    shared::{Cache, Slice},
    store::{Poll, Store},
};

/// How long the right to keep a slice lasts, and how often it is renewed or asked for.
const RIGHT: Duration = Duration::from_secs(3);
const RENEWAL: Duration = Duration::from_secs(1);
/// How often it is asked for while Redis is not used.
const RECONNECTION: Duration = Duration::from_millis(100);

/// The keeper of one database's slices, as far as this node has the right.
pub struct Keeper {
    source: Source,
    /// Who this is, among all keepers.
    holder: u64,
    slices: Vec<Candidate>,
    /// Of the last poll.
    generations: Generations,
    position: Position,
    kept: IntGauge,
    claims: IntCounterVec,
    name: String,
}

/// A slice, kept by this node or not.
struct Candidate {
    slice: Slice,
    kept: Option<KeptSlice>,
}

impl Keeper {
    /// A keeper for `database` in `cache`.
    pub fn new(database: DatabaseId, store: Store, cache: Cache, counters: &Counters) -> Self {
        let name = store.name(database).to_owned();
        Keeper {
            kept: counters.kept.with_label_values(&[&name]),
            claims: counters.claims.clone(),
            source: Source { database, store, cache },
            holder: rand::random(),
            slices: Vec::new(),
            generations: Generations::new(),
            position: Position::default(),
            name,
        }
    }

    /// Keeps until `stop`. An outage of Redis or the database is waited out.
    pub async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled(self.keep()).await;
        // The next keeper need not wait until the rights end by themselves.
        let Keeper { source, holder, .. } = &self;
        let kept = self.slices.iter().filter(|candidate| candidate.kept.is_some());
        join_all(kept.map(|candidate| source.cache.hold(&candidate.slice, *holder, Duration::ZERO))).await;
    }

    async fn keep(&mut self) {
        loop {
            while !self.renew().await {
                // The first request opens the connection, and is not answered.
                sleep(if self.source.cache.is_open() { RENEWAL } else { RECONNECTION }).await;
            }
            self.keep_while_held().await;
            self.kept.set(0);
        }
    }

    /// Asks for the right to keep each slice; false when this node has none.
    async fn renew(&mut self) -> bool {
        let Source { database, store, cache } = &self.source;
        if self.slices.is_empty()
            && let Some(lineage) = store.lineage(*database)
        {
            let slices = Slice::all(store.name(*database), lineage, cache.config().slices()).into_iter();
            self.slices = slices.map(|slice| Candidate { slice, kept: None }).collect();
        }
        let (holder, count) = (self.holder, cache.config().slices());
        let renewals = (0..).zip(&mut self.slices).map(|(number, candidate)| async move {
            match cache.hold(&candidate.slice, holder, RIGHT).await {
                Ok(true) if candidate.kept.is_none() => {
                    candidate.kept = Some(KeptSlice::new(candidate.slice.clone(), number, count));
                }
                Ok(false) => candidate.kept = None,
                // Another keeper may have it by now, which each of its steps will tell.
                Ok(true) | Err(_) => {}
            }
        });
        join_all(renewals).await;
        self.slices.iter().any(|candidate| candidate.kept.is_some())
    }

    /// Polls and applies until it has no right any more.
    async fn keep_while_held(&mut self) {
        let (mut tail, mut renewed) = (self.source.store.keeper_tail(self.source.database), Instant::now());
        let mut pace = Pace::new(Instant::now());
        let mut failing = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        self.start_over();
        loop {
            let pause = match tail.poll().await {
                Ok(poll) => {
                    failing.reset();
                    self.polled(&poll).await;
                    if !self.knows_all(&poll) {
                        // The first poll of another tail reports all generations, and nothing of what came before it.
                        tail = self.source.store.keeper_tail(self.source.database);
                        self.start_over();
                    }
                    pace.after(true, !poll.changes.is_empty())
                }
                Err(_) => failing.next_wait(),
            };
            if renewed.elapsed() >= RENEWAL {
                renewed = Instant::now();
                if !self.renew().await {
                    return;
                }
            }
            sleep(pause).await;
        }
    }

    async fn polled(&mut self, poll: &Poll) {
        if let Some(generations) = &poll.generations {
            self.generations = generations.iter().copied().collect();
        }
        if !poll.complete {
            // What was applied may be of a lost history.
            self.start_over();
        }
        if let Some(proof) = poll.proof {
            self.position = proof.position;
        }
        let Keeper { source, generations, position, .. } = &*self;
        let (source, generations, position) = (source.clone(), generations.clone(), *position);
        let steps = self.kept_slices().map(|slice| async {
            if slice.is_known() {
                slice.apply(&source, poll, &generations).await;
            }
            if slice.is_known() || position == Position::default() {
                return None;
            }
            slice.claim(&source, position).await
        });
        let claims = join_all(steps).await;
        for claim in claims.into_iter().flatten() {
            let how = match claim {
                Claim::Resumed => "resumed",
                Claim::Anew => "anew",
            };
            self.claims.with_label_values(&[self.name.as_str(), how]).inc();
            tracing::info!(database = self.name, how, "keeps a slice of Redis");
        }
        let known = self.kept_slices().filter(|slice| slice.is_known()).count();
        self.kept.set(i64::try_from(known).unwrap_or(i64::MAX));
    }

    /// The next polls do not go on where the last steps ended: each slice has to be taken up anew.
    fn start_over(&mut self) {
        self.position = Position::default();
        self.kept_slices().for_each(KeptSlice::doubt);
    }

    /// Whether the generation of each changed record's shard is known.
    fn knows_all(&self, poll: &Poll) -> bool {
        poll.changes.iter().all(|change| {
            let record = RecordRef { collection: change.collection, key: change.key.as_str() };
            self.source.store.shard_of(record).map_or(true, |shard| self.generations.contains_key(&shard))
        })
    }

    fn kept_slices(&mut self) -> impl Iterator<Item = &mut KeptSlice> {
        self.slices.iter_mut().filter_map(|candidate| candidate.kept.as_mut())
    }
}
