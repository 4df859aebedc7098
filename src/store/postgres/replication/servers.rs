//! All servers of one database.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::RwLock;
use prometheus::{IntCounter, IntCounterVec};
use rand::seq::index;
use tokio::sync::{Notify, watch};

use super::{
    Counters,
    roles::{self, History, Sighting},
    server::{InFlight, Server, ServerState},
};
use crate::{
    record::Position,
    store::{
        Error,
        postgres::{breaker::Breaker, config::Config},
    },
};

/// The servers, in the order of the configuration.
pub(in crate::store::postgres) struct Servers {
    database: String,
    servers: Box<[Server]>,
    primary: RwLock<Primary>,
    /// Changes with the primary.
    term: watch::Sender<u64>,
    /// The newest mark that any of them showed.
    newest: AtomicU64,
    /// Set when the primary does not answer: another may have taken its place.
    suspected: Notify,
    /// What is taken for the primary has said that it is none.
    is_refuted: AtomicBool,
    /// Of the primary.
    pub(in crate::store::postgres) breaker: Breaker,
    promotions: IntCounter,
    failures: IntCounterVec,
}

/// The server that is taken for the primary.
struct Primary {
    at: usize,
    /// Counts the servers that were.
    term: u64,
    /// What it writes, once it was met.
    history: Option<History>,
}

impl Servers {
    /// The servers of a database. The first is taken for the primary until they were looked at.
    ///
    /// # Errors
    /// [`Error::Broken`] when a URL is none.
    pub(in crate::store::postgres) fn new(config: &Config, counters: &Counters) -> Result<Self, Error> {
        let servers: Result<_, _> = config.urls().map(|url| Server::new(config, url, counters)).collect();
        Ok(Servers {
            database: config.name.clone(),
            servers: servers?,
            primary: RwLock::new(Primary { at: 0, term: 0, history: None }),
            term: watch::Sender::new(0),
            newest: AtomicU64::new(0),
            suspected: Notify::new(),
            is_refuted: AtomicBool::new(false),
            breaker: Breaker::default(),
            promotions: counters.promotions.with_label_values(&[&config.name]),
            failures: counters.failures.clone(),
        })
    }

    pub(in crate::store::postgres) fn len(&self) -> usize {
        self.servers.len()
    }

    pub(in crate::store::postgres) fn get(&self, at: usize) -> &Server {
        &self.servers[at]
    }

    /// The primary, and how many were before it.
    pub(in crate::store::postgres) fn primary(&self) -> (&Server, u64) {
        let primary = self.primary.read();
        (&self.servers[primary.at], primary.term)
    }

    pub(in crate::store::postgres) fn is_primary(&self, at: usize) -> bool {
        self.primary.read().at == at
    }

    /// Whether the primary is the same as when its term was `term`.
    pub(in crate::store::postgres) fn is_current(&self, term: u64) -> bool {
        *self.term.borrow() == term
    }

    /// Changes when another server is taken for the primary.
    pub(in crate::store::postgres) fn term(&self) -> watch::Receiver<u64> {
        self.term.subscribe()
    }

    /// The primary of `term` was met with `history`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when that is older than one that was met: it is an old primary.
    pub(super) fn confirm(&self, term: u64, history: History) -> Result<(), Error> {
        let primary = self.primary.read();
        let (at, known, is_current) = (primary.at, primary.history, primary.term == term);
        drop(primary);
        // Where there is one address, whoever stands behind it is the primary, a server restored from a backup as well.
        if self.servers.len() > 1 && !roles::may_follow(history, known) {
            self.refute();
            return Err(Error::Unavailable { reason: "the server is an old primary; another was promoted".into() });
        }
        if is_current && known != Some(history) {
            self.promote(at, history);
        }
        Ok(())
    }

    /// The server that is taken for the primary took no connection.
    pub(super) fn suspect(&self) {
        self.suspected.notify_one();
    }

    /// The server that is taken for the primary is none, or may not be used.
    pub(super) fn refute(&self) {
        self.is_refuted.store(true, Ordering::Release);
        self.suspected.notify_one();
    }

