//! How connections are opened: to the primary, whichever server that is, or to one replica.

use std::{future::Future, sync::Arc};

use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

use super::Servers;
use crate::{
    resilience::Deadline,
    store::{
        Error,
        postgres::{failure, identity},
    },
};

/// Where connections lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store::postgres) enum To {
    /// The server that is the primary when a connection is opened.
    Primary,
    /// The server at this place of the configuration.
    Replica(usize),
}

/// Opens connections of one purpose. Cheap to clone.
#[derive(Clone)]
pub(in crate::store::postgres) struct Connector {
    servers: Arc<Servers>,
    to: To,
    purpose: &'static str,
    settings: Vec<(&'static str, String)>,
    is_quiet: bool,
}

/// A connection, and the term of the primary when it was opened.
pub(in crate::store::postgres) struct Connected {
    pub(in crate::store::postgres) connection: PgConnection,
    pub(in crate::store::postgres) term: u64,
}

impl Connector {
    /// Connections to the primary, named `freshet purpose` in the server's lists.
    pub(in crate::store::postgres) fn new(servers: &Arc<Servers>, to: To, purpose: &'static str) -> Self {
        Connector { servers: servers.clone(), to, purpose, settings: Vec::new(), is_quiet: false }
    }

    /// The same, with a setting of the session.
    pub(in crate::store::postgres) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.settings.push((name, value.to_string()));
        self
    }

    /// The same, for statements that hold values: they stay out of the log.
    pub(in crate::store::postgres) fn quietly(mut self) -> Self {
        self.is_quiet = true;
        self
    }

    /// Opens a connection to a primary whose history is the recorded one, or to a replica of it.
    ///
    /// # Errors
    /// [`Error::Unavailable`], also when the server is not what it should be.
    pub(in crate::store::postgres) async fn connect(&self, deadline: Deadline) -> Result<Connected, Error> {
        let opened = async {
            let Connected { mut connection, term } = self.connect_unchecked().await?;
            match self.to {
                To::Primary => self.check_primary(&mut connection, term).await?,
                To::Replica(_) => identity::check_replica(&mut connection).await?,
            }
            Ok(Connected { connection, term })
        };
        in_time(deadline, opened).await
    }

    /// Opens a connection to the server that is taken for the primary, whatever it is: for whoever records its history.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub(in crate::store::postgres) async fn connect_anyway(&self, deadline: Deadline) -> Result<Connected, Error> {
        in_time(deadline, self.connect_unchecked()).await
    }

    async fn connect_unchecked(&self) -> Result<Connected, Error> {
        let (server, term) = match self.to {
            To::Primary => self.servers.primary(),
            To::Replica(at) => (self.servers.get(at), 0),
        };
        let options = server.options.clone().application_name(&format!("freshet {}", self.purpose));
        let options = options.options(self.settings.iter().map(|(name, value)| (*name, value)));
        let options = if self.is_quiet { options.disable_statement_logging() } else { options };
        let connected = PgConnection::connect_with(&options).await;
        if self.to == To::Primary {
            self.servers.breaker.note(&connected);
            if connected.is_err() {
                self.servers.suspect();
            }
        }
        let connection = connected.map_err(failure::connecting)?;
        Ok(Connected { connection, term })
    }

    async fn check_primary(&self, connection: &mut PgConnection, term: u64) -> Result<(), Error> {
        let checked = identity::check(connection).await;
        match checked {
            Ok(history) => history.map_or(Ok(()), |history| self.servers.confirm(term, history)),
            Err(error) => {
                // A replica, perhaps of a primary that stands elsewhere in the list; or the link has broken.
                self.servers.refute();
                Err(error)
            }
        }
    }

    /// Whether a connection of that term leads where new ones do.
    pub(in crate::store::postgres) fn is_current(&self, term: u64) -> bool {
        self.to != To::Primary || self.servers.is_current(term)
    }

    /// A connection that was lent has come back after a step that ended well.
    pub(in crate::store::postgres) fn answered(&self) {
        if self.to == To::Primary {
            self.servers.breaker.answered();
        }
    }
}

async fn in_time<T>(deadline: Deadline, opened: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let silent = || Error::Unavailable { reason: "the database did not answer a connection attempt".into() };
    deadline.limit(opened).await.map_err(|_| silent())?
}
