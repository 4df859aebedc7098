//! What a failure of PostgreSQL means to the service. The only reader of SQLSTATE codes.

use sqlx::postgres::PgDatabaseError;

use crate::store::Error;

/// What somebody else holds (`lock_not_available`).
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// The disk under a table is full (`disk_full`); others may take more.
const DISK_FULL: &str = "53100";

/// Translates a failed statement.
///
/// # Source
/// PostgreSQL, appendix A, "PostgreSQL Error Codes".
pub fn error(error: sqlx::Error) -> Error {
    match error {
        sqlx::Error::Database(refusal) => match refusal.try_downcast::<PgDatabaseError>() {
            Ok(refusal) => refused(&refusal),
            Err(other) => Error::broken(other.to_string()),
        },
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::RowNotFound => {
            Error::broken(format!("read the database's answer: {error}"))
        }
        other => Error::Unavailable { reason: other.to_string() },
    }
}

/// Translates a failed attempt to connect: whatever the server says then, it cannot be used.
pub fn connecting(error: sqlx::Error) -> Error {
    Error::Unavailable { reason: error.to_string() }
}

/// Whether the statement lost its table: a partition that moved away, or a schema that changed under its plan.
pub fn is_stale_schema(error: &sqlx::Error) -> bool {
    // undefined_table, undefined_column, and "cached plan must not change result type".
    code(error).is_some_and(|code| matches!(code.as_str(), "42P01" | "42703" | "0A000"))
}

/// Whether the role may not do it (`insufficient_privilege`).
pub fn is_forbidden(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| code == "42501")
}

/// Whether the statement waited in vain for a row or a relation that somebody else holds.
pub fn is_held(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| code == LOCK_NOT_AVAILABLE)
}

/// Whether the statement ran into `statement_timeout`, or was cancelled (`query_canceled`).
pub fn is_timeout(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| code == "57014")
}

/// Whether an idempotency key was written down that stands already.
pub fn is_repeated_token(error: &sqlx::Error) -> bool {
    let constraint = error.as_database_error().and_then(|refusal| refusal.constraint());
    constraint == Some("idempotency_pkey")
}

/// Whether a replica cancelled the statement, or its session, since it was in the way of what the primary has done.
///
/// # Source
/// PostgreSQL, "Hot Standby", Handling Query Conflicts: `ProcessRecoveryConflictInterrupt` in `postgres.c` reports them as
/// serialization_failure, deadlock_detected, or admin_shutdown and database_dropped for the session.
pub fn is_conflict(error: &sqlx::Error) -> bool {
    let is_of_recovery = |error: &dyn sqlx::error::DatabaseError| error.message().contains("conflict with recovery");
    is_transient(error) || error.as_database_error().is_some_and(is_of_recovery)
}

/// Whether the same transaction may succeed when it is run again: serialization_failure, deadlock_detected.
pub fn is_transient(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| matches!(code.as_str(), "40001" | "40P01"))
}

/// Whether the database refused the statement, for what it looked at or for a full disk, and the connection is sound.
pub fn is_refusal(error: &sqlx::Error) -> bool {
    let is_of_connection = |code: &str| code != DISK_FULL && is_outage(code);
    matches!(error, sqlx::Error::Database(_)) && !code(error).as_deref().is_some_and(is_of_connection)
}

fn code(error: &sqlx::Error) -> Option<String> {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).map(std::borrow::Cow::into_owned)
}

/// Connection exceptions, insufficient resources, operator intervention (but a cancelled query), system errors.
fn is_outage(code: &str) -> bool {
    matches!(&code[..2], "08" | "53" | "58") || (code.starts_with("57") && code != "57014")
}

fn refused(refusal: &PgDatabaseError) -> Error {
    let code = refusal.code();
    match code {
        "57014" | LOCK_NOT_AVAILABLE => return Error::Deadline,
        "25006" => return Error::Unavailable { reason: "the database is read-only".into() },
        _ if is_outage(code) => return Error::Unavailable { reason: refusal.message().to_owned() },
        _ => {}
    }
    // Data exceptions, integrity violations, and what the table's own triggers raise.
    if matches!(&code[..2], "22" | "23" | "44") || code == "P0001" {
        return Error::InvalidValue {
            message: refusal.message().to_owned(),
            column: refusal.column().map(str::to_owned),
            constraint: refusal.constraint().map(str::to_owned),
        };
    }
    let what = format!("run a statement: {} ({code})", refusal.message());
    match code {
        "42501" => Error::Forbidden { what, role: "ROLE".into() },
        _ => Error::broken(what),
    }
}
