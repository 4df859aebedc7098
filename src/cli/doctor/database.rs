//! Whether the schema, the rights, the shards and the feed of a database are fit.

use super::finding::Finding;
use crate::{
    cli::{
        database::Target,
        figures::{counted, grouped, lasting, size},
    },
    store::postgres::{
        inspect::{Feed, Health, Server},
        migrate::History,
    },
};

/// The age of the newest mark above which nobody writes them: 20 are written a second.
const MARK_SECONDS_MAX: f64 = 10.0;
/// The size of an outbox that somebody should have pruned.
const OUTBOX_BYTES_MAX: i64 = 1 << 30;
/// Marks older than so many times the retention are not pruned any more.
const RETENTIONS_MAX: f64 = 2.0;

/// Whether it is this release's; `None`: the role may not read which migrations ran.
pub(super) fn of_schema(history: Option<&History>, server: &Server) -> Finding {
    match history {
        Some(history) => of_history(history),
        None => Finding::warn(
            "schema",
            format!("{} may not read which migrations ran", server.role),
            "see the rights that it lacks, or ask as the owner",
        ),
    }
}

fn of_history(history: &History) -> Finding {
    let check = "schema";
    let migrate = "run `freshet migrate`";
    match () {
        () if history.dirty.is_some() => {
            Finding::fail(check, "a migration was begun and not finished", "run `freshet migrate`: it says what to do")
        }
        () if history.is_newer => Finding::fail(
            check,
            format!("newer than this release: it has {}", history.unknown.join(", ")),
            "run the release that migrated it, or a newer one",
        ),
        () if history.applied == 0 => Finding::fail(check, "not set up", migrate),
        () if !history.pending.is_empty() => Finding::fail(
            check,
            format!("older than this release: pending are {}", history.pending.join(", ")),
            migrate,
        ),
        () if !history.modified.is_empty() => Finding::warn(
            check,
            format!("ran with another text: {}", history.modified.join(", ")),
            "compare the migrations with those of this release",
        ),
        () if history.unknown.is_empty() => {
            Finding::ok(check, format!("{}, that of this release", counted(history.applied, "migration")))
        }
        () => Finding::ok(check, format!("that of this release, and of your own: {}", history.unknown.join(", "))),
    }
}

/// What a node run as `role` would lack, as statements that give it.
pub(super) fn of_rights(missing: &[String], role: &str) -> Finding {
    if missing.is_empty() {
        return Finding::ok("rights", format!("{role} may do what a node does"));
    }
    let first = format!("run `freshet migrate --grant {role}` as the database's owner, or these statements:");
    let statements = missing.iter().map(|statement| format!("\n{statement};"));
    Finding::fail(
        "rights",
        format!("{role} lacks rights that a node needs"),
        statements.fold(first, |all, next| all + &next),
    )
}

/// Shards, marks and outbox.
pub(super) fn of_feed(feed: &Feed, target: &Target) -> Vec<Finding> {
    vec![of_modulus(feed, target.shards), of_marks(feed), of_outbox(feed, target.database.retention.as_secs_f64())]
}

fn of_modulus(feed: &Feed, shards: u32) -> Finding {
    match feed.modulus {
        None if feed.collections == 0 => Finding::warn(
            "placement",
            "no table is tracked yet, so there is nothing to serve",
            "give `freshet migrate --folder` a migration that makes a table and calls freshet.track('TABLE')",
        ),
        None => Finding::fail("placement", "no shard was placed here", "run `freshet migrate`"),
        Some(modulus) if modulus.unsigned_abs() != shards => Finding::fail(
            "placement",
            format!("{}, where the configuration says {shards}", logical_shards(modulus)),
            format!(
                "set shards = {modulus} at the top of the configuration: the number is fixed when a database is first set up"
            ),
        ),
        Some(modulus) => Finding::ok("placement", format!("{}, as configured", logical_shards(modulus))),
    }
}

fn logical_shards(modulus: i32) -> String {
    counted(modulus.unsigned_abs() as usize, "logical shard")
}

