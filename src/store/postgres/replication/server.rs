//! One server of a database, as this node knows it.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use prometheus::IntCounter;
use sqlx::postgres::PgConnectOptions;

use super::{Counters, standing::Standing};
use crate::{
    record::Position,
    store::{
        Error,
        postgres::{
            Config,
            session::{Login, Place},
        },
    },
};

/// A mark's distance from the next (`changes/relay.rs`).
const MARK_INTERVAL: Duration = Duration::from_millis(50);
/// A distance that no lag explains: marks jump so far with a new history.
const HISTORY_MARKS: u64 = 1 << 31;

/// What a server is to its database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Takes writes, and what only the newest state can answer.
    Primary,
    /// Answers reads.
    Replica,
    /// Is asked nothing, for a reason.
    Banned,
}

/// How a server stands, in words for an operator.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ServerState {
    /// Host and port, or the folder of its socket.
    pub server: String,
    /// What it is here.
    pub role: Role,
    /// How far it was behind when it was last seen; of a replica that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_ms: Option<u64>,
    /// Records that it has read for clients.
    pub reads: u64,
    /// Why it is asked nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A server.
pub(in crate::store::postgres) struct Server {
    database: String,
    pub(super) place: String,
    pub(super) options: PgConnectOptions,
    lag_max: Duration,
    /// The newest mark that it was seen to show, as a replica.
    mark: AtomicU64,
    /// Statements for clients under way.
    in_flight: AtomicUsize,
    standing: Mutex<Standing>,
    /// How far it was behind when it was last seen.
    lag_ms: AtomicU64,
    reads: IntCounter,
    counters: Counters,
}

/// A statement under way on a replica.
pub(in crate::store::postgres) struct InFlight<'s>(&'s Server);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Server {
    /// The server at `url`, of which nothing is known yet.
    ///
    /// # Errors
    /// [`Error::Broken`] when the URL is none.
    pub(super) fn new(config: &Config, url: &str, counters: &Counters) -> Result<Self, Error> {
        let options = config.options(url)?;
        let place = Place::of(url).map_or_else(|_| options.get_host().to_owned(), |place| place.server);
        Ok(Server {
            reads: counters.reads.with_label_values(&[config.name.as_str(), place.as_str()]),
            counters: counters.clone(),
            database: config.name.clone(),
            place,
            options,
            lag_max: config.replica_lag_max,
            mark: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            lag_ms: AtomicU64::new(0),
            standing: Mutex::new(Standing::new(Instant::now())),
        })
    }

    /// How a person reaches it.
    pub(in crate::store::postgres) fn login(&self) -> Login {
        Login::of(&self.options)
    }

    /// It has answered with so many records.
    pub(in crate::store::postgres) fn count_reads(&self, records: usize) {
        self.reads.inc_by(records as u64);
    }

    pub(super) fn begin(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        InFlight(self)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// The newest mark that it was seen to show.
    pub(super) fn mark(&self) -> Position {
        Position(self.mark.load(Ordering::Acquire))
    }

    pub(super) fn is_asked(&self) -> bool {
        self.standing.lock().is_asked()
    }

    /// It showed `mark` when `newest` was the newest that is known. A laggard is asked nothing until it has caught up.
    pub(super) fn meet_mark(&self, mark: Position, newest: Position) {
        self.mark.store(mark.0, Ordering::Release);
        let behind = newest.0.saturating_sub(mark.0);
        let lag = self.note_lag(behind);
        if behind >= HISTORY_MARKS {
            self.ban("it follows a lost history".into());
        } else if lag > self.lag_max {
            self.ban(format!("it is {:.1} s behind", lag.as_secs_f64()));
        }
    }

    /// A look at it found nothing, for `reason`.
    pub(super) fn miss(&self, reason: String, newest: Position) {
        self.note_lag(newest.0.saturating_sub(self.mark().0));
        self.ban(reason);
    }

    /// Of a replica that shows none yet, nothing is known.
    fn note_lag(&self, behind: u64) -> Duration {
        let lag = lag(behind);
        if self.mark().0 > 0 {
            self.lag_ms.store(u64::try_from(lag.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
        }
        lag
    }

    /// A look at it found it following and near enough, unless [`Self::meet_mark`] has just found otherwise.
    pub(super) fn admit(&self, newest: Position) {
        let is_near = lag(newest.0.saturating_sub(self.mark().0)) <= self.lag_max;
        if is_near && self.standing.lock().admit(Instant::now()) {
            self.show(false);
            tracing::info!(server = self.place, "the replica answers reads");
        }
    }

    /// It is asked nothing from now on, for `reason`, until a look at it finds nothing wrong.
    pub(super) fn ban(&self, reason: String) {
        let was_asked = self.standing.lock().ban(reason.clone(), Instant::now());
        if was_asked {
            self.show(false);
            tracing::warn!(server = self.place, reason, "the replica answers no reads for now");
        }
    }

    /// Shows how it stands to readers of the counters: as a replica, or if it `is_primary` not at all.
    pub(super) fn show(&self, is_primary: bool) {
        let (Counters { lag, asked, .. }, labels) = (&self.counters, [self.database.as_str(), self.place.as_str()]);
        if is_primary {
            // A series that is not there cannot be removed; that is the same.
            drop((lag.remove_label_values(&labels), asked.remove_label_values(&labels)));
            return;
        }
        asked.with_label_values(&labels).set(self.is_asked().into());
        if self.mark().0 > 0 {
            let behind = Duration::from_millis(self.lag_ms.load(Ordering::Acquire));
            lag.with_label_values(&labels).set(behind.as_secs_f64());
        }
    }

    /// How it stands, which is the primary if it `is_primary`; `newest` is the newest mark that is known.
    pub(super) fn state(&self, is_primary: bool, newest: Position) -> ServerState {
        let standing = self.standing.lock();
        let role = match (is_primary, standing.is_asked()) {
            (true, _) => Role::Primary,
            (false, true) => Role::Replica,
            (false, false) => Role::Banned,
        };
        let behind = newest.0.saturating_sub(self.mark().0);
        let is_known = !is_primary && self.mark().0 > 0 && behind < HISTORY_MARKS;
        // As it was when it was seen: marks that were written since are no lag.
        let lag_ms = is_known.then(|| self.lag_ms.load(Ordering::Acquire));
        let reason = standing.reason().filter(|_| role == Role::Banned).map(str::to_owned);
        ServerState { server: self.place.clone(), role, lag_ms, reads: self.reads.get(), reason }
    }
}

/// The time that so many marks stand for.
fn lag(marks: u64) -> Duration {
    MARK_INTERVAL.saturating_mul(u32::try_from(marks).unwrap_or(u32::MAX))
}
