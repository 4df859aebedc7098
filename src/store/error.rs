//! What can go wrong between the service and its store.

use crate::record::{PatchError, ShardId, Stamp};

/// Why the store did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Time ran out before an answer; a write did not happen.
    #[error("the deadline passed before the store answered")]
    Deadline,
    /// The database cannot be reached or refuses connections.
    #[error("the store is unavailable: {reason}")]
    Unavailable {
        /// What the connection said.
        reason: String,
    },
    /// No reachable database owns the shard.
    #[error("{shard} is owned by no reachable database")]
    NotOwned {
        /// The shard.
        shard: ShardId,
    },
    /// More than one database says that it owns the shard.
    #[error("{shard} is owned by more than one database")]
    Disputed {
        /// The shard.
        shard: ShardId,
    },
    /// A database did not do its part of what needs several.
    #[error("database \"{database}\"")]
    InDatabase {
        /// Its name in the configuration.
        database: String,
        /// What went wrong there.
        source: Box<Error>,
    },
    /// Too many writes are waiting already.
    #[error("too many writes are waiting")]
    Overloaded,
    /// `if_stamp` does not name the record's current state.
    #[error("the record is at {current}")]
    Conflict {
        /// The stamp it has; [`Stamp::ABSENT`] or a tombstone's when the record does not exist.
        current: Stamp,
    },
    /// The value breaks a rule of the table.
    #[error("{message}")]
    InvalidValue {
        /// What the database or the schema said.
        message: String,
        /// The column at fault, where it is known.
        column: Option<String>,
        /// The constraint that was violated, where there is one.
        constraint: Option<String>,
    },
    /// An idempotency key came back with a different request.
    #[error("this idempotency key was used for a different write of this record")]
    TokenReused,
    /// The connection was lost while committing: the write may or may not have happened.
    #[error("the connection was lost while committing; the write may or may not have happened")]
    OutcomeUnknown,
    /// The role that the node logs in with lacks a right.
    #[error("failed to {what}; as the database's owner, run `freshet migrate --grant {role}`")]
    Forbidden {
        /// What was being done, and what the database said.
        what: String,
        /// The role, as far as it is known.
        role: String,
    },
    /// The database did something that its set-up rules out.
    #[error("failed to {what}")]
    Broken {
        /// What was being done.
        what: String,
    },
}

impl Error {
    /// Whether the same request may succeed later without being changed.
    pub fn is_retryable(&self) -> bool {
        if let Error::InDatabase { source, .. } = self {
            return source.is_retryable();
        }
        let is_owned_badly = matches!(self, Error::NotOwned { .. } | Error::Disputed { .. });
        is_owned_badly || matches!(self, Error::Deadline | Error::Unavailable { .. } | Error::Overloaded)
    }

    /// Nothing is begun any more.
    pub fn shutting_down() -> Self {
        Error::Unavailable { reason: "the node is shutting down".into() }
    }

    /// What an old primary answers is of no use.
    pub fn primary_changed() -> Self {
        Error::Unavailable { reason: "another server is the primary now".into() }
    }

    /// The error of one of several databases.
    pub fn in_database(self, name: &str) -> Self {
        Error::InDatabase { database: name.to_owned(), source: Box::new(self) }
    }

    /// A broken promise of the database.
    pub fn broken(what: impl Into<String>) -> Self {
        Error::Broken { what: what.into() }
    }

    /// An [`Error::InvalidValue`] about `column`.
    pub fn invalid(column: impl Into<String>, message: impl Into<String>) -> Self {
        Error::InvalidValue { message: message.into(), column: Some(column.into()), constraint: None }
    }
}

impl From<PatchError> for Error {
    fn from(error: PatchError) -> Self {
        let message = error.to_string();
        match error {
            PatchError::NotANumber { column } | PatchError::OutOfRange { column } => Error::invalid(column, message),
            PatchError::NotAnObject => Error::broken(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_time_may_heal_is_retryable() {
        let unavailable = Error::Unavailable { reason: String::new() };
        for yes in [
            Error::Deadline,
            Error::Overloaded,
            unavailable,
            Error::NotOwned { shard: ShardId(1) },
            Error::Disputed { shard: ShardId(1) },
        ] {
            assert!(yes.is_retryable() && yes.clone().in_database("a").is_retryable(), "{yes}");
        }
        let conflict = Error::Conflict { current: Stamp::ABSENT };
        let forbidden = Error::Forbidden { what: "x".into(), role: "freshet".into() };
        for no in [
            forbidden,
            Error::OutcomeUnknown,
            Error::TokenReused,
            conflict,
            Error::invalid("a", "b"),
            Error::broken("x"),
        ] {
            assert!(!no.is_retryable() && !no.clone().in_database("a").is_retryable(), "{no}");
        }
    }
}
