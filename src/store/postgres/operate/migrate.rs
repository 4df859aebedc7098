//! Sets a database up: migrations, then the partitions it shall own.
//!
//! Promises: nothing is changed unless everything that can be checked beforehand is sound; each migration and each
//! collection's partitions are one transaction; a second run changes nothing.

mod error;
mod history;

use std::{ops::RangeInclusive, path::Path};

use sqlx::PgConnection;

use self::history::{Migrations, has_table};
pub use self::{error::Error, history::History};
use crate::store::{
    self,
    postgres::{failure, session::Session},
};

/// What a migration changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Migrations that ran now, by version and description.
    pub applied: Vec<String>,
    /// Partitions created, by collection.
    pub created: Vec<(String, i64)>,
}

/// Which partitions a database shall have.
#[derive(Clone, Debug)]
pub struct Placement {
    /// The number of logical shards, fixed at the first set-up.
    pub modulus: u32,
    /// The shards placed here.
    pub shards: RangeInclusive<u32>,
}

/// What `migrate` would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Migrations to run, by version and description.
    pub pending: Vec<String>,
    /// Migrations that ran already.
    pub applied: usize,
    /// Each partitioned collection tracked by now, with the shards whose partition is to be created.
    pub missing: Vec<(String, Vec<u32>)>,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_done(&self) -> bool {
        self.pending.is_empty() && self.missing.iter().all(|(_, shards)| shards.is_empty())
    }
}

/// Brings the database at `url` to this release's schema and creates the partitions that are missing.
/// `folder` holds the user's own migrations in place of the shipped ones.
///
/// # Errors
/// [`Error`]; what ran before the step that failed stays.
pub async fn migrate(url: &str, folder: Option<&Path>, placement: &Placement) -> Result<Report, Error> {
    let mut run = Run::begin(url, folder, placement).await?;
    let history = run.check().await?;
    // The connection is this run's own and closed in the end: a failed migration leaves its advisory lock on it.
    let ran = run.migrations.migrator().run_direct(None, &mut run.session.connection, false).await;
    ran.map_err(|error| Error::run(&run.role, &error))?;
    let mut report = Report { applied: history.pending, created: Vec::new() };
    for wanted in run.collections().await? {
        let created = run.create_shards(&wanted).await?;
        report.created.push((wanted.collection, created));
    }
    run.session.close().await;
    Ok(report)
}

/// What [`migrate`] would do to the database at `url`. Changes nothing.
///
/// # Errors
/// As [`migrate`].
pub async fn plan(url: &str, folder: Option<&Path>, placement: &Placement) -> Result<Plan, Error> {
    let mut run = Run::begin(url, folder, placement).await?;
    let history = run.check().await?;
    let collections = run.collections().await?;
    run.session.close().await;
    let missing = collections.into_iter().map(|wanted| (wanted.collection, unsigned(&wanted.missing))).collect();
    Ok(Plan { pending: history.pending, applied: history.applied, missing })
}

