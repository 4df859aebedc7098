//! What a client may be told.

use std::{num::NonZeroUsize, time::Duration};

use freshet_wire::record::Stamp;

/// How a client connects and how long it waits.
///
/// ```
/// use std::time::Duration;
/// use freshet_client::Options;
///
/// let options = Options::new().token("secret").request_timeout(Duration::from_secs(2));
/// ```
#[derive(Clone)]
pub struct Options {
    pub(super) token: Option<String>,
    pub(super) connect_timeout: Duration,
    pub(super) request_timeout: Duration,
    pub(super) in_flight_max: NonZeroUsize,
    pub(super) backoff_base: Duration,
    pub(super) backoff_limit: Duration,
    pub(super) heartbeat: Duration,
    pub(super) heartbeat_timeout: Duration,
    pub(super) message_bytes_max: usize,
}

impl Options {
    /// The defaults.
    pub fn new() -> Self {
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

    /// Sends `token` as a bearer token whenever a connection is opened, for a proxy that asks for one: Freshet itself ignores it.
    pub fn token(self, token: impl Into<String>) -> Self {
        Options { token: Some(token.into()), ..self }
    }

    /// How long TCP and the WebSocket's opening may take together. 10 s unless set.
    pub fn connect_timeout(self, limit: Duration) -> Self {
        Options { connect_timeout: limit, ..self }
    }

    /// How long a request may take from call to answer, reconnects included. 10 s unless set.
    pub fn request_timeout(self, limit: Duration) -> Self {
        Options { request_timeout: limit, ..self }
    }

    /// How many requests may be unanswered; further ones wait. 1024 unless set.
    pub fn in_flight_max(self, requests: NonZeroUsize) -> Self {
        Options { in_flight_max: requests, ..self }
    }

    /// The ceiling of the first wait before a reconnect; it doubles with each failure. 500 ms unless set.
    pub fn backoff_base(self, wait: Duration) -> Self {
        Options { backoff_base: wait, ..self }
    }

    /// The ceiling of any wait before a reconnect. 20 s unless set.
    pub fn backoff_limit(self, wait: Duration) -> Self {
        Options { backoff_limit: wait, ..self }
    }

    /// After how long a silence a ping asks for a sign of life. 15 s unless set.
    pub fn heartbeat(self, silence: Duration) -> Self {
        Options { heartbeat: silence, ..self }
    }

    /// How long that sign may take, before the connection counts as lost. 10 s unless set.
    pub fn heartbeat_timeout(self, limit: Duration) -> Self {
        Options { heartbeat_timeout: limit, ..self }
    }

    /// The largest message accepted from the server, in bytes. 64 MiB unless set.
    pub fn message_bytes_max(self, bytes: usize) -> Self {
        Options { message_bytes_max: bytes, ..self }
    }
}

impl Default for Options {
    fn default() -> Self {
        Options::new()
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
    pub(super) min_stamp: Option<Stamp>,
    pub(super) max_stale: Option<Duration>,
}

impl ReadOptions {
    /// As fresh as the server answers by itself.
    pub fn new() -> Self {
        ReadOptions::default()
    }

    /// Not older than this, such as the stamp of an own write.
    pub fn min_stamp(self, stamp: impl Into<Option<Stamp>>) -> Self {
        ReadOptions { min_stamp: stamp.into(), ..self }
    }

    /// When nothing fresh can answer: how long past its freshness the answer may be. The server's own bound unless set.
    pub fn max_stale(self, age: impl Into<Option<Duration>>) -> Self {
        ReadOptions { max_stale: age.into(), ..self }
    }
}

/// Under which condition a write is done, and how.
///
/// ```
/// use freshet_client::{Stamp, WriteOptions};
///
/// let create = WriteOptions::new().if_stamp(Stamp::ABSENT).idempotency_key("order-4711");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    pub(super) if_stamp: Option<Stamp>,
    pub(super) idempotency_key: Option<String>,
    pub(super) returns_value: bool,
}

impl WriteOptions {
    /// Unconditional, without a name.
    pub fn new() -> Self {
        WriteOptions::default()
    }

    /// Only if the record is at this stamp; [`Stamp::ABSENT`]: only if it does not exist.
    pub fn if_stamp(self, stamp: impl Into<Option<Stamp>>) -> Self {
        WriteOptions { if_stamp: stamp.into(), ..self }
    }

    /// Names the write, 1 to 255 bytes, so that repeating it does nothing. The client then repeats it over lost connections.
    pub fn idempotency_key(self, key: impl Into<String>) -> Self {
        WriteOptions { idempotency_key: Some(key.into()), ..self }
    }

    /// Whether a patch answers with the record's new value. Other writes have no use for it.
    pub fn returns_value(self, returns: bool) -> Self {
        WriteOptions { returns_value: returns, ..self }
    }
}
