//! Whether Redis can be used, is set up well, and is kept current.
//!
//! Without it the databases answer: what is away, full or slow is worth a look, and only what can never work is a failure.

use std::time::Duration;

use futures_util::future::join_all;

use super::{examine, finding::Finding};
use crate::{
    cli::{
        database::Target,
        figures::{lasting, latency, size},
    },
    record::{Lineage, Position},
    shared::{
        Chain, Config, Error, Slice,
        inspect::{CLUSTER_RULE, Inspection, RULE, Rights, Server},
    },
};

/// The oldest Redis whose scripts can run where memory is full.
const MAJOR_MIN: u32 = 7;
/// The time between two marks.
const MARK_SECONDS: f64 = 0.05;
/// A chain further behind is not read by nodes any more, at the default of `tiers.window`.
const BEHIND_SECONDS_MAX: f64 = 60.0;
/// Which policies drop what is least used.
const GOOD_POLICIES: [&str; 2] = ["allkeys-lru", "allkeys-lfu"];

/// What was found.
pub(super) struct Examined {
    /// Of its servers, and of what the user may do.
    pub(super) servers: Vec<Finding>,
    /// Of each database that could be asked.
    pub(super) chains: Vec<Finding>,
}

/// Looks at every server that the configuration names, then at what the databases have there.
pub(super) async fn examine(config: &Config, targets: &[Target], examined: &[examine::Examined]) -> Examined {
    let each = config.urls.iter().map(|url| Config { urls: vec![url.clone()], cluster: false, ..config.clone() });
    let found = join_all(each.map(async |alone| of_place(config, &alone).await)).await;
    let mut servers: Vec<Finding> = found.into_iter().flatten().collect();
    let can_be_used = servers.iter().all(|finding| finding.check != "cluster" || finding.hint.is_none());
    let mut chains = Vec::new();
    if can_be_used {
        match Inspection::open(config).await {
            Ok(mut inspection) => {
                servers.push(asked(inspection.rights().await, |rights| of_rights(&rights, config)));
                for (target, found) in targets.iter().zip(examined) {
                    if let Some(position) = found.position {
                        chains.push(of_database(&mut inspection, config, target, position).await);
                    }
                }
            }
            // A single server was told to be away above.
            Err(error) if config.cluster => servers.push(of_away(&error)),
            Err(_) => {}
        }
    }
    Examined { servers, chains }
}

/// One server; where there are several, each finding says which.
async fn of_place(config: &Config, alone: &Config) -> Vec<Finding> {
    let found = match Inspection::open(alone).await {
        Err(error) => vec![of_away(&error)],
        Ok(mut inspection) => {
            let reach = of_reach(&alone.shown(), inspection.answered_in, config.limit);
            let mut findings = vec![reach];
            match inspection.server().await {
                Ok(Some(server)) => findings.extend(of_server(&server, config.cluster)),
                Ok(None) => findings.push(Finding::ok("version", "not known: the user may not run INFO")),
                Err(error) => findings.push(of_away(&error)),
            }
            findings
        }
    };
    let place = alone.shown();
    let named = |finding: Finding| match config.urls.len() > 1 && !finding.detail.starts_with(&place) {
        true => Finding { detail: format!("{place}: {}", finding.detail), ..finding },
        false => finding,
    };
    found.into_iter().map(named).collect()
}

fn asked<T>(answer: Result<T, Error>, judge: impl FnOnce(T) -> Finding) -> Finding {
    answer.map_or_else(|error| of_away(&error), judge)
}

fn of_away(error: &Error) -> Finding {
    Finding::warn(
        "reach",
        format!("{error}; nodes read from the databases in its place"),
        "start it, or look at urls, user, password and ca of [redis] and at the network",
    )
}

fn of_reach(place: &str, answered_in: Duration, limit: Duration) -> Finding {
    let took = latency(answered_in.as_secs_f64() * 1e3);
    let limit_shown = latency(limit.as_secs_f64() * 1e3);
    match answered_in < limit {
        true => Finding::ok("reach", format!("{place} answers in {took}; it is given up after {limit_shown}")),
        false => Finding::warn(
            "reach",
            format!("{place} took {took} to answer from here, and nodes give it up after {limit_shown}"),
            "bring it nearer to the nodes, or raise redis.limit",
        ),
    }
}

