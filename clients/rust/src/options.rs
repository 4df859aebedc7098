//! What a client may be told.

use std::{num::NonZeroUsize, time::Duration};

use freshet_wire::record::Stamp;

/// How a client connects and how long it waits.
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    /// Sent as a bearer token with the upgrade.
    pub token: Option<String>,
    /// For TCP and the WebSocket's opening together. 10 s.
    pub connect_timeout: Duration,
    /// For a request from call to answer, reconnects included. 10 s.
    pub request_timeout: Duration,
    /// How many requests may be unanswered; further ones wait. 1024.
    pub in_flight_max: NonZeroUsize,
    /// The ceiling of the first wait before a reconnect. 500 ms.
    pub backoff_base: Duration,
    /// The ceiling of any wait before a reconnect. 20 s.
    pub backoff_limit: Duration,
    /// After so long a silence a ping asks for a sign of life. 15 s.
    pub heartbeat: Duration,
    /// How long that sign may take, before the connection counts as lost. 10 s.
    pub heartbeat_timeout: Duration,
    /// The largest message accepted from the server, in bytes. 64 MiB.
    pub message_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            token: None,
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(10),
            in_flight_max: NonZeroUsize::new(1024).unwrap_or(NonZeroUsize::MIN),
            backoff_base: Duration::from_millis(500),
            backoff_limit: Duration::from_secs(20),
            heartbeat: Duration::from_secs(15),
            heartbeat_timeout: Duration::from_secs(10),
            message_bytes_max: 64 << 20,
        }
    }
}

impl std::fmt::Debug for Options {
    /// Leaves the token out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("connect_timeout", &self.connect_timeout)
            .field("request_timeout", &self.request_timeout)
            .field("in_flight_max", &self.in_flight_max)
            .finish_non_exhaustive()
    }
}

/// How fresh an answer must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// Not older than this.
    pub min_stamp: Option<Stamp>,
    /// When nothing fresh can answer: how long past its freshness it may be. The server's own bound otherwise.
    pub max_stale: Option<Duration>,
}

/// Under which condition a write is done, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Only if the record is at this stamp; [`Stamp::ABSENT`]: only if it does not exist.
    pub if_stamp: Option<Stamp>,
    /// Names the write, 1 to 255 bytes, so that repeating it does nothing.
    pub idempotency_key: Option<String>,
    /// Whether a patch answers with the record's new value. Other writes have no use for it.
    pub returns_value: bool,
}
