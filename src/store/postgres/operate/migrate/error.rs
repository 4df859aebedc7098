//! Why a database could not be set up.

use sqlx::{migrate::MigrateError, postgres::PgDatabaseError};

use crate::store::{
    self,
    postgres::{placement, servers, session},
};

/// Why a database was not brought to this release's schema. What a failed step did is undone.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] session::Error),
    /// None of the database's servers is the primary.
    #[error(transparent)]
    Primary(servers::Error),
    /// The folder of migrations cannot be read.
    #[error("read the migrations in {folder}: {reason}")]
    Folder {
        /// The folder.
        folder: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The server is a standby, or every transaction in it is read-only.
    #[error("change the database: {reason}")]
    ReadOnly {
        /// How it is read-only.
        reason: String,
    },
    /// Migrations ran here that are not among those at hand.
    #[error("migrate the database: it has migrations that are not at hand: {migrations}")]
    Newer {
        /// Number and description of each.
        migrations: String,
    },
    /// A migration was changed after it ran.
    #[error("migrate the database: {migrations} ran here with another text")]
    Modified {
        /// Number and description of each.
        migrations: String,
    },
    /// A migration was begun and not finished.
    #[error("migrate the database: migration {version:04} was begun here and not finished")]
    Dirty {
        /// Its number.
        version: i64,
    },
    /// There is no role that could be given rights.
    #[error("grant the rights of a node: there is no role {role:?} on this server")]
    NoRole {
        /// The role.
        role: String,
    },
    /// The database was set up with another number of shards.
    #[error("place {wanted} shards: this database has {settled}, fixed when it was first set up")]
    Modulus {
        /// The number the database has.
        settled: u32,
        /// The number that was asked for.
        wanted: u32,
    },
    /// Another run has held the database's lock for too long.
    #[error("lock the database for migrations: another `freshet migrate` has held it for {seconds} s")]
    Busy {
        /// How long it was waited for.
        seconds: u64,
    },
    /// The database took the connection, and does not answer.
    #[error("read the state of the database: no answer within {seconds} s")]
    Silent {
        /// How long it was waited for.
        seconds: u64,
    },
    /// The role may not do it.
    #[error("{step} as {role}: {reason}")]
    Rights {
        /// What was being done.
        step: String,
        /// Who tried.
        role: String,
        /// What the server said.
        reason: String,
    },
    /// Somebody else holds a table.
    #[error("{step}: a table it needs is held by another transaction")]
    Held {
        /// What was being done.
        step: String,
    },
    /// The server refused a step.
    #[error("{step}: {reason}")]
    Refused {
        /// What was being done.
        step: String,
        /// What the server said, with its own advice.
        reason: String,
    },
    /// The connection was lost on the way.
    #[error("{step}: the connection was lost: {reason}")]
    Lost {
        /// What was being done.
        step: String,
        /// What the connection said.
        reason: String,
    },
}