fn of_marks(feed: &Feed) -> Finding {
    let check = "feed";
    match feed.newest_mark_seconds {
        Some(age) if age <= MARK_SECONDS_MAX => {
            let nodes = counted(feed.followers.unsigned_abs() as usize, "node");
            Finding::ok(check, format!("newest mark {} old, {nodes} connected", lasting(age)))
        }
        // The leader may lose the lead at each failure, so it counts as well that nodes follow.
        Some(age) if feed.is_led || feed.followers > 0 => Finding::fail(
            check,
            format!("nodes are running, and the database takes no marks: the newest is {} old", lasting(age)),
            "see their logs; look for a lock on feed.mark or feed.leader, and for a disk that is full or read-only",
        ),
        Some(age) => Finding::warn(
            check,
            format!("no node is running: the newest mark is {} old", lasting(age)),
            "start one with `freshet serve --config FILE`",
        ),
        None => Finding::warn(
            check,
            "no node is running, and none ever was",
            "start one with `freshet serve --config FILE`",
        ),
    }
}

fn of_outbox(feed: &Feed, retention: f64) -> Finding {
    let rows = grouped(feed.outbox_rows.unsigned_abs());
    let detail = format!("about {rows} events, {}", size(feed.outbox_bytes.unsigned_abs()));
    let oldest = feed.oldest_mark_seconds.unwrap_or(0.0);
    let is_running = feed.newest_mark_seconds.is_some_and(|age| age <= MARK_SECONDS_MAX);
    match () {
        () if is_running && oldest > retention * RETENTIONS_MAX => Finding::warn(
            "outbox",
            format!(
                "{detail}; pruning lags: the oldest mark is {} old, to keep are {}",
                lasting(oldest),
                lasting(retention)
            ),
            "see the log of the node that leads",
        ),
        () if feed.outbox_bytes > OUTBOX_BYTES_MAX => Finding::warn(
            "outbox",
            detail,
            "a running node prunes it to its retention; look for long transactions, too",
        ),
        () => Finding::ok("outbox", detail),
    }
}

/// Checks of a collection are called `products: triggers`.
pub(super) fn of_health(health: Health) -> Finding {
    let (about, check) = health.check.rsplit_once(": ").unwrap_or(("database", &health.check));
    let finding = match health.ok {
        true => Finding::ok(check, health.detail),
        false => Finding::fail(check, health.detail, health.hint.unwrap_or_default()),
    };
    finding.about(about)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Verdict;

    fn feed(newest: Option<f64>, is_led: bool, followers: i64) -> Feed {
        Feed {
            newest_mark_seconds: newest,
            oldest_mark_seconds: newest,
            is_led,
            followers,
            outbox_rows: 0,
            outbox_bytes: 0,
            collections: 1,
            modulus: Some(64),
        }
    }

    #[test]
    fn an_old_mark_means_that_no_node_runs_or_that_none_can_write() {
        assert_eq!(of_marks(&feed(Some(0.1), true, 1)).verdict, Verdict::Ok);
        for stuck in [feed(Some(60.0), true, 0), feed(Some(60.0), false, 1)] {
            assert_eq!(of_marks(&stuck).verdict, Verdict::Fail);
        }
        for silent in [feed(Some(60.0), false, 0), feed(None, false, 0)] {
            let found = of_marks(&silent);
            assert!(found.verdict == Verdict::Warn && found.detail.contains("no node is running"), "{found:?}");
        }
    }

    #[test]
    fn a_schema_of_another_release_fails_and_ones_own_migrations_do_not() {
        let history = History { applied: 5, unknown: vec!["0005 offers".into()], ..History::default() };
        assert_eq!(of_history(&history).verdict, Verdict::Ok);
        assert_eq!(of_history(&History { is_newer: true, ..history.clone() }).verdict, Verdict::Fail);
        assert_eq!(of_history(&History { pending: vec!["0005 x".into()], ..history }).verdict, Verdict::Fail);
    }

    #[test]
    fn a_check_of_a_collection_is_about_it() {
        let health = Health { check: "a: b: rows".into(), ok: true, detail: String::new(), hint: None };
        let found = of_health(health);
        assert_eq!((&*found.about, &*found.check), ("a: b", "rows"));
    }
}
