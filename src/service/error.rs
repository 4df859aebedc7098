//! Why an operation failed, and how the wire says so. The only place where its errors become JSON-RPC.

use std::time::Duration;

use crate::{
    protocol::{Code, RpcError},
    record::{KeyError, patch::ValueError},
    store,
};

/// When a client should come back after an outage.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Why an operation failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No such collection is tracked.
    #[error("there is no collection {name:?}; there {}", known_phrase(known))]
    UnknownCollection {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The key cannot be one of the collection's.
    #[error(transparent)]
    InvalidKey(#[from] KeyError),
    /// The value is no JSON object.
    #[error("a record's value is a JSON object")]
    NotAnObject,
    /// More than the configuration allows.
    #[error("{what}: {len} is more than the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large it is.
        len: usize,
        /// How large it may be.
        limit: usize,
    },
    /// The answer would be larger than answers may be.
    #[error("the answer would be larger than {limit} bytes; ask for fewer records at once")]
    AnswerTooLarge {
        /// How large it may be, in bytes.
        limit: usize,
    },
    /// Answers that clients have not taken yet hold as much memory as this node gives to them.
    #[error("answers to clients that do not read them take too much memory; ask for fewer records at once, or later")]
    AnswersOverloaded,
    /// Keys that are no text begin with nothing.
    #[error("a prefix needs keys that are text; the collection's keys are {key_type}")]
    BadPrefix {
        /// The key column's type.
        key_type: &'static str,
    },
    /// A cursor that no page of this list ended with.
    #[error("the cursor is none of this list; send it as the page before has it, with the same collection and prefix")]
    BadCursor,
    /// As many lists as may are under way and waiting.
    #[error("too many lists are under way on this node; ask again")]
    ListsOverloaded,
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl From<ValueError> for Error {
    fn from(error: ValueError) -> Self {
        let message = error.to_string();
        match error {
            ValueError::Twice { column } => Error::Store(store::Error::invalid(column, message)),
            _ => Error::NotAnObject,
        }
    }
}

fn known_phrase(known: &[String]) -> String {
    match known {
        [] => "are none: track a table with freshet.track('...') and restart".into(),
        [one] => format!("is {one:?}"),
        many => format!("are {many:?}"),
    }
}

impl From<Error> for RpcError {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::UnknownCollection { .. } => RpcError::new(Code::UnknownCollection, message),
            Error::InvalidKey(_) => RpcError::new(Code::InvalidKey, message),
            Error::NotAnObject => RpcError::new(Code::InvalidValue, message),
            Error::TooLarge { .. } => RpcError::new(Code::TooLarge, message),
            Error::AnswerTooLarge { .. } => RpcError::new(Code::TooLarge, message).because("answer"),
            Error::BadPrefix { .. } => RpcError::invalid_params(message).because("prefix"),
            Error::BadCursor => RpcError::invalid_params(message).because("cursor"),
            Error::AnswersOverloaded | Error::ListsOverloaded => {
                RpcError::new(Code::Overloaded, message).retry_after(RETRY_AFTER)
            }
            Error::Store(error) => from_store(error, message),
        }
    }
}

fn from_store(error: store::Error, message: String) -> RpcError {
    match error {
        store::Error::Deadline => RpcError::new(Code::Deadline, message),
        store::Error::Unavailable { reason } => {
            tracing::debug!(%reason, "answered unavailable");
            RpcError::new(Code::Unavailable, "the store is unavailable").retry_after(RETRY_AFTER)
        }
        store::Error::NotOwned { shard } | store::Error::Disputed { shard } => {
            RpcError::new(Code::Unavailable, message).with("shard", shard.0).retry_after(RETRY_AFTER)
        }
        store::Error::InDatabase { database, source } => {
            let message = match &*source {
                store::Error::Unavailable { .. } => {
                    format!("database {database:?} is unavailable, and a list needs all of them")
                }
                store::Error::Deadline => format!("database {database:?} did not answer the list in time"),
                other => format!("database {database:?}: {other}"),
            };
            let is_away = matches!(*source, store::Error::Unavailable { .. });
            let mut refused = from_store(*source, message.clone());
            if is_away {
                refused.message = message;
            }
            refused.with("database", database)
        }
        store::Error::Overloaded => RpcError::new(Code::Overloaded, message).retry_after(RETRY_AFTER),
        store::Error::Conflict { current } => {
            RpcError::new(Code::VersionConflict, message).with("stamp", current.to_string())
        }
        store::Error::InvalidValue { column, constraint, .. } => {
            let mut refused = RpcError::new(Code::InvalidValue, message);
            if let Some(column) = column {
                refused = refused.with("column", column);
            }
            if let Some(constraint) = constraint {
                refused = refused.with("constraint", constraint);
            }
            refused
        }
        store::Error::TokenReused => RpcError::invalid_params(message).because("idempotency_key_reused"),
        store::Error::OutcomeUnknown => RpcError::new(Code::OutcomeUnknown, message),
        // The log says more (`failures.rs`).
        store::Error::Forbidden { .. } | store::Error::Broken { .. } => {
            RpcError::new(Code::Internal, "internal error; the server's log says more")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{ShardId, Stamp};

    #[test]
    fn every_store_error_has_its_code() {
        for (error, code) in [
            (store::Error::Deadline, -32011),
            (store::Error::Unavailable { reason: "x".into() }, -32010),
            (store::Error::NotOwned { shard: ShardId(3) }, -32010),
            (store::Error::Overloaded, -32009),
            (store::Error::Conflict { current: Stamp::new(1, 2) }, -32006),
            (store::Error::invalid("a", "b"), -32005),
            (store::Error::TokenReused, -32602),
            (store::Error::OutcomeUnknown, -32012),
            (store::Error::broken("x"), -32603),
        ] {
            assert_eq!(RpcError::from(Error::from(error)).code.number(), code);
        }
    }

    #[test]
    fn addresses_of_the_store_stay_inside() {
        let unavailable = store::Error::Unavailable { reason: "connect to 10.0.0.7: refused".into() };
        assert!(!RpcError::from(Error::from(unavailable)).message.contains("10.0.0.7"));
    }
}
