//! Whether the server and its settings are fit.

use super::finding::Finding;
use crate::{
    cli::figures::{counted, lasting},
    store::postgres::inspect::{Server, Transaction},
};

/// The oldest PostgreSQL that the migrations run on.
const VERSION_MIN: i32 = 140_000;
/// How long a transaction may be open before it is worth a look.
const TRANSACTION_SECONDS_MAX: f64 = 60.0;

/// Version and settings.
pub(super) fn of_server(server: &Server) -> Vec<Finding> {
    vec![
        of_version(server),
        match server.is_standby {
            false if !server.is_read_only => Finding::ok("primary", "takes writes"),
            false => Finding::fail("primary", "transactions are read-only", "set default_transaction_read_only = off"),
            true => Finding::fail("primary", "this server is a standby", "name the primary with --database-url"),
        },
        match &*server.encoding {
            "UTF8" => Finding::ok("encoding", "UTF8"),
            other => {
                Finding::fail("encoding", other, "keys are routed by their UTF-8 bytes: create a database in UTF8")
            }
        },
        of_capture(server),
        of_log(server),
        of_commits(server),
        match &*server.autovacuum {
            "on" => Finding::ok("autovacuum", "on"),
            _ => Finding::warn("autovacuum", "off", "set autovacuum = on: the outbox grows without it"),
        },
        of_standbys(server),
    ]
}

fn of_version(server: &Server) -> Finding {
    let version = format!("PostgreSQL {}", server.version);
    match server.version_number >= VERSION_MIN {
        true => Finding::ok("version", version),
        false => Finding::fail("version", version, "PostgreSQL 14 or newer is needed"),
    }
}

fn of_capture(server: &Server) -> Finding {
    match &*server.replication_role {
        "origin" | "local" => Finding::ok("capture", "triggers fire in sessions like this one"),
        role => Finding::fail(
            "capture",
            format!(
                "session_replication_role is {role} for {}: triggers do not fire, writes are not captured",
                server.role
            ),
            "ALTER ROLE, ALTER DATABASE or postgresql.conf: reset session_replication_role",
        ),
    }
}

fn of_log(server: &Server) -> Finding {
    let is_off = |setting: &str| setting == "off";
    match (is_off(&server.fsync), is_off(&server.full_page_writes)) {
        (false, false) => Finding::ok("durability", "fsync and full_page_writes are on"),
        (true, _) => {
            Finding::warn("durability", "fsync is off: a crash of the machine loses or ruins data", "set fsync = on")
        }
        (_, true) => {
            let detail = "full_page_writes is off: a crash of the machine may ruin data";
            Finding::warn("durability", detail, "set full_page_writes = on")
        }
    }
}

fn of_commits(server: &Server) -> Finding {
    let mut unsafe_for = server.unsafe_commits.clone();
    if unsafe_for.is_empty() && server.synchronous_commit == "off" {
        unsafe_for.push("every session like this one".into());
    }
    match unsafe_for.is_empty() {
        true => Finding::ok("commits", format!("synchronous_commit is {}", server.synchronous_commit)),
        false => Finding::warn(
            "commits",
            format!("synchronous_commit is off for {}: a crash loses what was acknowledged", unsafe_for.join(", ")),
            "writes of records are raised to local; set it to on for all of them to be safe",
        ),
    }
}

fn of_standbys(server: &Server) -> Finding {
    match (server.standbys, server.standbys_synchronous) {
        (0, _) => Finding::ok("standbys", "none connected"),
        (all, 0) => Finding::warn(
            "standbys",
            format!(
                "{}, none synchronous: a promotion loses the commits that it has not received, though they were acknowledged",
                counted(all as usize, "standby server")
            ),
            "set synchronous_standby_names if none may be lost; commits then wait for a standby",
        ),
        (all, synchronous) => Finding::ok("standbys", format!("{all}, of which {synchronous} synchronous")),
    }
}

/// The longest one; `sees_all` says whether others' could be seen.
pub(super) fn of_transaction(longest: Option<&Transaction>, sees_all: bool) -> Finding {
    let check = "transactions";
    match longest {
        Some(open) if open.age_seconds > TRANSACTION_SECONDS_MAX => Finding::warn(
            check,
            format!("open for {}, {}: {}", lasting(open.age_seconds), open.state, open.owner),
            "end it: vacuum and pruning wait for it, and its writes are not seen before it commits",
        ),
        None if !sees_all => Finding::warn(
            check,
            "only those of this role can be seen",
            "GRANT pg_read_all_stats to the role, or ask as a superuser",
        ),
        Some(open) => Finding::ok(check, format!("the longest is open for {}", lasting(open.age_seconds))),
        None => Finding::ok(check, "none open"),
    }
}
