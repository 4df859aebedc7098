//! Why a measurement cannot be made, or is worth nothing.

use std::io;

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address cannot be measured.
    #[error("measure {url}: {problem}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it, and what would do.
        problem: String,
    },
    /// Nobody answers there.
    #[error("connect to {address}")]
    Connect {
        /// Host and port.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The server did not open a WebSocket.
    #[error("open a WebSocket: the server answered {0:?}")]
    Handshake(String),
    /// A connection broke.
    #[error("go on: {0}")]
    Broken(String),
    /// The system refused something.
    #[error("{doing}")]
    System {
        /// What was tried.
        doing: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The server answers, and not with what it was asked for.
    #[error("get a right answer: {0}")]
    Wrong(String),
}

impl Error {
    /// For `map_err` on what the system refuses.
    pub(super) fn system(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let doing = doing.into();
        move |source| Error::System { doing, source }
    }
}
