//! Asks every database for its shards, side by side.

use std::{collections::BTreeSet, time::Duration};

use futures_util::future::join_all;
use serde::Serialize;
use tokio::time::timeout;

use super::servers::Server;
use crate::{
    cli::{Error, database::Target},
    client::error::explained,
    store::{
        self,
        postgres::{
            servers::{self, Replica, Servers},
            session,
            shard_range::ShardRange,
            survey::{self, Collection},
        },
    },
};

/// How long a database may take to say what it has, beside the attempt to connect: none holds up the others.
const LIMIT: Duration = Duration::from_secs(10);
/// How long one of its partitions may take to be counted.
const COUNT_LIMIT: Duration = Duration::from_secs(10 * 60);

/// What one database has, or why it cannot be asked.
#[derive(Serialize)]
pub(super) struct Survey {
    pub(super) name: String,
    /// `shop on db1:5432`.
    pub(super) database: String,
    #[serde(skip)]
    pub(super) server: String,
    /// The shards that the configuration places there in the beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) initial: Option<ShardRange>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    /// The primary first.
    pub(super) servers: Vec<Server>,
    pub(super) collections: Vec<Collection>,
}

/// Asks all `targets`; `is_exact` counts rows.
pub(super) async fn all(targets: &[Target], is_exact: bool) -> Vec<(Survey, Option<Error>)> {
    join_all(targets.iter().map(async |target| {
        let (servers, collections, error) = match ask(target, is_exact).await {
            Ok((servers, collections)) => (servers, collections, None),
            Err(error) => (Vec::new(), Vec::new(), Some(error)),
        };
        let server = servers.first().map_or_else(|| target.place.server.clone(), |primary| primary.server.clone());
        let survey = Survey {
            name: target.name.clone(),
            database: session::Place { database: target.place.database.clone(), server: server.clone() }.to_string(),
            server,
            servers,
            initial: target.initial.clone().map(ShardRange::from),
            error: error.as_ref().map(|error| explained(error)),
            collections,
        };
        (survey, error)
    }))
    .await
}

async fn ask(target: &Target, is_exact: bool) -> Result<(Vec<Server>, Vec<Collection>), Error> {
    let mut servers = servers::look(target.database.urls(), "shards").await?;
    let mut told = Server::all(&servers);
    let mut collections = within(LIMIT, survey::collections(&mut servers.primary.session)).await?;
    if is_exact {
        let nearest = nearest(&servers.replicas, target.database.replica_lag_max);
        for at in count(&mut servers, nearest, &mut collections).await? {
            told[at].counted = true;
        }
    }
    servers.close().await;
    Ok((told, collections))
}

/// The place of the replica that is the least behind, among those that are near enough to answer reads.
fn nearest(replicas: &[Replica], lag_max: Duration) -> Option<usize> {
    let lag = |replica: &Replica| replica.state.as_ref().ok()?.1.lag_seconds;
    let near = replicas.iter().enumerate().filter_map(|(at, replica)| Some((at, lag(replica)?)));
    let near = near.filter(|(_, seconds)| *seconds <= lag_max.as_secs_f64());
    near.min_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(at, _)| at)
}

/// Counts every partition, on a replica until that fails: it cancels what keeps it from applying changes. Returns which servers
/// counted some, 0 for the primary.
async fn count(
    servers: &mut Servers,
    mut replica: Option<usize>,
    collections: &mut [Collection],
) -> Result<BTreeSet<usize>, Error> {
    let mut counted = BTreeSet::new();
    let shards = collections.iter_mut().flat_map(|collection| &mut collection.shards);
    for (partition, rows) in shards.filter_map(|shard| Some((shard.partition.clone()?, &mut shard.rows))) {
        let session = replica.and_then(|at| servers.replicas[at].state.as_mut().ok().map(|(session, _)| (at, session)));
        if let Some((at, session)) = session {
            match within(COUNT_LIMIT, survey::count(session, &partition)).await {
                Ok(found) => {
                    *rows = Some(found);
                    counted.insert(1 + at);
                    continue;
                }
                Err(_) => replica = None,
            }
        }
        *rows = Some(within(COUNT_LIMIT, survey::count(&mut servers.primary.session, &partition)).await?);
        counted.insert(0);
    }
    Ok(counted)
}

async fn within<T>(limit: Duration, asked: impl Future<Output = Result<T, store::Error>>) -> Result<T, store::Error> {
    let silent = || store::Error::Unavailable { reason: format!("no answer within {} s", limit.as_secs()) };
    timeout(limit, asked).await.map_err(|_| silent())?
}
