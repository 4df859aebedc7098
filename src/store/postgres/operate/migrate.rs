//! Sets the databases of a service up: migrations, then the partitions that each shall own.
//!
//! Promises: all databases are looked at first, and nothing is changed anywhere unless all of them answer and everything that
//! can be checked beforehand is sound. Of several runs at once, one works and the others wait for it, then find what it did
//! (`tests/it/placement.rs`). Each migration and each collection's partitions are one transaction; a second run changes
//! nothing. Where shards go is decided by `placement`.

mod error;
mod history;
mod run;

use std::{
    ops::RangeInclusive,
    path::Path,
    time::{Duration, Instant},
};

use futures_util::future::join_all;

pub use self::{
    error::{Error, Refused},
    history::History,
};
use self::{
    history::Migrations,
    run::{Look, Run},
};
use crate::store::{
    self,
    postgres::{
        failure,
        placement::{self, place},
        session::Session,
    },
};

/// One of the databases of a service.
#[derive(Clone, Debug)]
pub struct Database {
    /// What it is called in errors.
    pub name: String,
    /// `postgres://user:password@host:port/database` of any of its servers.
    pub url: String,
    /// Those of its other servers: the primary among all of them is migrated.
    pub replicas: Vec<String>,
    /// The shards that the configuration places there in the beginning.
    pub initial: Option<RangeInclusive<u32>>,
}

/// What a run is doing with a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Another run has locked it.
    Locked,
    /// A migration runs, named by version and description.
    Migrating(String),
    /// Partitions are created.
    Creating {
        /// So many were.
        created: usize,
        /// Of so many.
        all: usize,
    },
    /// A role is given the rights of a node.
    Granting(String),
    /// It is done.
    Done(Report),
    /// It failed.
    Failed,
}

/// What a migration changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Migrations that ran now, by version and description.
    pub applied: Vec<String>,
    /// Partitions created, by collection.
    pub created: Vec<(String, i64)>,
    /// The statements that gave roles of nodes what they lacked.
    pub granted: Vec<String>,
}

/// What a run would do to a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Migrations to run, by version and description.
    pub pending: Vec<String>,
    /// Migrations that ran already.
    pub applied: usize,
    /// Each partitioned collection tracked by now, with the shards whose partition is to be created.
    pub missing: Vec<(String, Vec<u32>)>,
    /// The statements that give roles of nodes what they lack by now.
    pub rights: Vec<String>,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_done(&self) -> bool {
        let is_complete = self.missing.iter().all(|(_, shards)| shards.is_empty());
        is_complete && self.pending.is_empty() && self.rights.is_empty()
    }
}

/// Where migrations come from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// Those of this release.
    Release,
    /// Those of this release, and the demo's collection.
    Demo,
    /// Those in a folder: the release's with the user's own after them.
    Folder(&'a Path),
}

/// What a run needs to be told.
#[derive(Clone, Copy, Debug)]
pub struct Orders<'a> {
    /// All databases of the service: where one may get a shard depends on the others.
    pub databases: &'a [Database],
    /// The number of logical shards, fixed at the first set-up.
    pub modulus: u32,
    /// What there is to run.
    pub source: Source<'a>,
    /// A role that is to get the rights of a node.
    pub grantee: Option<&'a str>,
    /// Whether shards whose database is lost are created anew, empty.
    pub rebuilds: bool,
}

/// Hears what is done with a database, by its place among all.
pub type Listener<'a> = &'a (dyn Fn(usize, Step) + Sync);

/// Brings every database to this release's schema and creates the partitions that are missing, side by side. Returns what was
/// changed in each, and how long it took.
///
/// # Errors
/// [`Refused`] when nothing was changed anywhere. [`Error`] of a database whose run failed; what ran there before the step that
/// failed stays, and the others are not held up.
pub async fn migrate(
    orders: Orders<'_>,
    listener: Listener<'_>,
) -> Result<Vec<Result<(Report, Duration), Error>>, Refused> {
    let mut runs = begin(orders).await?;
    lock(&mut runs, listener).await?;
    let (looks, placed) = look(orders, &mut runs).await?;
    let changes = runs.into_iter().zip(looks).zip(placed).enumerate().map(async |(at, ((mut run, look), shards))| {
        let began = Instant::now();
        let changed = run.change(look, &shards, |step| listener(at, step)).await;
        run.end().await;
        listener(at, changed.as_ref().map_or(Step::Failed, |report| Step::Done(report.clone())));
        changed.map(|report| (report, began.elapsed()))
    });
    Ok(join_all(changes).await)
}