    /// Waits until the primary is suspected or refuted.
    pub(super) async fn suspicion(&self) {
        self.suspected.notified().await;
    }

    /// Whether it was refuted since this was called last.
    pub(super) fn take_refutation(&self) -> bool {
        self.is_refuted.swap(false, Ordering::AcqRel)
    }

    /// Takes the primary from what a look at every server found; an error says of each why it is not the primary.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Broken`].
    pub(super) fn elect(&self, looks: &[Result<Sighting, String>]) -> Result<(), Error> {
        let sightings: Vec<Option<Sighting>> = looks.iter().map(|look| look.as_ref().ok().copied()).collect();
        let (known, incumbent) = {
            let primary = self.primary.read();
            (primary.history, primary.at)
        };
        match roles::primary(&sightings, known, incumbent) {
            Ok(Some((at, history))) => {
                self.promote(at, history);
                Ok(())
            }
            Ok(None) => Err(Error::Unavailable { reason: format!("it has no primary: {}", self.listed(looks)) }),
            Err((one, other)) => {
                let [one, other] = [one, other].map(|at| &self.servers[at].place);
                Err(Error::broken(format!(
                    "tell the primary of [[database]] {}: {one} and {other} are primaries of different clusters; remove one",
                    self.database
                )))
            }
        }
    }

    fn listed(&self, looks: &[Result<Sighting, String>]) -> String {
        let each = self.servers.iter().zip(looks).map(|(server, look)| {
            let why = match look {
                Err(reason) => reason,
                Ok(sighting) if sighting.timeline.is_none() => "it is a standby",
                Ok(_) => "it is an old primary; another was promoted",
            };
            format!("{}: {why}", server.place)
        });
        each.collect::<Vec<_>>().join("; ")
    }

    /// What a look at one server found, which was not taken for the primary.
    pub(super) fn meet(&self, at: usize, sighting: Sighting) {
        let known = self.primary.read().history;
        let server = &self.servers[at];
        match (sighting.history(), known) {
            (_, Some(known)) if known.system_identifier != sighting.system_identifier => {
                server.ban("it is of another cluster than the primary".into());
            }
            (Some(found), Some(known)) if found.timeline > known.timeline => self.promote(at, found),
            (Some(found), Some(known)) if found.timeline < known.timeline => {
                server.ban("it is an old primary; another was promoted".into());
            }
            (Some(_), _) => server.ban("it is no replica but a primary".into()),
            (None, _) => {
                self.meet_mark(sighting.mark);
                server.meet_mark(sighting.mark, self.newest());
                server.admit(self.newest());
            }
        }
    }

    /// Takes a server for the primary. It is another one as well if it stands behind the same address and writes another history:
    /// connections to the one before must not be used.
    fn promote(&self, at: usize, history: History) {
        let mut primary = self.primary.write();
        let is_other = primary.at != at || primary.history.is_some_and(|known| known != history);
        primary.history = Some(history);
        if is_other {
            (primary.at, primary.term) = (at, primary.term + 1);
            let term = primary.term;
            drop(primary);
            // Marks of a restored server may be lower.
            self.newest.store(0, Ordering::Release);
            if self.servers.len() > 1 {
                self.servers[at].ban("it is the primary".into());
                self.show();
            }
            self.breaker.answered();
            self.promotions.inc();
            self.term.send_replace(term);
            let (database, server) = (&self.database, &self.servers[at].place);
            tracing::warn!(%database, %server, timeline = history.timeline, "another server is the primary now");
        }
    }

    /// Some server showed `mark`.
    pub(in crate::store::postgres) fn meet_mark(&self, mark: Position) {
        self.newest.fetch_max(mark.0, Ordering::AcqRel);
    }

    pub(in crate::store::postgres) fn newest(&self) -> Position {
        Position(self.newest.load(Ordering::Acquire))
    }

    /// The newest mark that a replica shows which may be asked; `None` where there is none.
    pub(in crate::store::postgres) fn replica_mark(&self) -> Option<Position> {
        if self.servers.len() == 1 {
            return None;
        }
        self.replicas().map(|at| self.servers[at].mark()).max()
    }