/// How the shipped migrations compare with those that ran; `None` when this role may not read which ran.
///
/// # Errors
/// [`store::Error::Unavailable`] when the connection is lost.
pub async fn history(session: &mut Session) -> Result<Option<History>, store::Error> {
    match History::read(&mut session.connection, &Migrations::Shipped).await {
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

/// One run on one database.
struct Run<'a> {
    session: Session,
    migrations: Migrations,
    placement: &'a Placement,
    role: String,
}

/// The shards a collection shall have here.
#[derive(sqlx::FromRow)]
struct Wanted {
    collection: String,
    /// Those that are here or may be: a shard that left comes back only by a move.
    allowed: Vec<i32>,
    /// Those of them that have no partition.
    missing: Vec<i32>,
}

impl<'a> Run<'a> {
    async fn begin(url: &str, folder: Option<&Path>, placement: &'a Placement) -> Result<Self, Error> {
        let migrations = Migrations::read(folder).await?;
        let session = Session::open(url, "migrate").await?;
        let mut run = Run { session, migrations, placement, role: String::new() };
        run.role = run.ask("SELECT current_user::text").await?;
        Ok(run)
    }

    /// Refuses what would fail later, before anything is changed.
    async fn check(&mut self) -> Result<History, Error> {
        if self.ask("SELECT pg_is_in_recovery()").await? {
            return Err(Error::ReadOnly { reason: "this server is a standby".into() });
        }
        let read = History::read(self.connection(), &Migrations::Shipped).await;
        let shipped = read.map_err(|error| self.failed("read which migrations ran", &error))?;
        if shipped.is_newer {
            return Err(Error::Newer { migrations: shipped.unknown.join(", ") });
        }
        let history = match &self.migrations {
            Migrations::Shipped => shipped,
            own => History::read(&mut self.session.connection, own)
                .await
                .map_err(|error| Error::statement("read which migrations ran", &self.role, &error))?,
        };
        history.check()?;
        match self.settled_modulus().await? {
            Some(settled) if settled != self.placement.modulus => {
                Err(Error::Modulus { settled, wanted: self.placement.modulus })
            }
            _ => Ok(history),
        }
    }

    async fn settled_modulus(&mut self) -> Result<Option<u32>, Error> {
        if !self.has_feed().await? {
            return Ok(None);
        }
        let settled: Option<i32> = self.ask("SELECT modulus FROM feed.meta").await?;
        Ok(settled.map(i32::unsigned_abs))
    }

    /// Every partitioned collection with the shards wanted of it; none before the feed's tables stand.
    async fn collections(&mut self) -> Result<Vec<Wanted>, Error> {
        if !self.has_feed().await? {
            return Ok(Vec::new());
        }
        let query = sqlx::query_as(
            "WITH here AS MATERIALIZED (SELECT collection, shard FROM feed.shard_table)
             SELECT c.name AS collection,
                    coalesce(array_agg(w.shard ORDER BY w.shard) FILTER (
                        WHERE h.shard IS NOT NULL OR coalesce(s.state, 'active') = 'active'), '{}') AS allowed,
                    coalesce(array_agg(w.shard ORDER BY w.shard) FILTER (
                        WHERE h.shard IS NULL AND coalesce(s.state, 'active') = 'active'), '{}') AS missing
               FROM feed.collection c
               JOIN pg_class p ON p.oid = c.relation AND p.relkind = 'p'
              CROSS JOIN unnest($1::integer[]) w (shard)
               LEFT JOIN here h ON h.collection = c.name AND h.shard = w.shard
               LEFT JOIN feed.shard_state s ON s.shard = w.shard
              GROUP BY c.name ORDER BY c.name",
        );
        let shards: Vec<i32> = self.placement.shards.clone().map(u32::cast_signed).collect();
        let found = query.bind(shards).fetch_all(self.connection()).await;
        found.map_err(|error| self.failed("read which shards are here", &error))
    }

    /// Creates what is missing, and arms the rest again.
    async fn create_shards(&mut self, wanted: &Wanted) -> Result<i64, Error> {
        let query = sqlx::query_scalar("SELECT freshet.create_shards($1, $2, $3)::bigint").bind(&wanted.collection);
        let query = query.bind(self.placement.modulus.cast_signed()).bind(&wanted.allowed);
        let created = query.fetch_one(self.connection()).await;
        created.map_err(|error| self.failed(&format!("create the shards of {}", wanted.collection), &error))
    }

    async fn has_feed(&mut self) -> Result<bool, Error> {
        let found = has_table(self.connection(), "feed.shard_table").await;
        found.map_err(|error| self.failed("read the catalogues", &error))
    }

    async fn ask<T>(&mut self, sql: &'static str) -> Result<T, Error>
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    {
        let answer = sqlx::query_scalar(sql).fetch_one(self.connection()).await;
        answer.map_err(|error| self.failed("read the state of the database", &error))
    }

    fn connection(&mut self) -> &mut PgConnection {
        &mut self.session.connection
    }

    fn failed(&self, step: &str, error: &sqlx::Error) -> Error {
        Error::statement(step, &self.role, error)
    }
}

fn unsigned(shards: &[i32]) -> Vec<u32> {
    shards.iter().map(|shard| shard.unsigned_abs()).collect()
}
