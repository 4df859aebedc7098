//! What a server says that it is doing.

use std::time::Duration;

use sqlx::{Connection as _, PgConnection};
use tokio::time::timeout;

use super::instance::Instance;

/// How long to wait for a server that may be frozen.
const LIMIT: Duration = Duration::from_millis(500);

/// A server, as it answers now. Positions count the bytes of its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It was stopped or killed.
    Down,
    /// It runs and does not answer.
    Silent,
    /// It takes writes.
    Primary { written: i64 },
    /// It follows a primary.
    Standby { applied: i64, is_paused: bool, is_streaming: bool },
}

const QUESTION: &str = "
    SELECT CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint END,
           pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint,
           CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() ELSE false END,
           EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')";

impl State {
    /// Asks a server.
    pub async fn of(server: &Instance) -> Self {
        if !server.is_running() {
            return State::Down;
        }
        match timeout(LIMIT, Self::ask(server)).await {
            Ok(Ok(state)) => state,
            _ => State::Silent,
        }
    }

    async fn ask(server: &Instance) -> sqlx::Result<Self> {
        let mut connection = PgConnection::connect(&server.url("postgres")).await?;
        let answer: (Option<i64>, Option<i64>, bool, bool) =
            sqlx::query_as(QUESTION).fetch_one(&mut connection).await?;
        connection.close().await?;
        Ok(match answer {
            (Some(written), ..) => State::Primary { written },
            (None, applied, is_paused, is_streaming) => {
                State::Standby { applied: applied.unwrap_or_default(), is_paused, is_streaming }
            }
        })
    }

    /// In words. `primary` is the state of the server that it should follow, if there is another.
    pub fn describe(self, primary: Option<State>) -> String {
        match (self, primary) {
            (State::Down, _) => "down".to_owned(),
            (State::Silent, _) => "does not answer".to_owned(),
            (State::Primary { .. }, None) => "takes writes".to_owned(),
            (State::Primary { .. }, Some(_)) => "takes writes, and should not: rebuild it".to_owned(),
            (State::Standby { applied, is_paused, is_streaming }, primary) => {
                let doing = match (is_paused, is_streaming) {
                    (true, _) => "paused",
                    (false, true) => "follows",
                    (false, false) => "waits for its primary",
                };
                match primary {
                    Some(State::Primary { written }) => {
                        format!("{doing}, {} behind", bytes((written - applied).max(0)))
                    }
                    _ => doing.to_owned(),
                }
            }
        }
    }
}

fn bytes(count: i64) -> String {
    match count {
        0..10_000 => format!("{count} B"),
        10_000..10_000_000 => format!("{} kB", count / 1_000),
        _ => format!("{} MB", count / 1_000_000),
    }
}
