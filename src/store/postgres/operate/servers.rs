//! The servers of a database as an operator's command finds them: which one is the primary, and how far replicas are behind.
//!
//! Promises: of several servers, the primary is the one that nodes would take, wherever it stands in the list. A server that
//! takes writes is refused while another one follows a newer history: its writes would be lost. Changes nothing. Leaves
//! to the command what a replica that is away means.

use std::{future::Future, time::Duration};

use futures_util::future::join_all;
use sqlx::{AssertSqlSafe, FromRow};
use tokio::time::timeout;

use crate::{
    record::Position,
    store::postgres::{
        identity,
        replication::roles::{self, Sighting},
        session::{self, Place, Session},
    },
};

/// How long a server may take to say what it is, beside the attempt to connect.
const LIMIT: Duration = Duration::from_secs(5);

/// Why no server of a database can be worked with.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The only server cannot be reached.
    #[error(transparent)]
    Connect(#[from] session::Error),
    /// None of several servers is the primary.
    #[error("find the primary: {}", listed(.servers))]
    NoPrimary {
        /// Each server, and why it is not.
        servers: Vec<(String, String)>,
    },
    /// Two of them are primaries that have nothing to do with each other.
    #[error("find the primary: {one} and {other} are primaries of different clusters")]
    TwoPrimaries {
        /// The first.
        one: String,
        /// The second.
        other: String,
    },
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Error::Connect(error) => error.hint(),
            Error::NoPrimary { .. } => {
                "start the primary, promote a replica, or add the server that was promoted to replicas"
            }
            Error::TwoPrimaries { .. } => "remove the URL of one of them from the [[database]]",
        }
    }

    /// Whether the same command may succeed later without being changed.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Error::NoPrimary { .. } | Error::Connect(session::Error::Unreachable { .. }))
    }
}

fn listed(servers: &[(String, String)]) -> String {
    servers.iter().map(|(place, why)| format!("{place}: {why}")).collect::<Vec<_>>().join("; ")
}

/// All servers of a database that has a primary.
pub struct Servers {
    /// The primary.
    pub primary: Primary,
    /// The others, in the order of the configuration.
    pub replicas: Vec<Replica>,
}

impl Servers {
    /// Says goodbye to all of them.
    pub async fn close(self) {
        let replicas = self.replicas.into_iter().filter_map(|replica| replica.state.ok()).map(|(session, _)| session);
        join_all(replicas.chain([self.primary.session]).map(Session::close)).await;
    }
}

/// The server that takes writes.
pub struct Primary {
    /// Host and port, or the folder of its socket.
    pub place: String,
    /// A session on it.
    pub session: Session,
}

/// A server that should follow the primary.
pub struct Replica {
    /// Host and port, or the folder of its socket.
    pub place: String,
    /// A session on it and how it follows, or why it does not.
    pub state: Result<(Session, Following), Trouble>,
}

/// How a replica follows the primary.
#[derive(Clone, Copy, Debug, PartialEq, FromRow)]
pub struct Following {
    /// How much of the primary's log it has not applied yet.
    pub lag_bytes: i64,
    /// How long ago the primary committed the newest transaction that it has applied; 0 when it has applied everything, and
    /// `None` when it has applied none since it was started.
    pub lag_seconds: Option<f64>,
    /// Whether it receives the log of another server.
    pub is_streaming: bool,
    /// Whether somebody has told it to stop applying changes.
    pub is_paused: bool,
}

/// Why a server is no replica of the primary.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Trouble {
    /// It cannot be asked.
    #[error("{}", why(.0))]
    Away(session::Error),
    /// It belongs to another cluster.
    #[error("it is of another cluster than the primary")]
    OtherCluster,
    /// It takes writes.
    #[error("it is an old primary that takes writes; another was promoted")]
    OldPrimary,
}

/// Asks every one of `urls`, as "freshet `purpose`". The only one of a database is taken for its primary, whatever it is.
///
/// # Errors
/// [`Error`] when none of them is the primary.
pub async fn look<'u>(urls: impl IntoIterator<Item = &'u str>, purpose: &str) -> Result<Servers, Error> {
    let urls: Vec<&str> = urls.into_iter().collect();
    if let [only] = urls[..] {
        let place = Place::of(only)?.server;
        let session = Session::open(only, purpose).await?;
        return Ok(Servers { primary: Primary { place, session }, replicas: Vec::new() });
    }
    let mut looks = join_all(urls.into_iter().map(|url| Look::at(url, purpose))).await;
    let primary = looks.remove(elect(&looks)?);
    let (session, answer) = primary.answer.expect("the primary has answered");
    let replicas = join_all(looks.into_iter().map(|look| look.into_replica(&answer))).await;
    Ok(Servers { primary: Primary { place: primary.place, session }, replicas })
}

/// A session on the primary among `urls`, as [`look`] finds it.
///
/// # Errors
/// As [`look`].
pub async fn open_primary<'u>(urls: impl IntoIterator<Item = &'u str>, purpose: &str) -> Result<Session, Error> {
    let Servers { primary, replicas } = look(urls, purpose).await?;
    join_all(replicas.into_iter().filter_map(|replica| replica.state.ok()).map(|(session, _)| session.close())).await;
    Ok(primary.session)
}