fn of_server(server: &Server, is_cluster_expected: bool) -> Vec<Finding> {
    vec![
        of_version(server),
        of_mode(server, is_cluster_expected),
        of_memory(server),
        of_policy(server),
        match server.is_logged {
            false => Finding::ok("persistence", "appendonly is off: nothing in it need outlive it"),
            true => Finding::warn(
                "persistence",
                "appendonly is on: each change is written to disk, for data that the databases have",
                "CONFIG SET appendonly no",
            ),
        },
    ]
}

fn of_version(server: &Server) -> Finding {
    let version = format!("{} {}", server.product, server.version);
    let major: u32 = server.version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or_default();
    match major >= MAJOR_MIN {
        true => Finding::ok("version", version),
        false => Finding::fail("version", version, format!("Redis {MAJOR_MIN} or newer is needed, or Valkey")),
    }
}

fn of_mode(server: &Server, is_cluster_expected: bool) -> Finding {
    let check = "cluster";
    match (server.is_cluster, is_cluster_expected) {
        (true, true) => Finding::ok(check, "a member of a cluster, as configured"),
        (false, false) if server.is_replica => Finding::fail(
            check,
            "it is a replica, and takes no writes",
            "name the primary in redis.urls; nodes ask one server only",
        ),
        (false, false) => Finding::ok(check, "a server by itself, as configured"),
        (true, false) => Finding::fail(check, "it is a member of a cluster", "set cluster = true in [redis]"),
        (false, true) => Finding::fail(check, "it is a member of no cluster", "leave cluster out of [redis]"),
    }
}

fn of_memory(server: &Server) -> Finding {
    let check = "memory";
    let used = size(server.used);
    match server.used_max {
        0 => Finding::warn(
            check,
            format!("{used} in use, and maxmemory is not set: it takes what the machine has"),
            "CONFIG SET maxmemory 4gb, or what can be spared",
        ),
        max => Finding::ok(check, format!("{used} of {} in use", size(max))),
    }
}

/// Nodes check each slot that they read, so whatever is evicted is only read anew.
fn of_policy(server: &Server) -> Finding {
    let check = "eviction";
    let policy = &server.policy;
    match &**policy {
        good if GOOD_POLICIES.contains(&good) => Finding::ok(check, policy),
        "noeviction" if server.used_max > 0 => Finding::warn(
            check,
            "noeviction: once memory is full, nothing new is kept",
            "CONFIG SET maxmemory-policy allkeys-lru, or allkeys-lfu",
        ),
        _ => Finding::ok(check, format!("{policy}; allkeys-lru and allkeys-lfu keep what is read most")),
    }
}

fn of_rights(rights: &Rights, config: &Config) -> Finding {
    let check = "rights";
    let user = rights.user.as_deref().or(config.user.as_deref()).unwrap_or("the user");
    let more = if config.cluster { format!(" {CLUSTER_RULE}") } else { String::new() };
    let rule = format!("ACL SETUSER freshet on >PASSWORD {RULE}{more}");
    match (&rights.missing[..], &rights.refused, rights.excess) {
        // Nodes do without it.
        ([] | ["info"], None, None) => Finding::ok(check, format!("{user} may do what a node does")),
        ([] | ["info"], None, Some(excess)) => {
            Finding::warn(check, format!("{user} may do more than a node needs: {excess}"), rule)
        }
        ([] | ["info"], Some(refused), _) => {
            Finding::warn(check, format!("what {user} may do is refused: {refused}"), "look at the server's log")
        }
        (missing, ..) => Finding::fail(check, format!("{user} may not run {}", missing.join(", ")), rule),
    }
}

async fn of_database(
    inspection: &mut Inspection,
    config: &Config,
    target: &Target,
    (lineage, newest): (Lineage, Position),
) -> Finding {
    let mut chains = Vec::new();
    for slice in Slice::all(&target.database.name, lineage, config.slices()) {
        match inspection.chain(&slice).await {
            Ok(chain) => chains.push(chain),
            Err(error) => return of_away(&error),
        }
    }
    of_chains(&target.database.name, &chains, newest)
}

