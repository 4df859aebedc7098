//! What ran in a database, beside what there is to run.

use std::{collections::BTreeMap, sync::LazyLock};

use sqlx::{
    PgConnection, Row as _,
    migrate::{Migration, Migrator},
};

use super::{Error, Source};

/// The migrations of this release, `migrations/` as it was built.
static RELEASE: LazyLock<Migrator> = LazyLock::new(|| tolerant(sqlx::migrate!("./migrations").iter()));
/// The demo's, which releases up to 0.1 ran everywhere.
static DEMO: Migrator = sqlx::migrate!("./demo/migrations");
/// What the demo's databases run.
static RELEASE_AND_DEMO: LazyLock<Migrator> = LazyLock::new(|| tolerant(RELEASE.iter().chain(DEMO.iter())));
/// From this number on, migrations are the user's own.
const OWN_MIN: i64 = 1_000;

/// The schema of `feed` that this release reads and writes, `feed.meta.schema_version`.
const SCHEMA_VERSION: i32 = 1;

/// Migrations to run: the shipped ones or a folder's.
pub(super) enum Migrations {
    /// Those of this release.
    Release,
    /// Those, and the demo's.
    Demo,
    /// A folder's.
    Own(Migrator),
}

impl Migrations {
    /// Reads the folder, where that is the source.
    pub(super) async fn read(source: Source<'_>) -> Result<Self, Error> {
        let folder = match source {
            Source::Release => return Ok(Migrations::Release),
            Source::Demo => return Ok(Migrations::Demo),
            Source::Folder(folder) => folder,
        };
        let failed = |reason: String| Error::Folder { folder: folder.display().to_string(), reason };
        let migrator = Migrator::new(folder).await.map_err(|error| failed(error.to_string()))?;
        if migrator.iter().next().is_none() {
            return Err(failed("there are none".into()));
        }
        Ok(Migrations::Own(tolerant(migrator.iter())))
    }

    pub(super) fn migrator(&self) -> &Migrator {
        match self {
            Migrations::Release => &RELEASE,
            Migrations::Demo => &RELEASE_AND_DEMO,
            Migrations::Own(migrator) => migrator,
        }
    }

    /// Whether one that ran need not be at hand. The release does without the user's own; a folder has them all.
    fn may_lack(&self, version: i64) -> bool {
        version >= OWN_MIN && !matches!(self, Migrations::Own(_))
    }
}

/// sqlx's own look at what ran would refuse what [`History::check`] lets pass.
fn tolerant<'a>(migrations: impl Iterator<Item = &'a Migration>) -> Migrator {
    let mut migrator = Migrator::with_migrations(migrations.cloned().collect());
    migrator.set_ignore_missing(true);
    migrator
}

fn is_of_the_demo(version: i64, checksum: &[u8]) -> bool {
    DEMO.iter().any(|known| known.version == version && known.checksum[..] == *checksum)
}

/// How the migrations that ran compare with those at hand. Each is named by number and description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// How many ran here.
    pub applied: usize,
    /// Those at hand that did not run.
    pub pending: Vec<String>,
    /// Their numbers.
    pub pending_versions: Vec<i64>,
    /// Those that ran and are not at hand: a newer release's, or the user's own.
    pub unknown: Vec<String>,
    /// Those of them that a run cannot do without.
    pub not_at_hand: Vec<String>,
    /// Those that ran with another text.
    pub modified: Vec<String>,
    /// One that was begun and not finished.
    pub dirty: Option<i64>,
    /// Whether the feed's schema is above the one that this release knows.
    pub is_newer: bool,
}

struct Applied {
    description: String,
    success: bool,
    checksum: Vec<u8>,
}

impl History {
    pub(super) async fn read(connection: &mut PgConnection, migrations: &Migrations) -> Result<Self, sqlx::Error> {
        let applied = applied(connection).await?;
        let known: BTreeMap<i64, _> = migrations.migrator().iter().map(|m| (m.version, m)).collect();
        let name = |version: i64, description: &str| format!("{version:04} {description}");
        let mut history = History { applied: applied.len(), ..History::default() };
        for (&version, applied) in &applied {
            match known.get(&version) {
                _ if !applied.success => history.dirty = history.dirty.or(Some(version)),
                None if is_of_the_demo(version, &applied.checksum) => {}
                None => {
                    history.unknown.push(name(version, &applied.description));
                    if !migrations.may_lack(version) {
                        history.not_at_hand.push(name(version, &applied.description));
                    }
                }
                Some(known) if known.checksum[..] != applied.checksum[..] => {
                    history.modified.push(name(version, &known.description));
                }
                Some(_) => {}
            }
        }
        for pending in known.values().filter(|known| !applied.contains_key(&known.version)) {
            history.pending.push(name(pending.version, &pending.description));
            history.pending_versions.push(pending.version);
        }
        history.is_newer = schema_version(connection).await? > SCHEMA_VERSION;
        Ok(history)
    }

    /// Refuses what no run of migrations can go on from.
    pub(super) fn check(&self) -> Result<(), Error> {
        match () {
            () if self.dirty.is_some() => Err(Error::Dirty { version: self.dirty.unwrap_or_default() }),
            () if !self.not_at_hand.is_empty() => Err(Error::Newer { migrations: self.not_at_hand.join(", ") }),
            () if !self.modified.is_empty() => Err(Error::Modified { migrations: self.modified.join(", ") }),
            () => Ok(()),
        }
    }
}

async fn applied(connection: &mut PgConnection) -> Result<BTreeMap<i64, Applied>, sqlx::Error> {
    if !has_table(connection, "_sqlx_migrations").await? {
        return Ok(BTreeMap::new());
    }
    let rows = sqlx::query("SELECT version, description, success, checksum FROM _sqlx_migrations ORDER BY version")
        .fetch_all(connection)
        .await?;
    let applied = |row: &sqlx::postgres::PgRow| {
        let (description, success, checksum) = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
        Ok((row.try_get(0)?, Applied { description, success, checksum }))
    };
    rows.iter().map(applied).collect()
}

async fn schema_version(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    if !has_table(connection, "feed.meta").await? {
        return Ok(0);
    }
    sqlx::query_scalar("SELECT schema_version FROM feed.meta").fetch_one(connection).await
}

/// Whether there is a table of that name on the search path.
pub(super) async fn has_table(connection: &mut PgConnection, name: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL").bind(name).fetch_one(connection).await
}
