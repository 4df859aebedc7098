//! Why a request came to nothing.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};
use tokio_tungstenite::tungstenite;

use super::address::Malformed;
use freshet_wire::protocol::Code;

/// What a caller can tell apart.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text can be no node's address.
    #[error("read {address:?} as a node's address")]
    Address {
        /// The text.
        address: String,
        /// How to write one.
        #[source]
        source: Malformed,
    },
    /// Nobody answered there, or not as a WebSocket server does.
    #[error("connect to {url}")]
    Connect {
        /// Where to.
        url: String,
        /// What the network said.
        #[source]
        source: Box<tungstenite::Error>,
    },
    /// The server answered the upgrade with an HTTP status, such as 401 for a missing token.
    #[error("open a WebSocket at {url}: HTTP status {status}")]
    Handshake {
        /// Where.
        url: String,
        /// The status.
        status: u16,
    },
    /// The server refused the request.
    #[error(transparent)]
    Rpc(#[from] Refusal),
    /// The client is closed, or the server told it not to come back.
    #[error("use a connection that is closed for good")]
    Disconnected,
    /// No answer within the time limit, and nothing was done.
    #[error("get an answer in time")]
    Timeout,
    /// The connection, the client or the time limit ended after a write was sent: it may or may not have happened.
    #[error("learn whether the write happened")]
    OutcomeUnknown,
    /// A value handed in is no JSON.
    #[error("read the value as JSON")]
    Value(#[source] serde_json::Error),
    /// An answer that is none by the protocol.
    #[error("understand the server's answer")]
    Answer(#[source] serde_json::Error),
}

impl Error {
    pub(super) fn value(error: serde_json::Error) -> Self {
        Error::Value(error)
    }

    /// Whether the same call may succeed later and did nothing now.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Connect { .. } | Error::Timeout => true,
            Error::Handshake { status, .. } => matches!(status, 429 | 500..),
            Error::Rpc(refusal) => refusal.kind().is_some_and(Code::is_retryable),
            _ => false,
        }
    }

    /// The server's refusal, if it was one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Error::Rpc(refusal) => Some(refusal),
            _ => None,
        }
    }
}

/// `error` and its causes in one line. A cause that the text above it already ends with is left out: several libraries
/// print their source and return it too.
pub fn explained(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.map(ToString::to_string).fold(error.to_string(), |text, cause| match text.ends_with(&cause) {
        true => text,
        false => format!("{text}: {cause}"),
    })
}

/// An error object as the server sent it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message} ({reason})")]
#[non_exhaustive]
pub struct Refusal {
    /// The number; see [`Refusal::kind`].
    pub code: i64,
    /// For people.
    pub message: String,
    /// `data.reason`; empty when the server gave none.
    pub reason: String,
    /// `data.retry_after_ms`.
    pub retry_after: Option<Duration>,
    /// All of `data`.
    pub data: Map<String, Value>,
}

impl Refusal {
    /// The code's meaning; `None` for one this version does not know.
    pub fn kind(&self) -> Option<Code> {
        Code::from_number(self.code)
    }

    /// What a close with 1009 says of the messages before it.
    pub(super) fn too_large() -> Self {
        let message = "the server closed the connection over a message that was too large".to_owned();
        let code = i64::from(Code::TooLarge.number());
        Refusal { code, message, reason: "too_large".to_owned(), retry_after: None, data: Map::new() }
    }

    pub(super) fn read(text: &str) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Wire {
            code: i64,
            message: String,
            data: Option<Value>,
        }
        let Wire { code, message, data } = serde_json::from_str(text)?;
        // JSON-RPC lets `data` be anything; only an object says something to us.
        let data = match data {
            Some(Value::Object(data)) => data,
            _ => Map::new(),
        };
        let reason = data.get("reason").and_then(Value::as_str).unwrap_or_default().to_owned();
        let retry_after = data.get("retry_after_ms").and_then(Value::as_u64).map(Duration::from_millis);
        Ok(Refusal { code, message, reason, retry_after, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freshet_wire::protocol::RpcError;

    #[test]
    fn a_refusal_reads_what_the_server_writes() {
        let mut text = Vec::new();
        RpcError::new(Code::Overloaded, "too many writes")
            .retry_after(Duration::from_millis(40))
            .with("shard", 3)
            .write(&mut text);
        let refusal = Refusal::read(std::str::from_utf8(&text).expect("text")).expect("an error object");
        assert_eq!((refusal.kind(), &*refusal.reason), (Some(Code::Overloaded), "overloaded"));
        assert_eq!((refusal.retry_after, refusal.data["shard"].as_u64()), (Some(Duration::from_millis(40)), Some(3)));
        assert!(Error::from(refusal).is_retryable());
    }

    #[test]
    fn what_may_have_happened_is_not_retryable() {
        let unknown = Refusal::read(r#"{"code":-32012,"message":"lost","data":7}"#).expect("an error object");
        for error in [Error::OutcomeUnknown, Error::Disconnected, Error::Rpc(unknown)] {
            assert!(!error.is_retryable(), "{error:?}");
        }
        assert!(Error::Timeout.is_retryable());
        assert!(!Error::Handshake { url: String::new(), status: 401 }.is_retryable());
        assert!(Error::Handshake { url: String::new(), status: 503 }.is_retryable());
    }
}
