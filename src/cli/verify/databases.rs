//! The databases behind the nodes, and which of them holds each key.

use std::{future::Future, time::Duration};

use tokio::time::timeout;

use super::{
    history::{Content, State, Truth},
    plan::Plan,
};
use crate::{
    cli::{Error, database::Target},
    record::{KeyKind, ShardId, Stamp, shard},
    store::{
        self,
        postgres::{
            rows::{Rows, Standing},
            servers,
            survey::{self, Collection},
        },
    },
};

/// What the sessions of this command are called in the database.
const PURPOSE: &str = "verify";

/// Every database, and the place of each key.
pub(super) struct Databases {
    pub(super) all: Vec<Database>,
    /// The shard of each key, and the place of its database.
    keys: Vec<(ShardId, usize)>,
}

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Database {
    /// `shop on db1:5432`.
    pub(super) place: String,
    /// Of its servers: the primary among them is asked.
    urls: Vec<String>,
    collection: String,
    /// The longest that opening a session, or reading all keys, may take.
    limit: Duration,
}

impl Databases {
    /// Reads what each target owns.
    ///
    /// # Errors
    /// [`Error::Database`] and [`Error::Store`] when one cannot be asked; [`Error::Found`] when no one owns a key.
    pub(super) async fn open(targets: Vec<Target>, plan: &Plan, kind: KeyKind) -> Result<Self, Error> {
        let (mut all, mut owned) = (Vec::new(), Vec::new());
        for target in targets {
            let mut session = servers::open_primary(target.database.urls(), PURPOSE).await?;
            let found = survey::collections(&mut session).await?;
            session.close().await;
            owned.push(found.into_iter().find(|collection| collection.name == plan.collection));
            let (urls, collection) = (target.database.urls().map(str::to_owned).collect(), plan.collection.clone());
            all.push(Database { place: target.place.to_string(), urls, collection, limit: plan.server.timeout() });
        }
        let keys = plan.keys.iter().map(|key| owner(&owned, kind, key)).collect::<Option<_>>().ok_or_else(|| {
            let places: Vec<&str> = all.iter().map(|database| &*database.place).collect();
            Error::Found(format!(
                "{} does not own every shard of {}\n  name all databases with --config, or leave them out with --no-sql",
                places.join(", "),
                plan.collection
            ))
        })?;
        Ok(Databases { all, keys })
    }

    /// The keys of database number `database`.
    pub(super) fn keys_of(&self, database: usize) -> Vec<u32> {
        (0..).zip(&self.keys).filter(|(_, (_, owner))| *owner == database).map(|(key, _)| key).collect()
    }

    pub(super) fn shard_of(&self, key: u32) -> ShardId {
        self.keys[key as usize].0
    }

    /// What stands in the databases.
    ///
    /// # Errors
    /// [`Error::Database`] and [`Error::Store`] when one cannot be asked.
    pub(super) async fn truths(&self, plan: &Plan) -> Result<Vec<Truth>, Error> {
        let mut truths = Vec::with_capacity(plan.keys.len());
        for (number, database) in self.all.iter().enumerate() {
            let keys = self.keys_of(number);
            let named: Vec<_> = keys.iter().map(|&key| (self.shard_of(key), plan.key(key))).collect();
            let standing = database.read(&named, &plan.field.name).await?;
            let at = plan.recorder.now();
            for (key, standing) in keys.into_iter().zip(standing) {
                let state = match standing {
                    None => State { stamp: Stamp::ABSENT, content: None, stale_ms: None },
                    Some(row) => {
                        let number = row.text.and_then(|text| plan.field.number(&text));
                        State { stamp: row.stamp, content: Some(Content { number, digest: None }), stale_ms: None }
                    }
                };
                truths.push(Truth { key, at, by_sql: true, state });
            }
        }
        Ok(truths)
    }
}

impl Database {
    /// A session of its own.
    ///
    /// # Errors
    /// [`Error::Database`] and [`Error::Store`] when there is none within the limit.
    pub(super) async fn rows(&self) -> Result<Rows, Error> {
        let opening = async {
            let session = servers::open_primary(self.urls.iter().map(String::as_str), PURPOSE).await?;
            Ok(Rows::of(session, &self.collection).await?)
        };
        self.within(opening).await
    }

    /// Deletes the rows `keys`.
    ///
    /// # Errors
    /// As [`Database::rows`].
    pub(super) async fn clear(&self, keys: &[String]) -> Result<(), Error> {
        let mut rows = self.rows().await?;
        self.within(async { Ok(rows.clear(keys).await?) }).await?;
        rows.close().await;
        Ok(())
    }

    async fn read(&self, keys: &[(ShardId, &str)], column: &str) -> Result<Vec<Option<Standing>>, Error> {
        let mut rows = self.rows().await?;
        let standing = self.within(async { Ok(rows.read(keys, column).await?) }).await?;
        rows.close().await;
        Ok(standing)
    }

    async fn within<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        timeout(self.limit, work).await.unwrap_or(Err(Error::Store(store::Error::Deadline)))
    }
}

fn owner(owned: &[Option<Collection>], kind: KeyKind, key: &str) -> Option<(ShardId, usize)> {
    owned.iter().enumerate().find_map(|(place, collection)| {
        let shards = &collection.as_ref()?.shards;
        let shard = shard::shard_of(kind, key, u32::try_from(shards.len()).ok()?)?;
        shards.get(shard as usize)?.is_owned().then_some((ShardId(shard), place))
    })
}
