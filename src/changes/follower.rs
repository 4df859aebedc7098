//! Every node's reader of the change feed.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use prometheus::{IntCounter, IntGauge};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    hub::Hub,
    record::{Change, Position, RecordId},
    resilience::{Backoff, Deadline},
    store::{Batcher, Error, Join, Loaded, Poll, Proof, Store},
    telemetry::Telemetry,
    tiers::Tiers,
};

/// The pause between polls while changes come in, and its limit when none do.
///
/// # Source
/// coherence protocol, section 3.
const PAUSE_ACTIVE: Duration = Duration::from_millis(5);
const PAUSE_IDLE: Duration = Duration::from_millis(25);
/// Records read at once to follow their changes; the store merges them into one statement a shard.
const READS_AT_ONCE: usize = 512;
/// The longest such a read may take before it is begun anew.
const READ_LIMIT: Duration = Duration::from_secs(5);

/// Tails the outbox; lowers no floor, loses no change.
///
/// A change whose record nobody watches and L1 does not hold costs no read: its floor rises and that is all. The
/// order makes this safe. The floor rises before the watchers are looked up, and a watcher registers before it reads;
/// so either it is found here, or its read comes after the floor and shows the change itself.
pub struct Follower {
    store: Store,
    batcher: Batcher,
    tiers: Tiers,
    hub: Hub,
    /// Changed records whose state could not be read yet; their watchers are owed it. With each, the moment before which
    /// it was not changed.
    owed: HashMap<RecordId, Instant>,
    /// Changed records that this node was writing when the poll showed it: the writes' answers most likely bring the states.
    expected: Vec<Expected>,
    /// When the last poll began: what the next one reports was committed after it.
    polled: Instant,
    /// Reads under way. They outlast polls: a partition that somebody has locked holds up its own records only.
    reading: FuturesUnordered<BoxFuture<'static, Read>>,
    changes: IntCounter,
    resyncs: IntCounter,
    position: IntGauge,
}

/// A change that is most likely this node's own.
struct Expected {
    id: RecordId,
    version: u64,
    /// The record was not changed before this.
    since: Instant,
}

/// A read of a changed record.
struct Read {
    id: RecordId,
    /// The record was not changed before this.
    since: Instant,
    result: Result<Loaded, Error>,
}

impl Follower {
    /// A follower that keeps `tiers` current and tells `hub`.
    pub fn new(store: Store, tiers: Tiers, hub: Hub, telemetry: &Telemetry) -> Self {
        Follower {
            batcher: Batcher::new(
                store.clone(),
                telemetry.counter("freshet_changes_statements_total", "Statements that read what had changed."),
            ),
            store,
            tiers,
            hub,
            owed: HashMap::new(),
            expected: Vec::new(),
            polled: Instant::now(),
            reading: FuturesUnordered::new(),
            changes: telemetry.counter("freshet_changes_applied_total", "Changes taken from the feed."),
            resyncs: telemetry.counter("freshet_changes_resyncs_total", "Times that history was lost and read anew."),
            position: telemetry.gauge("freshet_changes_position", "The newest mark applied."),
        }
    }