fn of_chains(name: &str, chains: &[Option<Chain>], newest: Position) -> Finding {
    let check = "chain";
    let kept: Vec<&Chain> = chains.iter().flatten().collect();
    let behind = kept.iter().map(|chain| newest.0.saturating_sub(chain.applied.0)).max().unwrap_or_default();
    let behind = behind as f64 * MARK_SECONDS;
    let slices = match chains.len() {
        1 => String::new(),
        all => format!(" in {} of {all} slices", kept.len()),
    };
    let hint = "is a node running with this [redis]? see its log and `redis` in /readyz?verbose";
    match kept.len() {
        0 => Finding::warn(check, format!("{name} is not kept: no node has begun to"), hint),
        some if some < chains.len() => Finding::warn(check, format!("{name} is kept{slices} only"), hint),
        _ if behind > BEHIND_SECONDS_MAX => Finding::warn(
            check,
            format!("{name} is kept{slices}, {} behind its newest mark: too old to be read", lasting(behind)),
            hint,
        ),
        _ => Finding::ok(check, format!("{name} is kept{slices}, {} behind its newest mark", lasting(behind))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::doctor::finding::Verdict::{Fail, Ok as Sound, Warn},
        shared::{Incarnation, Tail},
    };

    fn server() -> Server {
        Server {
            product: "Redis",
            version: "7.0.15".into(),
            policy: "allkeys-lru".into(),
            used_max: 1,
            ..Server::default()
        }
    }

    #[test]
    fn a_server_that_can_never_be_used_is_a_failure_and_one_that_is_set_up_badly_none() {
        let verdicts = |server: Server| of_server(&server, false).iter().map(|found| found.verdict).collect::<Vec<_>>();
        assert_eq!(verdicts(server()), [Sound; 5]);
        assert_eq!(verdicts(Server { version: "6.2.7".into(), ..server() })[0], Fail);
        assert_eq!(verdicts(Server { is_cluster: true, ..server() })[1], Fail);
        assert_eq!(verdicts(Server { is_replica: true, ..server() })[1], Fail);
        assert_eq!(verdicts(Server { used_max: 0, policy: "noeviction".into(), ..server() })[2..4], [Warn, Sound]);
        assert_eq!(verdicts(Server { policy: "noeviction".into(), ..server() })[3], Warn);
        assert_eq!(verdicts(Server { is_logged: true, ..server() })[4], Warn);
        assert_eq!(of_mode(&server(), true).verdict, Fail);
    }

    #[test]
    fn rights_that_are_missing_are_a_failure_and_those_beyond_need_a_look() {
        let rights =
            |missing: &[&'static str], excess| Rights { missing: missing.to_vec(), excess, ..Rights::default() };
        let alone = Config::at("redis://h");
        assert_eq!(of_rights(&rights(&[], None), &alone).verdict, Sound);
        assert_eq!(of_rights(&rights(&["info"], None), &alone).verdict, Sound);
        let cluster = Config { cluster: true, user: Some("node".into()), ..alone.clone() };
        let found = of_rights(&rights(&["set", "unlink"], None), &cluster);
        assert_eq!((found.verdict, &*found.detail), (Fail, "node may not run set, unlink"));
        assert!(found.hint.is_some_and(|hint| hint.ends_with("+info +cluster|slots +asking")));
        assert_eq!(of_rights(&rights(&[], Some("+@all")), &alone).verdict, Warn);
        let full = Rights { refused: Some("OOM".into()), ..Rights::default() };
        assert_eq!(of_rights(&full, &alone).verdict, Warn);
    }

    #[test]
    fn a_chain_that_stands_still_is_worth_a_look() {
        let chain = |applied| Some(Chain { incarnation: Incarnation(1), tail: Tail(2), applied: Position(applied) });
        let found = |chains: &[Option<Chain>]| {
            let found = of_chains("shop", chains, Position(2_000));
            (found.verdict, found.detail)
        };
        assert_eq!(found(&[chain(1_995)]), (Sound, "shop is kept, 0.2 s behind its newest mark".into()));
        assert_eq!(found(&[chain(100)]).0, Warn);
        assert_eq!(found(&[None]), (Warn, "shop is not kept: no node has begun to".into()));
        assert_eq!(found(&[chain(1_995), None]), (Warn, "shop is kept in 1 of 2 slices only".into()));
        assert_eq!(found(&[chain(1_995); 2]).1, "shop is kept in 2 of 2 slices, 0.2 s behind its newest mark");
    }
}
