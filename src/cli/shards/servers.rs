//! The servers of a database beside its shards: which is the primary, and how far the others are behind.

use serde::Serialize;

use super::survey::Survey;
use crate::{
    cli::{
        figures::{lasting, size},
        table::{Cell, Paint, Palette, Table},
    },
    store::postgres::servers::{Following, Replica, Servers},
};

/// A server, as this command found it.
#[derive(Debug, Serialize)]
pub(super) struct Server {
    /// Host and port, or the folder of its socket.
    pub(super) server: String,
    role: Role,
    state: State,
    /// How long ago the primary committed the newest transaction that it shows; of a replica that has shown one.
    #[serde(skip_serializing_if = "Option::is_none")]
    lag_ms: Option<u64>,
    /// How much of the primary's log it has not applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    lag_bytes: Option<u64>,
    /// Why it is away.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Whether rows were counted on it.
    pub(super) counted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    Primary,
    Replica,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    TakesWrites,
    Streaming,
    Paused,
    NotStreaming,
    Away,
}

impl Server {
    /// The primary, then the replicas in the order of the configuration.
    pub(super) fn all(servers: &Servers) -> Vec<Self> {
        let primary = Server {
            server: servers.primary.place.clone(),
            role: Role::Primary,
            state: State::TakesWrites,
            lag_ms: None,
            lag_bytes: None,
            reason: None,
            counted: false,
        };
        [primary].into_iter().chain(servers.replicas.iter().map(Self::replica)).collect()
    }

    fn replica(replica: &Replica) -> Self {
        let following = replica.state.as_ref().map(|(_, following)| following);
        let lag_ms = following.ok().and_then(|following| following.lag_seconds).map(|seconds| (seconds * 1e3) as u64);
        Server {
            server: replica.place.clone(),
            role: Role::Replica,
            state: following.map_or(State::Away, State::of),
            lag_ms,
            lag_bytes: following.ok().map(|following| following.lag_bytes.unsigned_abs()),
            reason: following.err().map(ToString::to_string),
            counted: false,
        }
    }

    fn lag(&self) -> String {
        match (self.lag_ms, self.lag_bytes) {
            (_, None) => "-".into(),
            (_, Some(0)) => "none".into(),
            (Some(millis), Some(bytes)) => format!("{}, {}", lasting(millis as f64 / 1e3), size(bytes)),
            (None, Some(bytes)) => size(bytes),
        }
    }

    fn state(&self) -> Cell {
        let (paint, said) = match self.state {
            State::TakesWrites => (Paint::Good, "takes writes"),
            State::Streaming => (Paint::Good, "streams"),
            State::Paused => (Paint::Warn, "does not apply what it receives: its replay is paused"),
            State::NotStreaming => (Paint::Warn, "does not stream from another server"),
            State::Away => (Paint::Bad, "away: "),
        };
        let counted = if self.counted { "; rows were counted here" } else { "" };
        Cell::painted(paint, format!("{said}{}{counted}", self.reason.as_deref().unwrap_or_default()))
    }
}

impl State {
    fn of(following: &Following) -> Self {
        match (following.is_paused, following.is_streaming) {
            (true, _) => State::Paused,
            (false, true) => State::Streaming,
            (false, false) => State::NotStreaming,
        }
    }
}

/// A line for each server; nothing where every database has one only.
pub(super) fn described(databases: &[Survey], palette: Palette, width: usize) -> String {
    if databases.iter().all(|survey| survey.servers.len() < 2) {
        return String::new();
    }
    let mut table = Table::headed(["database", "server", "role", ">behind", "state"]);
    for survey in databases {
        for server in &survey.servers {
            let role = match server.role {
                Role::Primary => "primary",
                Role::Replica => "replica",
            };
            table.push([
                (&survey.name).into(),
                (&server.server).into(),
                role.into(),
                Cell::figure(server.lag()),
                server.state(),
            ]);
        }
    }
    format!("{}\n{}\n", palette.paint(Paint::Strong, "servers"), table.lay_out_within(palette, width))
}
