//! Looks at the servers: all of them to find the primary, and the others every half second.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::{Servers, roles::Sighting};
use crate::{
    record::Position,
    resilience::Deadline,
    store::{Error, postgres::identity},
};

/// Between two looks at the same server.
const INTERVAL: Duration = Duration::from_millis(500);
/// After a look because the primary was suspected.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a look may take.
const LIMIT: Duration = Duration::from_secs(1);

/// Looks at every server but the primary until `stop`; at once when the primary takes no connection, and at the primary as well when
/// it turns out to be none. When another has
/// become the primary, `forget` is called: it closes connections to the one before. Where there is one server, there is nothing
/// to look at, and only `forget` is called.
pub(in crate::store::postgres) async fn watch(servers: Arc<Servers>, forget: impl Fn(), stop: CancellationToken) {
    let mut term = servers.term();
    if servers.len() == 1 {
        // Another server may take its place behind the same address.
        let forgets = async {
            while term.changed().await.is_ok() {
                forget();
            }
        };
        stop.run_until_cancelled(forgets).await;
        return stop.cancelled().await;
    }
    let mut probes: Vec<Probe> = (0..servers.len()).map(Probe::new).collect();
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let looks = async {
        loop {
            if term.has_changed().unwrap_or_default() {
                term.mark_unchanged();
                forget();
            }
            let is_suspected = tokio::select! {
                _ = ticks.tick() => false,
                () = servers.suspicion() => true,
            };
            let others = probes.iter_mut().filter(|probe| !servers.is_primary(probe.at));
            join_all(others.map(|probe| probe.look_and_tell(&servers))).await;
            if servers.take_refutation() || is_suspected {
                // There may be none for a while; whoever needs it goes on asking.
                drop(elect_among(&servers, &mut probes).await);
                let primary = probes.iter_mut().filter(|probe| servers.is_primary(probe.at));
                primary.for_each(|probe| probe.connection = None);
            }
            servers.show();
            if is_suspected {
                sleep(PAUSE).await;
            }
        }
    };
    stop.run_until_cancelled(looks).await;
}

impl Servers {
    /// Finds out which server is the primary, and which are replicas.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when none of them is a primary that answers, [`Error::Broken`] when two are.
    pub(in crate::store::postgres) async fn find_primary(&self) -> Result<(), Error> {
        if self.len() == 1 {
            return Ok(());
        }
        let mut probes: Vec<Probe> = (0..self.len()).map(Probe::new).collect();
        let elected = elect_among(self, &mut probes).await;
        join_all(probes.into_iter().filter_map(|probe| probe.connection).map(PgConnection::close)).await;
        elected
    }
}

async fn elect_among(servers: &Servers, probes: &mut [Probe]) -> Result<(), Error> {
    let looks = join_all(probes.iter_mut().map(|probe| probe.look(servers))).await;
    servers.elect(&looks)?;
    for (at, look) in looks.into_iter().enumerate() {
        if let Ok(sighting) = look
            && !servers.is_primary(at)
        {
            servers.meet(at, sighting);
        }
    }
    Ok(())
}

/// The connection on which a server is looked at.
struct Probe {
    at: usize,
    connection: Option<PgConnection>,
}

impl Probe {
    fn new(at: usize) -> Self {
        Probe { at, connection: None }
    }

    async fn look_and_tell(&mut self, servers: &Servers) {
        match self.look(servers).await {
            Ok(sighting) => servers.meet(self.at, sighting),
            Err(reason) => servers.get(self.at).miss(reason, servers.newest()),
        }
    }

    /// An error says why the server says nothing. A connection that failed is closed; the next look opens another.
    async fn look(&mut self, servers: &Servers) -> Result<Sighting, String> {
        let deadline = Deadline::after(LIMIT);
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let options = servers.get(self.at).options.clone().application_name("freshet probe");
                let connected = deadline.limit(PgConnection::connect_with(&options)).await;
                connected.map_err(|_| silent())?.map_err(|error| error.to_string())?
            }
        };
        let query = format!(
            "SELECT i.*, (SELECT n FROM feed.mark ORDER BY n DESC LIMIT 1) FROM (SELECT {}) i",
            identity::ACTUAL
        );
        let looked = sqlx::query_as(AssertSqlSafe(query)).fetch_one(&mut connection);
        let (system_identifier, timeline, _, follows, mark): (i64, Option<i32>, bool, Option<i32>, Option<i64>) =
            deadline.limit(looked).await.map_err(|_| silent())?.map_err(|error| error.to_string())?;
        self.connection = Some(connection);
        Ok(Sighting { system_identifier, timeline, follows, mark: Position(mark.unwrap_or(0).unsigned_abs()) })
    }
}

fn silent() -> String {
    format!("it does not answer within {} s", LIMIT.as_secs())
}
