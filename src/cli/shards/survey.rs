//! Asks every database for its shards, side by side.

use std::time::Duration;

use futures_util::future::join_all;
use serde::Serialize;
use tokio::time::timeout;

use crate::{
    cli::{Error, database::Target},
    client::error::explained,
    store::{
        self,
        postgres::{
            servers,
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
    pub(super) collections: Vec<Collection>,
}

/// Asks all `targets`; `is_exact` counts rows.
pub(super) async fn all(targets: &[Target], is_exact: bool) -> Vec<(Survey, Option<Error>)> {
    join_all(targets.iter().map(async |target| {
        let (collections, error) = match ask(target, is_exact).await {
            Ok(collections) => (collections, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let survey = Survey {
            name: target.name.clone(),
            database: target.place.to_string(),
            server: target.place.server.clone(),
            initial: target.initial.clone().map(ShardRange::from),
            error: error.as_ref().map(|error| explained(error)),
            collections,
        };
        (survey, error)
    }))
    .await
}

async fn ask(target: &Target, is_exact: bool) -> Result<Vec<Collection>, Error> {
    let mut session = servers::open_primary(target.database.urls(), "shards").await?;
    let mut collections = within(LIMIT, survey::collections(&mut session)).await?;
    if is_exact {
        let shards = collections.iter_mut().flat_map(|collection| &mut collection.shards);
        for (partition, rows) in shards.filter_map(|shard| Some((shard.partition.clone()?, &mut shard.rows))) {
            *rows = Some(within(COUNT_LIMIT, survey::count(&mut session, &partition)).await?);
        }
    }
    session.close().await;
    Ok(collections)
}

async fn within<T>(limit: Duration, asked: impl Future<Output = Result<T, store::Error>>) -> Result<T, store::Error> {
    let silent = || store::Error::Unavailable { reason: format!("no answer within {} s", limit.as_secs()) };
    timeout(limit, asked).await.map_err(|_| silent())?
}
