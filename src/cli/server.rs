//! Which node a command talks to.

use std::{fmt, time::Duration};

use super::Error;
use crate::client::{
    Client, Options,
    address::{self, Malformed},
};

/// How long a connection may take, even where an answer may take longer.
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(10);

/// The heading of the options that every command takes.
pub(super) const EVERYWHERE: &str = "Options of every command";

/// Where the node is and who asks.
#[derive(clap::Args, Clone)]
pub struct ServerArgs {
    /// The node, for commands that read, write or watch records: its WebSocket, http://host:8080 or host:8080.
    #[arg(long, global = true, help_heading = EVERYWHERE, env = "FRESHET_URL", default_value = "ws://127.0.0.1:8080/v1/ws", value_parser = websocket)]
    url: String,
    /// The bearer token to present.
    #[arg(long, global = true, help_heading = EVERYWHERE, env = "FRESHET_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// How long to wait for an answer, such as 500ms or 10s.
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// The URL of a node's WebSocket, by any address that the node is known by.
pub(super) fn websocket(text: &str) -> Result<String, Malformed> {
    address::websocket(text).map_err(|_| Malformed)
}

impl fmt::Debug for ServerArgs {
    /// Leaves the token out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerArgs").field("url", &self.url).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl ServerArgs {
    /// The node's address.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// How long to wait for an answer.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Connects.
    ///
    /// # Errors
    /// [`Error::Client`], exit code 69 when nobody is there.
    pub async fn connect(&self) -> Result<Client, Error> {
        Ok(Client::connect(&self.url, self.options()).await?)
    }

    /// How to connect, and how long to wait.
    pub(super) fn options(&self) -> Options {
        let options = Options::new().request_timeout(self.timeout);
        let options = options.connect_timeout(self.timeout.min(CONNECT_TIMEOUT_MAX));
        match &self.token {
            Some(token) => options.token(token),
            None => options,
        }
    }
}

#[cfg(test)]
impl ServerArgs {
    /// Talks to the node at `url`.
    pub(super) fn at(url: String) -> Self {
        ServerArgs { url, token: None, timeout: Duration::from_secs(5) }
    }
}