/// What was found at one URL.
struct Look {
    place: String,
    answer: Result<(Session, Answer), session::Error>,
}

/// What a server says of itself.
#[derive(Clone, Debug, FromRow)]
struct Answer {
    system_identifier: i64,
    /// Of what it writes; `None` for a standby.
    timeline: Option<i32>,
    /// The timeline whose log a standby applies.
    follows: Option<i32>,
    /// How far a primary has written.
    written: Option<String>,
    /// The time there.
    now: String,
}

impl Look {
    async fn at(url: &str, purpose: &str) -> Self {
        let place = Place::of(url).map_or_else(|_| session::without_password(url), |place| place.server);
        let answer = match Session::open(url, purpose).await {
            Ok(session) => ask(session, &place).await,
            Err(error) => Err(error),
        };
        Look { place, answer }
    }

    fn sighting(&self) -> Option<Sighting> {
        let (_, Answer { system_identifier, timeline, follows, .. }) = self.answer.as_ref().ok()?;
        let (system_identifier, timeline, follows) = (*system_identifier, *timeline, *follows);
        // Who is the primary does not depend on marks, and before the first migration there are none.
        Some(Sighting { system_identifier, timeline, follows, mark: Position(0) })
    }

    /// Why it is not the primary, where none was found.
    fn why_not(&self) -> String {
        match &self.answer {
            Err(error) => why(error),
            Ok((_, Answer { timeline: Some(_), .. })) => "it is an old primary; another was promoted".into(),
            Ok((_, Answer { follows: Some(timeline), .. })) => format!("it is a standby, on timeline {timeline}"),
            Ok(_) => "it is a standby".into(),
        }
    }

    async fn into_replica(self, primary: &Answer) -> Replica {
        let Look { place, answer } = self;
        let state = match answer {
            Err(error) => Err(Trouble::Away(error)),
            Ok((_, answer)) if answer.system_identifier != primary.system_identifier => Err(Trouble::OtherCluster),
            Ok((_, answer)) if answer.timeline.is_some() => Err(Trouble::OldPrimary),
            Ok((session, _)) => follow(session, primary, &place).await.map_err(Trouble::Away),
        };
        Replica { place, state }
    }
}

/// The place of the primary.
fn elect(looks: &[Look]) -> Result<usize, Error> {
    let sightings: Vec<_> = looks.iter().map(Look::sighting).collect();
    let none = || {
        let servers = looks.iter().map(|look| (look.place.clone(), look.why_not())).collect();
        Error::NoPrimary { servers }
    };
    let elected = roles::primary(&sightings, None, 0).map_err(|(one, other)| {
        let [one, other] = [one, other].map(|at| looks[at].place.clone());
        Error::TwoPrimaries { one, other }
    })?;
    elected.map(|(at, _)| at).ok_or_else(none)
}

async fn ask(mut session: Session, place: &str) -> Result<(Session, Answer), session::Error> {
    let query = format!(
        "SELECT {},
                CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_lsn()::text END AS written,
                clock_timestamp()::text AS now",
        identity::ACTUAL
    );
    let answered = sqlx::query_as(AssertSqlSafe(query)).fetch_one(&mut session.connection);
    let answer = within_limit(answered, place).await?;
    Ok((session, answer))
}

/// By the clock of the primary alone: those of two machines differ.
async fn follow(mut session: Session, primary: &Answer, place: &str) -> Result<(Session, Following), session::Error> {
    let query = sqlx::query_as(
        "SELECT greatest(coalesce(pg_wal_lsn_diff($1::pg_lsn, applied), 0), 0)::bigint AS lag_bytes,
                CASE WHEN applied >= $1::pg_lsn THEN 0
                     ELSE greatest(extract(epoch FROM $2::timestamptz - pg_last_xact_replay_timestamp()), 0)
                END::float8 AS lag_seconds,
                EXISTS (SELECT FROM pg_stat_wal_receiver) AS is_streaming, pg_is_wal_replay_paused() AS is_paused
           FROM pg_last_wal_replay_lsn() applied",
    );
    let query = query.bind(&primary.written).bind(&primary.now);
    let following = within_limit(query.fetch_one(&mut session.connection), place).await?;
    Ok((session, following))
}

async fn within_limit<T>(
    asked: impl Future<Output = Result<T, sqlx::Error>>,
    place: &str,
) -> Result<T, session::Error> {
    let unreachable = |reason| session::Error::Unreachable { place: place.to_owned(), reason };
    match timeout(LIMIT, asked).await {
        Ok(answered) => answered.map_err(|error| unreachable(error.to_string())),
        Err(_) => Err(unreachable(format!("no answer within {} s", LIMIT.as_secs()))),
    }
}

/// The place is told beside it.
fn why(error: &session::Error) -> String {
    match error {
        session::Error::Unreachable { reason, .. } => reason.clone(),
        other => other.to_string(),
    }
}