/// What [`migrate`] would do to each database, and the shards that it would have. Changes nothing, and waits for no other run.
///
/// # Errors
/// [`Refused`].
pub async fn plan(orders: Orders<'_>) -> Result<Vec<(Plan, Vec<u32>)>, Refused> {
    let mut runs = begin(orders).await?;
    let (looks, placed) = look(orders, &mut runs).await?;
    let plans = runs.into_iter().zip(looks).zip(placed).map(async |((mut run, look), shards)| {
        let plan = run.plan(look, &shards).await;
        run.end().await;
        plan.map(|plan| (plan, shards))
    });
    all(join_all(plans).await)
}

/// Sets the only database of a service up from `source`, every shard in it.
///
/// # Errors
/// What kept it from that.
pub async fn migrate_only(url: &str, modulus: u32, source: Source<'_>) -> Result<(), store::Error> {
    let initial = Some(0..=modulus.saturating_sub(1));
    let only = [Database { name: "main".into(), url: url.to_owned(), replicas: Vec::new(), initial }];
    let orders = Orders { databases: &only, modulus, source, grantee: None, rebuilds: false };
    let done = migrate(orders, &|_, _| {}).await?;
    done.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(())
}

async fn begin(orders: Orders<'_>) -> Result<Vec<Run>, Refused> {
    let begun = orders.databases.iter().map(|database| Run::begin(database, orders));
    let runs = all(join_all(begun).await)?;
    for (at, run) in runs.iter().enumerate() {
        if let Some(twin) = runs[..at].iter().position(|other| other.identity == run.identity) {
            let [one, other] = [twin, at].map(|at| orders.databases[at].name.clone());
            return Err(Refused::One { one, other });
        }
    }
    Ok(runs)
}

/// Locks every database, in one order wherever a run is started and whatever its configuration calls them: two runs that locked
/// them in different orders would wait for each other.
async fn lock(runs: &mut [Run], listener: Listener<'_>) -> Result<(), Refused> {
    let mut order: Vec<_> = runs.iter_mut().enumerate().collect();
    order.sort_by_key(|(_, run)| run.identity);
    for (at, run) in order {
        run.lock(|step| listener(at, step)).await.map_err(|error| Refused::Databases(vec![(at, error)]))?;
    }
    Ok(())
}

async fn look(orders: Orders<'_>, runs: &mut [Run]) -> Result<(Vec<Look>, Vec<Vec<u32>>), Refused> {
    let looks = all(join_all(runs.iter_mut().map(Run::look)).await)?;
    let known = orders.databases.iter().zip(&looks).map(|(database, look)| placement::Database {
        name: &database.name,
        initial: database.initial.clone(),
        known: &look.known,
        has_served: look.has_served,
    });
    let placed = place(&known.collect::<Vec<_>>(), orders.rebuilds)?;
    Ok((looks, placed))
}

/// All of them, or what each of those said that failed.
fn all<T>(results: Vec<Result<T, Error>>) -> Result<Vec<T>, Refused> {
    let (mut done, mut failed) = (Vec::with_capacity(results.len()), Vec::new());
    for (at, result) in results.into_iter().enumerate() {
        match result {
            Ok(value) => done.push(value),
            Err(error) => failed.push((at, error)),
        }
    }
    if failed.is_empty() { Ok(done) } else { Err(Refused::Databases(failed)) }
}

/// How the shipped migrations compare with those that ran; `None` when this role may not read which ran.
///
/// # Errors
/// [`store::Error::Unavailable`] when the connection is lost.
pub async fn history(session: &mut Session) -> Result<Option<History>, store::Error> {
    match History::read(&mut session.connection, &Migrations::Release).await {
        Err(error) if failure::is_forbidden(&error) => Ok(None),
        read => read.map(Some).map_err(failure::error),
    }
}

/// Creates the database called `name` on the server that `url` points into, unless it is there.
///
/// # Errors
/// [`store::Error::Unavailable`], or [`store::Error::Broken`] with what PostgreSQL said.
pub async fn create_database(url: &str, name: &'static str) -> Result<(), store::Error> {
    let mut session = Session::open(url, "migrate").await.map_err(Error::from)?;
    let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
        .bind(name)
        .fetch_one(&mut session.connection)
        .await
        .map_err(failure::error)?;
    if !exists {
        let create = format!("CREATE DATABASE \"{name}\" ENCODING 'UTF8' TEMPLATE template0");
        let created = sqlx::raw_sql(sqlx::AssertSqlSafe(create)).execute(&mut session.connection).await;
        created.map_err(|error| store::Error::broken(format!("create the database {name}: {error}")))?;
    }
    session.close().await;
    Ok(())
}
