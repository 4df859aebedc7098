//! How databases come to be served: those that answer when the node starts, and the others when they do.
//!
//! A database that describes its collections otherwise than most is not served, nor is one that another entry of the
//! configuration names as well. Each says why, in the log when that is news and to every probe, and is tried again.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::time::sleep;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    agreement,
    database::{Database, Described, Identity},
    describe::Table,
    owners::Owners,
};
use crate::{
    record::Catalogue,
    resilience::{Backoff, Deadline},
    shutdown::Tasks,
    store::Error,
};

/// How long an attempt to open a database may take that was away, and the pause before the next.
const LIMIT: Duration = Duration::from_secs(10);
/// How long each of several databases may take at the start to say what it has.
const DESCRIBE_LIMIT: Duration = Duration::from_secs(5);
const PAUSE: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(5));

/// What a database that joins must agree with, and where it takes its place. Cheap to clone.
#[derive(Clone)]
pub(super) struct Joining {
    /// Which databases have been let in.
    admitted: Arc<Mutex<Admitted>>,
    /// How most of them described their collections when the node started.
    reference: Arc<[Table]>,
    pub(super) catalogue: Catalogue,
    pub(super) owners: Arc<Owners>,
    pub(super) tasks: TaskTracker,
    pub(super) core: Tasks,
}

type Admitted = HashMap<Identity, Arc<Database>>;

/// Databases that have answered.
pub(super) type Found<'a> = Vec<(&'a Arc<Database>, Described)>;

impl Joining {
    /// Looks at all `databases`, side by side.
    ///
    /// # Errors
    /// When none answers, what the first of them said; [`Error::Broken`] when two of them are one.
    pub(super) async fn begin(
        databases: &Arc<[Arc<Database>]>,
        deadline: Deadline,
    ) -> Result<(Self, Found<'_>), Error> {
        // One that says nothing must not use up the time in which the others are opened.
        let limit = if databases.len() == 1 { deadline } else { deadline.at_most(DESCRIBE_LIMIT) };
        let described = join_all(databases.iter().map(|database| database.describe(limit))).await;
        let (mut found, mut away) = (Found::new(), Vec::new());
        for (database, described) in databases.iter().zip(described) {
            match described {
                Ok(described) => found.push((database, described)),
                Err(error) => away.push((database, error)),
            }
        }
        for (at, (database, described)) in found.iter().enumerate() {
            if let Some((twin, _)) = found[..at].iter().find(|(_, other)| other.identity == described.identity) {
                return Err(are_one(twin, database));
            }
        }
        let descriptions: Vec<_> = found.iter().map(|(_, described)| &*described.tables).collect();
        let Some(reference) = descriptions.get(agreement::reference(&descriptions)) else {
            let first = away.into_iter().next().map(|(_, error)| error);
            return Err(first.unwrap_or_else(|| Error::broken("find a database in the configuration")));
        };
        for (database, error) in away {
            database.set_trouble(error.to_string());
        }
        let joining = Joining {
            admitted: Arc::default(),
            catalogue: Catalogue::new(reference.iter().map(|table| table.collection.clone())),
            reference: Arc::from(*reference),
            owners: Arc::new(Owners::new(databases.len())),
            tasks: TaskTracker::new(),
            core: Tasks::new(),
        };
        Ok((joining, found))
    }

    /// Opens a database, unless it may not join; says whether it is open.
    pub(super) async fn join(&self, database: &Arc<Database>, described: Described, deadline: Deadline) -> bool {
        let joined = async {
            self.check(database, &described)?;
            database.open(described, &self.catalogue, &self.owners, (&self.core, &self.tasks), deadline).await
        };
        joined.await.map_err(|error: Error| database.set_trouble(error.to_string())).is_ok()
    }

    fn check(&self, database: &Arc<Database>, described: &Described) -> Result<(), Error> {
        if let Some(reason) = agreement::difference(&self.reference, &described.tables) {
            return Err(Error::Unavailable { reason });
        }
        let mut admitted = self.admitted.lock();
        let first = admitted.entry(described.identity).or_insert_with(|| database.clone());
        if Arc::ptr_eq(first, database) { Ok(()) } else { Err(are_one(first, database)) }
    }

    /// Tries to open a database until that is done.
    pub(super) async fn wait_for(self, database: Arc<Database>, stop: CancellationToken) {
        let mut backoff = PAUSE;
        while stop.run_until_cancelled(sleep(backoff.next_wait())).await.is_some() {
            let deadline = Deadline::after(LIMIT);
            let is_open = async {
                match database.describe(deadline).await {
                    Ok(described) => self.join(&database, described, deadline).await,
                    Err(error) => {
                        database.set_trouble(error.to_string());
                        false
                    }
                }
            };
            match stop.run_until_cancelled(is_open).await {
                Some(false) => {}
                Some(true) => {
                    tracing::info!(database = database.name(), "the database is served");
                    // A task that ends is taken for one that failed.
                    return stop.cancelled().await;
                }
                None => return,
            }
        }
    }
}

/// Two entries that name one database: each would own its shards.
fn are_one(one: &Database, other: &Database) -> Error {
    let (one, other) = (one.name(), other.name());
    Error::broken(format!("tell [[database]] {one} from {other}: both name the same; remove one"))
}