    /// A replica that shows `needed`: of two drawn at random, the one with fewer statements in flight.
    ///
    /// # Source
    /// M. Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing" (IEEE TPDS 12(10), 2001).
    pub(in crate::store::postgres) fn choose(&self, needed: Position) -> Option<(usize, InFlight<'_>)> {
        let fit: Vec<usize> = self.replicas().filter(|at| self.servers[*at].mark() >= needed).collect();
        let drawn = index::sample(&mut rand::rng(), fit.len(), fit.len().min(2));
        let at = drawn.iter().map(|drawn| fit[drawn]).min_by_key(|at| self.servers[*at].in_flight())?;
        Some((at, self.servers[at].begin()))
    }

    fn replicas(&self) -> impl Iterator<Item = usize> {
        let primary = self.primary.read().at;
        (0..self.servers.len()).filter(move |at| *at != primary && self.servers[*at].is_asked())
    }

    /// A replica has answered, in a snapshot that showed `mark`.
    pub(in crate::store::postgres) fn answered(&self, at: usize, mark: Position) {
        self.meet_mark(mark);
        self.servers[at].meet_mark(mark, self.newest());
    }

    /// A statement on a replica failed; where `reason` bans it, it is not asked for a while.
    pub(in crate::store::postgres) fn failed(&self, at: usize, reason: &'static str, ban: Option<String>) {
        let server = &self.servers[at];
        self.failures.with_label_values(&[self.database.as_str(), server.place.as_str(), reason]).inc();
        if let Some(ban) = ban {
            server.ban(ban);
        }
    }

    /// Shows how the replicas stand to readers of the counters.
    pub(super) fn show(&self) {
        for (at, server) in self.servers.iter().enumerate() {
            server.show(self.is_primary(at));
        }
    }

    /// How each stands.
    pub(in crate::store::postgres) fn states(&self) -> Vec<ServerState> {
        let primary = self.primary.read().at;
        let states = self.servers.iter().enumerate();
        states.map(|(at, server)| server.state(at == primary, self.newest())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Telemetry;

    fn servers(replicas: &[&str]) -> Servers {
        let replicas = replicas.iter().map(|url| (*url).to_owned()).collect();
        let config = Config { replicas, ..Config::at("postgres://a/shop") };
        Servers::new(&config, &Counters::new(&Telemetry::new())).expect("sound urls")
    }

    fn history(system_identifier: i64, timeline: i32) -> History {
        History { system_identifier, timeline }
    }

    #[test]
    fn another_history_behind_the_same_address_is_another_primary() {
        let servers = servers(&[]);
        servers.confirm(0, history(7, 1)).expect("the first");
        servers.confirm(0, history(7, 1)).expect("the same");
        assert!(servers.is_current(0));
        servers.confirm(0, history(7, 2)).expect("it was promoted");
        assert!(servers.is_current(1) && !servers.is_current(0));
    }

    #[test]
    fn the_only_server_may_be_restored_to_an_earlier_timeline_and_one_of_several_is_an_old_primary() {
        let alone = servers(&[]);
        alone.confirm(0, history(7, 2)).expect("the first");
        alone.confirm(0, history(7, 1)).expect("it was restored");
        let several = servers(&["postgres://b/shop"]);
        several.confirm(0, history(7, 2)).expect("the first");
        several.confirm(0, history(7, 1)).expect_err("another was promoted");
        assert!(several.take_refutation());
    }

    #[test]
    fn where_there_is_no_primary_each_server_says_why() {
        let servers = servers(&["postgres://b/shop"]);
        let standby = Sighting { system_identifier: 7, timeline: None, follows: None, mark: Position(1) };
        let error = servers.elect(&[Err("password authentication failed".into()), Ok(standby)]).expect_err("none");
        let text = error.to_string();
        assert!(text.contains("a:5432: password authentication failed; b:5432: it is a standby"), "{text}");
    }
}
