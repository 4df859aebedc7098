//! Whether the server answers, asked on a connection of its own.
//!
//! Promises: no pool and no user's table is needed for an answer, so neither busy nor locked ones make a node look dead.
//! One probe is under way at a time, whoever asks meanwhile shares it, and the connection is opened only when there is none
//! or when it was lost.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt as _, future::Shared as SharedFuture};
use parking_lot::Mutex;
use sqlx::{Connection as _, PgConnection};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::{
    resilience::Deadline,
    store::{
        Error,
        postgres::{Shared, failure, replication::Connected},
    },
};

/// How long a probe may take.
const LIMIT: Duration = Duration::from_secs(1);

type Answer = Result<String, Error>;
type Asked = SharedFuture<oneshot::Receiver<Answer>>;

/// Asks the server whether it is there. Cheap to clone.
#[derive(Clone)]
pub struct Health {
    shared: Arc<Shared>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The probe under way.
    asked: Option<Asked>,
    /// Of the last probe, if it ended well.
    connection: Option<Connected>,
    is_closed: bool,
}

impl Health {
    /// Nothing is asked and no connection opened yet.
    pub fn new(shared: Arc<Shared>) -> Self {
        Health { shared, state: Arc::default() }
    }

    /// Says which server answers.
    ///
    /// # Errors
    /// [`Error::Deadline`], [`Error::Unavailable`].
    ///
    /// # Cancel safety
    /// Dropping the future drops this caller only.
    pub async fn check(&self, tasks: &TaskTracker, deadline: Deadline) -> Answer {
        let asked = self.ask(tasks);
        deadline.limit(asked).await.map_err(|_| Error::Deadline)?.unwrap_or_else(|_| Err(Error::shutting_down()))
    }

    /// Joins the probe under way, or begins one.
    fn ask(&self, tasks: &TaskTracker) -> Asked {
        let mut state = self.state.lock();
        // One whose task has panicked is over.
        if let Some(asked) = state.asked.as_ref().filter(|asked| asked.peek().is_none()) {
            return asked.clone();
        }
        let (answer, answered) = oneshot::channel();
        let asked = answered.shared();
        if state.is_closed {
            return asked;
        }
        state.asked = Some(asked.clone());
        let (health, connection) = (self.clone(), state.connection.take());
        tasks.spawn(async move {
            let probed = health.probe(connection).await;
            drop(answer.send(health.end(probed)));
        });
        asked
    }

    /// Ends a probe: from now on another one may begin.
    fn end(&self, probed: Result<(String, Connected), Error>) -> Answer {
        let mut state = self.state.lock();
        state.asked = None;
        probed.map(|(version, connection)| {
            state.connection = Some(connection).filter(|_| !state.is_closed);
            format!("PostgreSQL {version}")
        })
    }

    /// Asks on `connection`, or on a new one where that was lost since.
    async fn probe(&self, connection: Option<Connected>) -> Result<(String, Connected), Error> {
        let deadline = Deadline::after(LIMIT);
        let servers = &self.shared.servers;
        if let Some(mut connected) = connection.filter(|connected| servers.is_current(connected.term)) {
            match deadline.limit(version(&mut connected.connection)).await {
                Ok(Ok(version)) => return Ok((version, connected)),
                Ok(Err(error)) => tracing::debug!(%error, "the connection of readiness probes was lost"),
                Err(_) => return Err(Error::Deadline),
            }
        }
        let mut connected = self.shared.connect("readiness", deadline).await?;
        let version = deadline.limit(version(&mut connected.connection)).await.map_err(|_| Error::Deadline)?;
        Ok((version.map_err(failure::error)?, connected))
    }

    /// Closes the connection, unless a probe uses it; the next probe opens another.
    pub fn forget_idle(&self) {
        let connection = self.state.lock().connection.take();
        drop(connection);
    }

    /// Closes the connection, waiting up to `deadline`; later probes fail.
    pub async fn close(&self, deadline: Deadline) {
        let connection = {
            let mut state = self.state.lock();
            state.is_closed = true;
            state.connection.take()
        };
        if let Some(Connected { connection, .. }) = connection {
            drop(deadline.limit(connection.close()).await);
        }
    }
}

async fn version(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
    sqlx::query_scalar("SELECT current_setting('server_version')").fetch_one(connection).await
}
