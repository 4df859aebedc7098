//! The connection to Redis, and when it is not used.
//!
//! Promises: an operation is waited for no longer than the limit, and one that Redis is known not to answer in time is refused
//! at once. After [`FAILURES_MAX`] operations in a row that came to nothing the connection is given up; a new one, opened in the
//! background, has to answer a ping within the limit before it is used. So a silent or slow Redis costs a few operations their
//! limit, and each trial one ping.
//!
//! # Source
//! M. Nygard, "Release It!" (2007), "Circuit Breaker". A count opens it, unlike that of a database: an operation that is late
//! costs a reader 30 ms for nothing, and to go on without Redis is always right.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use prometheus::{IntCounterVec, IntGauge};
use tokio::time::timeout;

use super::{
    Config, Error,
    connection::{Connection, Purpose, Target},
};
use crate::{
    resilience::Backoff,
    telemetry::{Latency, Telemetry},
};

/// So many operations in a row may come to nothing.
const FAILURES_MAX: u32 = 5;
/// Between two attempts to connect.
const RETRY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
/// So many successes make a connection a good one.
const GOOD: u32 = 100;
/// What a server says that is not, or not yet, the one to ask.
const STRANGERS: [&str; 6] = ["READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "NOAUTH", "NOREPLICAS"];

/// The way to Redis. Cheap to clone.
#[derive(Clone)]
pub(super) struct Link {
    inner: Arc<Inner>,
}

struct Inner {
    target: Target,
    limit: Duration,
    state: Mutex<State>,
    /// How it was last told to stand.
    standing: Mutex<Standing>,
    retry: Mutex<Backoff>,
    /// Connections so far.
    opened: AtomicU64,
    counters: Counters,
}

/// Whether Redis is asked.
#[derive(Clone, Debug)]
pub struct Standing {
    /// It answers in time, as far as is known.
    pub is_open: bool,
    /// Since when that has been so.
    pub since: Instant,
    /// Why it is not asked.
    pub reason: Option<String>,
}

struct Counters {
    open: IntGauge,
    operations: IntCounterVec,
    took: Latency,
}

impl Counters {
    fn new(telemetry: &Telemetry) -> Self {
        Counters {
            open: telemetry.gauge("freshet_shared_open", "1 while Redis is asked."),
            operations: telemetry.counters(
                "freshet_shared_operations_total",
                "Operations on Redis, by what became of them.",
                &["outcome"],
            ),
            took: telemetry.latency("freshet_shared_operation_seconds", "How long Redis took to answer an operation."),
        }
    }
}

enum State {
    Open(Opened),
    Connecting,
    Away { until: Instant, reason: String },
}

/// A connection in use.
struct Opened {
    connection: Connection,
    /// Tells it from the ones before: what was asked of those says nothing about this one.
    number: u64,
    /// In a row.
    failures: u32,
    successes: u32,
}

impl Link {
    /// A link that is opened by the first operation.
    ///
    /// # Errors
    /// [`Error::Url`].
    pub(super) fn new(config: &Config, telemetry: &Telemetry) -> Result<Self, Error> {
        let (now, reason) = (Instant::now(), "it was not asked yet".to_owned());
        let inner = Inner {
            target: Target::new(config)?,
            limit: config.limit,
            state: Mutex::new(State::Away { until: now, reason: reason.clone() }),
            standing: Mutex::new(Standing { is_open: false, since: now, reason: Some(reason) }),
            retry: Mutex::new(RETRY),
            opened: AtomicU64::new(0),
            counters: Counters::new(telemetry),
        };
        Ok(Link { inner: Arc::new(inner) })
    }

    /// Carries an operation out, within the limit.
    ///
    /// # Errors
    /// [`Error::Away`], at once, while Redis is known not to answer; [`Error::Failed`]: it may have been carried out.
    ///
    /// # Cancel safety
    /// An operation that was sent is carried out.
    pub(super) async fn run<T>(
        &self,
        operation: impl AsyncFnOnce(&mut Connection) -> Result<T, redis::RedisError>,
    ) -> Result<T, Error> {
        let (mut connection, number) = self.connection().inspect_err(|_| self.count("refused"))?;
        let begun = Instant::now();
        let reason = match timeout(self.inner.limit, operation(&mut connection)).await {
            Ok(Ok(done)) => {
                self.count("done");
                self.inner.counters.took.observe(begun.elapsed());
                self.succeeded(number);
                return Ok(done);
            }
            Ok(Err(error)) => {
                // The server's own words are an answer, unless it says that it is not the one to ask.
                let is_answer = error.code().is_some_and(|code| !STRANGERS.contains(&code));
                self.count(if is_answer { "rejected" } else { "lost" });
                if is_answer {
                    self.succeeded(number);
                } else {
                    let is_lost = error.is_connection_dropped() || error.code().is_some();
                    self.failed(number, &error.to_string(), is_lost);
                }
                error.to_string()
            }
            Err(_) => {
                self.count("late");
                let reason = format!("no answer within {:?}", self.inner.limit);
                self.failed(number, &reason, false);
                reason
            }
        };
        Err(Error::Failed { reason })
    }

    /// The connection, while operations are let through; otherwise another is opened, if it is time.
    fn connection(&self) -> Result<(Connection, u64), Error> {
        let mut state = self.inner.state.lock();
        match &mut *state {
            State::Open(opened) => Ok((opened.connection.clone(), opened.number)),
            State::Connecting => Err(Error::Away { reason: "connecting".into() }),
            State::Away { until, reason } => {
                let error = Error::Away { reason: reason.clone() };
                if Instant::now() >= *until {
                    *state = State::Connecting;
                    tokio::spawn(self.clone().connect());
                }
                Err(error)
            }
        }
    }

    /// Whether operations are let through; otherwise another connection is opened, if it is time.
    pub(super) fn is_open(&self) -> bool {
        self.connection().is_ok()
    }

    /// A connection of the caller's own, for operations that block.
    ///
    /// # Errors
    /// [`Error::Away`].
    pub(super) async fn open_another(&self) -> Result<Connection, Error> {
        self.inner.target.open(Purpose::Blocking, self.inner.limit).await.map_err(|reason| Error::Away { reason })
    }

    /// Whether Redis is asked, since when, and why not.
    pub(super) fn standing(&self) -> Standing {
        self.inner.standing.lock().clone()
    }

    /// Notes whether it is asked from now on; a reason that is told again changes nothing else.
    fn stands(&self, reason: Option<&str>) {
        let mut standing = self.inner.standing.lock();
        let is_open = reason.is_none();
        if standing.is_open != is_open {
            (standing.is_open, standing.since) = (is_open, Instant::now());
        }
        standing.reason = reason.map(str::to_owned);
        self.inner.counters.open.set(is_open.into());
    }

    fn count(&self, outcome: &str) {
        self.inner.counters.operations.with_label_values(&[outcome]).inc();
    }

    fn succeeded(&self, number: u64) {
        let mut state = self.inner.state.lock();
        let State::Open(opened) = &mut *state else { return };
        if opened.number == number {
            (opened.failures, opened.successes) = (0, opened.successes.saturating_add(1));
            if opened.successes == GOOD {
                self.inner.retry.lock().reset();
            }
        }
    }

    /// A cluster's connection is kept: it finds its way to the masters that are there by itself, and those that are not cost their
    /// own slices.
    fn failed(&self, number: u64, reason: &str, is_lost: bool) {
        let mut state = self.inner.state.lock();
        let State::Open(opened) = &mut *state else { return };
        if opened.number != number || matches!(opened.connection, Connection::Cluster(_)) {
            return;
        }
        opened.failures += 1;
        if is_lost || opened.failures >= FAILURES_MAX {
            tracing::warn!(reason, "Redis is not used for now");
            self.stands(Some(reason));
            // At once after a good while, and else later and later.
            let is_first = opened.successes >= GOOD;
            let rest = if is_first { Duration::ZERO } else { self.inner.retry.lock().next_wait() };
            *state = State::Away { until: Instant::now() + rest, reason: reason.to_owned() };
        }
    }

    /// Opens a connection, and tries it.
    async fn connect(self) {
        let mut connecting = Connecting { link: &self, ended: Err("the attempt to connect was given up".into()) };
        connecting.ended = self.inner.target.open(Purpose::Operations, self.inner.limit).await;
    }

    fn connected(&self, ended: Result<Connection, String>) {
        let state = match ended {
            Ok(connection) => {
                self.stands(None);
                tracing::info!("Redis is used");
                let number = self.inner.opened.fetch_add(1, Ordering::Relaxed);
                State::Open(Opened { connection, number, failures: 0, successes: 0 })
            }
            Err(reason) => {
                let is_news = self.standing().reason.as_ref() != Some(&reason);
                if is_news {
                    tracing::warn!(reason, "Redis cannot be used");
                }
                self.stands(Some(&reason));
                State::Away { until: Instant::now() + self.inner.retry.lock().next_wait(), reason }
            }
        };
        *self.inner.state.lock() = state;
    }
}

/// An attempt to connect. If its task panics, the next operation begins another.
struct Connecting<'l> {
    link: &'l Link,
    ended: Result<Connection, String>,
}

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        let given_up = Err("the attempt to connect was given up".to_owned());
        self.link.connected(std::mem::replace(&mut self.ended, given_up));
    }
}