impl From<servers::Error> for Error {
    fn from(error: servers::Error) -> Self {
        match error {
            servers::Error::Connect(error) => Error::Connect(error),
            error => Error::Primary(error),
        }
    }
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Error::Connect(error) => error.hint().into(),
            Error::Primary(error) => error.hint().into(),
            Error::Folder { .. } => "files are named NUMBER_name.sql; see migrations/ of the release".into(),
            Error::ReadOnly { .. } => "name the primary, where changes are allowed, with --database-url".into(),
            Error::Newer { .. } => {
                "name the folder that has them with --folder, or run the release that made them".into()
            }
            Error::Modified { .. } => {
                "put the file back as it was when it ran, and write a new migration for what shall change".into()
            }
            Error::Dirty { version } => format!(
                "undo by hand what it did, DELETE FROM _sqlx_migrations WHERE version = {version}, and run this again"
            ),
            Error::NoRole { role } => format!(
                "name it as pg_roles has it, capitals and all; to make it: CREATE ROLE \"{}\" LOGIN PASSWORD '...'",
                role.replace('"', "\"\"")
            ),
            Error::Modulus { settled, .. } => {
                format!("set shards = {settled} at the top of the configuration, or name another database")
            }
            Error::Rights { .. } => {
                "run it as the database's owner: it needs CREATE on the database and owns the tables that it partitions or grants rights on"
                    .into()
            }
            Error::Busy { .. } => {
                "wait for its end, or look for its session in pg_stat_activity: its application_name is freshet migrate"
                    .into()
            }
            Error::Silent { .. } => "look at the network and at locks on the tables of the schema feed".into(),
            Error::Held { .. } => "`freshet doctor` names the longest transaction; end it and run this again".into(),
            Error::Refused { .. } => "nothing of this step was kept: correct it and run this again".into(),
            Error::Lost { .. } => "run this again: it continues where it ended".into(),
        }
    }

    /// Whether the same command may succeed later without being changed.
    pub fn is_retryable(&self) -> bool {
        let is_away = |error: &session::Error| matches!(error, session::Error::Unreachable { .. });
        match self {
            Error::Connect(error) => is_away(error),
            Error::Primary(error) => error.is_retryable(),
            Error::Busy { .. } | Error::Silent { .. } | Error::Held { .. } | Error::Lost { .. } => true,
            _ => false,
        }
    }

    /// What a failed statement of `step`, run as `role`, means.
    ///
    /// # Source
    /// PostgreSQL, appendix A: 42501 is insufficient_privilege, 55P03 lock_not_available, 25006 read_only.
    pub(super) fn statement(step: &str, role: &str, error: &sqlx::Error) -> Self {
        let step = step.to_owned();
        let Some(refusal) = error.as_database_error().and_then(|e| e.try_downcast_ref::<PgDatabaseError>()) else {
            return Error::Lost { step, reason: error.to_string() };
        };
        let reason = refusal.message().to_owned();
        match refusal.code() {
            "42501" => Error::Rights { step, role: role.to_owned(), reason },
            "55P03" => Error::Held { step },
            "25006" => Error::ReadOnly { reason },
            _ => Error::Refused { step, reason: advised(refusal) },
        }
    }

    /// What sqlx says about a run of migrations.
    pub(super) fn run(role: &str, error: &MigrateError) -> Self {
        match error {
            MigrateError::Execute(error) => Error::statement("run the migrations", role, error),
            MigrateError::ExecuteMigration(error, version) => {
                Error::statement(&format!("run migration {version:04}"), role, error)
            }
            MigrateError::Dirty(version) => Error::Dirty { version: *version },
            MigrateError::VersionMissing(version) => Error::Newer { migrations: format!("{version:04}") },
            MigrateError::VersionMismatch(version) => Error::Modified { migrations: format!("{version:04}") },
            other => Error::Refused { step: "run the migrations".into(), reason: other.to_string() },
        }
    }
}

fn advised(refusal: &PgDatabaseError) -> String {
    let more = [refusal.detail(), refusal.hint()].into_iter().flatten();
    more.fold(refusal.message().to_owned(), |text, more| format!("{text}\n  {more}"))
}

/// Why nothing was changed in any database.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// Some do not answer or cannot be migrated, by their places among all.
    #[error("look at every database")]
    Databases(Vec<(usize, Error)>),
    /// Two entries name the same database.
    #[error("tell {one} from {other}: both name the same database")]
    One {
        /// One entry.
        one: String,
        /// The other.
        other: String,
    },
    /// Shards cannot be placed.
    #[error(transparent)]
    Placement(#[from] placement::Error),
}

impl From<Refused> for store::Error {
    fn from(refused: Refused) -> Self {
        match &refused {
            Refused::Databases(failed) if let Some((_, error)) = failed.first() => error.clone().into(),
            Refused::Placement(error) => store::Error::broken(format!("{error}; {}", error.hint())),
            other => store::Error::broken(other.to_string()),
        }
    }
}

impl From<Error> for store::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Connect(session::Error::Unreachable { .. }) => {
                store::Error::Unavailable { reason: error.to_string() }
            }
            other => store::Error::broken(format!("{other}; {}", other.hint())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_time_may_heal_is_retryable() {
        let held = Error::Held { step: "a".into() };
        let lost = Error::Lost { step: "a".into(), reason: "b".into() };
        let busy = Error::Busy { seconds: 1 };
        assert!([held, lost, busy, Error::Silent { seconds: 1 }].iter().all(Error::is_retryable));
        let modulus = Error::Modulus { settled: 64, wanted: 32 };
        assert!(!modulus.is_retryable() && !Error::Dirty { version: 1 }.is_retryable());
        assert!(modulus.hint().contains("shards = 64"));
    }
}