    /// Follows until `stop`. An outage of the database is waited out; the place in the feed is kept.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut tail = self.store.tail();
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        let (mut pause, mut failing, mut first) = (PAUSE_ACTIVE, false, true);
        loop {
            let polled = tokio::select! {
                () = stop.cancelled() => return,
                () = self.tiers.reset_met() => {
                    self.owe_watched();
                    continue;
                }
                polled = tail.poll() => polled,
            };
            self.owe_missed();
            let wait = match polled {
                Ok(poll) => {
                    if std::mem::take(&mut failing) {
                        tracing::info!("the change feed answers again");
                        backoff.reset();
                    }
                    pause = if poll.changes.is_empty() { (pause * 2).min(PAUSE_IDLE) } else { PAUSE_ACTIVE };
                    self.take(poll, std::mem::take(&mut first));
                    pause
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "the change feed does not answer; cached records will be marked as stale");
                    }
                    backoff.next_wait()
                }
            };
            if stop.run_until_cancelled(self.read_owed(wait)).await.is_none() {
                return;
            }
        }
    }

    fn take(&mut self, poll: Poll, first: bool) {
        if first || !poll.complete {
            self.start_over(&poll, first);
        }
        for change in &poll.changes {
            self.apply(change, poll.position);
        }
        self.changes.inc_by(poll.changes.len() as u64);
        self.tiers.advance(Proof { position: poll.position, begun: poll.begun });
        self.polled = poll.begun;
        self.position.set(i64::try_from(poll.position.0).unwrap_or(i64::MAX));
    }

    fn start_over(&mut self, poll: &Poll, first: bool) {
        self.tiers.reset(poll.position, poll.generations.as_deref());
        self.owe_watched();
        if !first {
            self.resyncs.inc();
            tracing::warn!("the feed's history was lost; every cached and watched record is read anew");
        }
    }

    fn apply(&mut self, change: &Change, seen: Position) {
        let id = RecordId::new(change.collection, change.key.clone());
        if !self.tiers.is_news(&id, change.version) && self.hub.has_seen(id.as_ref(), change.version) {
            return;
        }
        let held = self.tiers.holds(&id);
        self.tiers.note(change, seen);
        if !held && !self.hub.is_watched(id.as_ref()) {
            return;
        }
        if self.store.is_writing(&id) {
            self.expected.push(Expected { id, version: change.version, since: self.polled });
        } else {
            self.owe(id, self.polled);
        }
    }

    /// Reads what no write's answer has brought since the last poll.
    fn owe_missed(&mut self) {
        for Expected { id, version, since } in std::mem::take(&mut self.expected) {
            // An entry below the change's floor is gone, so one that stands is not older.
            if !self.tiers.holds(&id) || !self.hub.has_seen(id.as_ref(), version) {
                self.owe(id, since);
            }
        }
    }

    fn owe(&mut self, id: RecordId, since: Instant) {
        self.owed.entry(id).or_insert(since);
    }

    /// Nobody knows what changed, nor when.
    fn owe_watched(&mut self) {
        let now = Instant::now();
        self.hub.watched().into_iter().for_each(|id| self.owe(id, now));
    }

    /// Reads the records that are owed, for the time of `pause`, and passes their states on; what fails stays owed.
    async fn read_owed(&mut self, pause: Duration) {
        let mut failed = Vec::new();
        let pause = sleep(pause);
        tokio::pin!(pause);
        loop {
            self.begin_reads();
            tokio::select! {
                () = &mut pause => break,
                Some(read) = self.reading.next() => failed.extend(self.pass_on(read)),
            }
        }
        failed.into_iter().for_each(|(id, since)| self.owe(id, since));
    }

    fn begin_reads(&mut self) {
        while self.reading.len() < READS_AT_ONCE {
            let Some(id) = self.owed.keys().next().cloned() else { return };
            let since = self.owed.remove(&id).expect("it was just seen");
            let batcher = self.batcher.clone();
            self.reading.push(Box::pin(async move {
                let result = batcher.load(&id, Join::Later, Deadline::after(READ_LIMIT)).await;
                Read { id, since, result }
            }));
        }
    }

    /// Gives a state to the tiers and the watchers; returns the record if it has to be read again.
    fn pass_on(&self, Read { id, since, result }: Read) -> Option<(RecordId, Instant)> {
        match result {
            Ok(loaded) => match self.tiers.install(&id, &loaded) {
                Some(state) => {
                    self.hub.publish(&id, &state, since);
                    None
                }
                // Overtaken: the change that did it is still to come, or was read by somebody else.
                None => Some((id, since)),
            },
            Err(Error::NotOwned { .. }) => None,
            Err(_) => Some((id, since)),
        }
    }
}
