//! Whether this node should be sent clients.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use prometheus::{IntGauge, IntGaugeVec};

use super::{audit::Audit, redis::Redis};
use crate::{
    record::DatabaseId,
    resilience::Deadline,
    service::Service,
    store::{Role, ServerState, Store},
    telemetry::Telemetry,
    tiers::freshness::{Freshness, Verdict},
};

/// How long the store may take to say that it is there.
const STORE_LIMIT: Duration = Duration::from_secs(1);

/// So long without a new mark, of which 20 are written a second, and the database most likely takes no writes: no
/// candidate could lead it, or the leader can not write.
const MARK_LIMIT: Duration = Duration::from_secs(10);

/// So long after the newest page of a backlog, it is taken to come no further. A page takes a few hundredths of a second.
const PAGE_LIMIT: Duration = Duration::from_secs(5);

/// The checks behind `/readyz`. Cheap to clone.
#[derive(Clone)]
pub struct Readiness {
    service: Service,
    store: Store,
    telemetry: Telemetry,
    draining: Arc<AtomicBool>,
    ready: IntGauge,
    held: IntGaugeVec,
}

/// What the checks come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Clients should be sent here.
    Ready,
    /// They should, though records of some databases cannot be read or may be old, or are not kept in Redis, or one was found to be
    /// wrong: of the others all is as ever.
    Degraded,
    /// They should be sent elsewhere.
    NotReady,
}

/// One check with its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was checked.
    pub name: String,
    /// Whether it held.
    pub ok: bool,
    /// In words, for an operator.
    pub detail: String,
}

impl Readiness {
    /// A node that is not draining.
    pub fn new(service: Service, store: Store, telemetry: Telemetry) -> Self {
        let ready = telemetry.gauge("freshet_ready", "1 while clients should be sent to this node, as /readyz says.");
        let held = telemetry.gauges("freshet_ready_check", "1 for each check of /readyz that holds.", &["check"]);
        Readiness { service, store, telemetry, draining: Arc::default(), ready, held }
    }

    /// From now on this node is not ready, so that balancers send new clients elsewhere. There is no way back.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether [`drain`](Self::drain) was called.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Runs every check, those of the databases side by side, and sets the gauges that tell of them. Takes at most a second.
    pub async fn check(&self) -> (Outcome, Vec<Check>) {
        let databases = join_all(self.store.databases().map(|database| self.check_database(database))).await;
        let serving = self.check_serving();
        let redis = Redis::read(self.service.tiers(), || self.telemetry.read()).map(|redis| redis.check());
        let audit = Audit::from(self.service.tiers().findings()).check();
        let is_well = audit.ok && redis.as_ref().is_none_or(|check| check.ok);
        let fit = databases.iter().filter(|checks| checks.iter().all(|check| check.ok)).count();
        let outcome = match (serving.ok, fit) {
            (false, _) | (_, 0) => Outcome::NotReady,
            (true, fit) if fit < databases.len() || !is_well => Outcome::Degraded,
            (true, _) => Outcome::Ready,
        };
        let checks = std::iter::once(serving).chain(databases.into_iter().flatten()).chain(redis).chain([audit]);
        let checks: Vec<Check> = checks.collect();
        self.ready.set((outcome != Outcome::NotReady).into());
        for check in &checks {
            self.held.with_label_values(&[&check.name]).set(check.ok.into());
        }
        (outcome, checks)
    }

    fn check_serving(&self) -> Check {
        let ok = !self.is_draining();
        let detail = if ok { "takes clients" } else { "draining: clients are sent elsewhere" };
        Check { name: "serving".into(), ok, detail: detail.into() }
    }

    async fn check_database(&self, database: DatabaseId) -> Vec<Check> {
        let (is_there, answer) = self.check_store(database).await;
        let (is_followed, age) = judge(self.service.tiers().freshness_of(database));
        // A single database needs no name.
        let of = |what: &str| match self.store.databases().count() {
            1 => what.to_owned(),
            _ => format!("{what} {}", self.store.name(database)),
        };
        let mut checks = vec![
            Check { name: of("store"), ok: is_there, detail: answer },
            Check { name: of("feed"), ok: is_followed, detail: age },
        ];
        let servers = self.store.servers(database);
        if servers.len() > 1 {
            // Without a replica the primary answers: that is no reason to send clients elsewhere.
            checks.push(Check { name: of("servers"), ok: true, detail: describe(&servers) });
        }
        checks
    }

    async fn check_store(&self, database: DatabaseId) -> (bool, String) {
        let deadline = Deadline::after(STORE_LIMIT);
        match deadline.limit(self.store.health(database, deadline)).await {
            Ok(Ok(detail)) => (true, detail),
            Ok(Err(error)) => (false, error.to_string()),
            Err(_) => (false, format!("no answer within {STORE_LIMIT:?}")),
        }
    }
}

/// Each server of a database, in words.
fn describe(servers: &[ServerState]) -> String {
    let each = servers.iter().map(|state| {
        let ServerState { server, role, lag_ms, reason, .. } = state;
        let lag = lag_ms.map_or_else(String::new, |lag| format!(" {lag} ms behind"));
        match (role, reason) {
            (Role::Primary, _) => format!("{server} is the primary"),
            (Role::Replica, _) => format!("{server} answers reads,{lag}"),
            (Role::Banned, reason) => {
                format!("{server} is asked nothing: {}", reason.as_deref().unwrap_or("it was not asked yet"))
            }
        }
    });
    each.collect::<Vec<_>>().join("; ")
}

/// Whether the feed is fit to send clients here, and why. All nodes read a large transaction at once, and later changes go
/// past it: to be unready then would take every node from its balancer, for nothing.
fn judge(freshness: &Freshness) -> (bool, String) {
    let missing = |age: Duration| format!("changes of the last {} ms may be missing", age.as_millis());
    match freshness.verdict() {
        Verdict::Fresh if freshness.since_mark() > MARK_LIMIT => {
            (false, format!("the database takes no marks: the newest is {} s old", freshness.since_mark().as_secs()))
        }
        Verdict::Fresh => (true, "every change is applied".into()),
        Verdict::Usable(age) | Verdict::Expired(age) => match freshness.since_page() {
            Some(since) if since <= PAGE_LIMIT => (true, format!("reads a large transaction; {}", missing(age))),
            _ => (false, missing(age)),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::tiers;

    #[test]
    fn a_node_that_reads_a_backlog_is_ready_and_one_that_hears_nothing_is_not() {
        let freshness = Freshness::new(Default::default());
        assert!(!judge(&freshness).0, "nothing was proven");
        let config = tiers::freshness::Config { fresh: Duration::ZERO, ..Default::default() };
        let freshness = Freshness::new(config);
        freshness.prove(Instant::now());
        let (ok, detail) = judge(&freshness);
        assert!(!ok && detail.ends_with("may be missing"), "{detail}");
        freshness.meet_page();
        let (ok, detail) = judge(&freshness);
        assert!(ok && detail.starts_with("reads a large transaction"), "{detail}");
    }
}
