//! Connections to one server or to a cluster.
//!
//! A server that is named by `rediss://` is reached with TLS or not at all, and must show a certificate for its name that
//! [`Config::ca`] or the system vouches for. The cryptography is `ring`: `aws-lc-rs`, which rustls would take by itself, has a
//! part under a licence that deny.toml does not allow. (`tests/it/shared_cache/tls.rs`)

use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, Cmd, Pipeline, RedisFuture, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster::{ClusterClient, ClusterClientBuilder},
    cluster_async::ClusterConnection,
    io::tcp::TcpSettings,
};
use tokio::time::timeout;

use super::{Config, Error};

/// How long an attempt may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// How long a command may take that blocks.
const BLOCKED_LIMIT: Duration = Duration::from_secs(5);

/// A connection of either kind. Cheap to clone; all clones share one socket for each server.
#[derive(Clone)]
pub(super) enum Connection {
    /// To one server.
    Single(MultiplexedConnection),
    /// To all of a cluster.
    Cluster(ClusterConnection),
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Connection::Single(connection) => connection.req_packed_command(command),
            Connection::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Connection::Single(connection) => connection.req_packed_commands(pipeline, offset, count),
            Connection::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Connection::Single(connection) => connection.get_db(),
            Connection::Cluster(connection) => connection.get_db(),
        }
    }
}

/// What a connection is for.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    /// Operations that are answered at once.
    Operations,
    /// Those that wait for something to happen.
    Blocking,
}

/// Where connections lead.
pub(super) enum Target {
    Single(Box<Client>),
    /// The client for operations, and one for those that block: its time limits hold for every command.
    Cluster(Box<[ClusterClient; 2]>),
}

impl Target {
    /// The servers that `config` names.
    ///
    /// # Errors
    /// [`Error::Url`].
    pub(super) fn new(config: &Config) -> Result<Self, Error> {
        let (servers, certificates) = (config.servers()?, config.certificates()?);
        let refused = |reason: String| Error::Url { url: config.shown(), reason };
        Ok(match config.cluster {
            true => {
                let client = |limit| {
                    let cluster = ClusterClientBuilder::new(servers.clone())
                        .retries(1)
                        .connection_timeout(CONNECT_LIMIT)
                        .response_timeout(limit)
                        .tcp_settings(TcpSettings::default().set_nodelay(true));
                    let cluster = match &certificates {
                        Some(certificates) => cluster.certs(certificates.clone()),
                        None => cluster,
                    };
                    cluster.build().map_err(|error| refused(error.to_string()))
                };
                Target::Cluster(Box::new([client(config.limit)?, client(BLOCKED_LIMIT)?]))
            }
            false => {
                let server = servers.into_iter().next().ok_or_else(|| refused("it names no server".into()))?;
                let client = match certificates {
                    Some(certificates) => Client::build_with_tls(server, certificates),
                    None => Client::open(server),
                };
                Target::Single(Box::new(client.map_err(|error| refused(error.to_string()))?))
            }
        })
    }

    /// Opens a connection. A single server must also answer a ping within `limit`.
    ///
    /// # Errors
    /// What keeps it from being opened, in words.
    pub(super) async fn open(&self, purpose: Purpose, limit: Duration) -> Result<Connection, String> {
        let opened = timeout(CONNECT_LIMIT, self.try_open(purpose, limit)).await;
        opened.unwrap_or_else(|_| Err(format!("no connection within {} s", CONNECT_LIMIT.as_secs())))
    }

    async fn try_open(&self, purpose: Purpose, limit: Duration) -> Result<Connection, String> {
        let opened = match self {
            Target::Single(client) => {
                let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
                client.get_multiplexed_async_connection_with_config(&config).await.map(Connection::Single)
            }
            // One that was opened has found its members. A ping would ask them all, and one of them may be down.
            Target::Cluster(clients) => {
                let opened = clients[purpose as usize].get_async_connection().await;
                return opened.map(Connection::Cluster).map_err(|error| error.to_string());
            }
        };
        let mut connection = opened.map_err(|error| error.to_string())?;
        let ping = redis::cmd("PING");
        let answer = timeout(limit, ping.query_async::<String>(&mut connection)).await;
        answer.map_err(|_| format!("no answer within {limit:?}"))?.map_err(|error| error.to_string())?;
        Ok(connection)
    }
}
