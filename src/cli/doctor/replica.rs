//! Whether a replica may answer reads, and could replace the primary.

use super::{connections::Share, examine::LIMIT, finding::Finding};
use crate::{
    cli::{
        database::Target,
        figures::{grouped, lasting, size},
    },
    store::{
        self,
        postgres::{
            inspect::{self, Conflicts},
            servers::{Following, Replica, Trouble},
            session::Session,
        },
    },
};

/// A delay shorter than this cancels reads that are in the way of a vacuum, however short they are.
const DELAY_MS_MIN: i64 = 1_000;

/// What was found on a replica, and what nodes open there.
pub(super) struct Examined {
    pub(super) findings: Vec<Finding>,
    pub(super) share: Option<Share>,
}

/// Looks at a replica that the configuration names.
pub(super) async fn examine(target: &Target, replica: Replica) -> Examined {
    let Replica { place, state } = replica;
    let about = format!("replica {place}");
    let (findings, share) = match state {
        Err(trouble) => (vec![of_trouble(&trouble)], None),
        Ok((session, following)) => {
            let mut findings = vec![of_stream(&following), of_lag(&following, target)];
            let asked = tokio::time::timeout(LIMIT, ask(session)).await;
            let share = match asked.unwrap_or(Err(store::Error::Deadline)) {
                Ok((server, conflicts)) => {
                    findings.push(of_conflicts(&conflicts));
                    Some(Share::of_replica(target, &server, place))
                }
                Err(error) => {
                    findings.push(Finding::warn("reach", error.to_string(), "look at the server's log"));
                    None
                }
            };
            (findings, share)
        }
    };
    Examined { findings: findings.into_iter().map(|finding| finding.about(&about)).collect(), share }
}

async fn ask(mut session: Session) -> Result<(inspect::Server, Conflicts), store::Error> {
    let server = inspect::server(&mut session).await?;
    let conflicts = inspect::conflicts(&mut session).await?;
    session.close().await;
    Ok((server, conflicts))
}

fn of_trouble(trouble: &Trouble) -> Finding {
    let detail = trouble.to_string();
    match trouble {
        Trouble::Away(_) => Finding::warn(
            "reach",
            format!("{detail}; nodes read from the other servers"),
            "start it, or take it out of replicas",
        ),
        Trouble::OtherCluster => {
            Finding::fail("cluster", detail, "nodes ask it nothing: name a standby that was copied from the primary")
        }
        Trouble::OldPrimary => Finding::fail(
            "cluster",
            detail,
            "stop it: what others write there is lost; copy it from the primary anew, or run pg_rewind",
        ),
    }
}

fn of_stream(following: &Following) -> Finding {
    let check = "follows";
    match (following.is_paused, following.is_streaming) {
        (true, _) => {
            Finding::warn(check, "its replay is paused: it shows no new changes", "SELECT pg_wal_replay_resume()")
        }
        (false, true) => Finding::ok(check, "the primary's cluster, and streams"),
        (false, false) => Finding::warn(
            check,
            "it does not stream from another server: what the primary commits does not reach it",
            "see its log; check primary_conninfo, pg_hba.conf of the primary, and that the log it needs is still there",
        ),
    }
}

fn of_lag(following: &Following, target: &Target) -> Finding {
    let check = "lag";
    let max = target.database.replica_lag_max.as_secs_f64();
    let bytes = size(following.lag_bytes.unsigned_abs());
    match following.lag_seconds {
        _ if following.lag_bytes == 0 => Finding::ok(check, "none: it shows every commit"),
        Some(seconds) if seconds <= max => Finding::ok(check, format!("{}, {bytes}", lasting(seconds))),
        Some(seconds) => Finding::warn(
            check,
            format!("{}, {bytes}: nodes ask it nothing beyond {}", lasting(seconds), lasting(max)),
            "find what holds it up: a long query on it, a full disk, a slow link; or raise replica_lag_max",
        ),
        None => {
            Finding::warn(check, format!("{bytes}, and it has applied no commit since it was started"), "see its log")
        }
    }
}

/// Nodes' reads take milliseconds, so they are cancelled only where the server does not wait for them.
///
/// # Source
/// PostgreSQL, "Hot Standby", Handling Query Conflicts.
fn of_conflicts(conflicts: &Conflicts) -> Finding {
    let check = "conflicts";
    let feedback = if conflicts.has_feedback { "on" } else { "off" };
    let delay = match conflicts.delay_ms {
        -1 => "without limit".to_owned(),
        millis => lasting(millis as f64 / 1e3),
    };
    let detail = format!(
        "{} statements cancelled so far; hot_standby_feedback is {feedback}, max_standby_streaming_delay {delay}",
        grouped(conflicts.cancelled.unsigned_abs())
    );
    match !conflicts.has_feedback && (0..DELAY_MS_MIN).contains(&conflicts.delay_ms) {
        false => Finding::ok(check, detail),
        true => Finding::warn(
            check,
            format!("{detail}: each vacuum of the primary cancels reads, which nodes repeat on the primary"),
            "set max_standby_streaming_delay = 5s or more on it, or hot_standby_feedback = on",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        cli::doctor::finding::Verdict::{Fail, Ok as Sound, Warn},
        store::postgres::{
            Config,
            session::{self, Place},
        },
    };

    fn following(lag_bytes: i64, lag_seconds: Option<f64>) -> Following {
        Following { lag_bytes, lag_seconds, is_streaming: true, is_paused: false }
    }

    #[test]
    fn a_lag_counts_from_where_nodes_ask_a_replica_nothing() {
        let database = Config { replica_lag_max: Duration::from_secs(5), ..Config::at("postgres://h/d") };
        let place = Place::of(&database.url).expect("a url");
        let target = Target { database, name: "d".into(), place, shards: 64, initial: None };
        let verdict = |bytes, seconds| of_lag(&following(bytes, seconds), &target).verdict;
        assert_eq!(
            [verdict(0, None), verdict(9, Some(4.9)), verdict(9, Some(5.1)), verdict(9, None)],
            [Sound, Sound, Warn, Warn]
        );
    }

    #[test]
    fn only_settings_that_cancel_short_reads_are_warned_of() {
        let verdict =
            |has_feedback, delay_ms| of_conflicts(&Conflicts { has_feedback, delay_ms, cancelled: 3 }).verdict;
        assert_eq!([verdict(false, 0), verdict(true, 0)], [Warn, Sound]);
        assert_eq!([verdict(false, 30_000), verdict(false, -1)], [Sound, Sound]);
    }

    #[test]
    fn what_is_no_replica_is_a_failure_and_one_that_is_away_is_none() {
        assert_eq!(of_trouble(&Trouble::OldPrimary).verdict, Fail);
        assert_eq!(of_trouble(&Trouble::OtherCluster).verdict, Fail);
        let away = session::Error::NoDatabase { place: "d on h:1".into() };
        assert_eq!(of_trouble(&Trouble::Away(away)).verdict, Warn);
        assert_eq!(of_stream(&Following { is_streaming: false, ..following(0, None) }).verdict, Warn);
    }
}
