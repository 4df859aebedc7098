//! Which node a command talks to.

use std::{fmt, time::Duration};

use hyper::Uri;

use super::Error;
use crate::client::{Client, Options};

/// Where a node's WebSocket is, and the port it usually listens on.
const PATH: &str = "/v1/ws";
const PORT: u16 = 8080;

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

/// The WebSocket of a node that is named by any address it is known by.
pub(super) fn websocket(text: &str) -> Result<String, String> {
    let wrong = || "write it as ws://host:8080/v1/ws, http://host:8080 or host:8080".to_owned();
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let uri: Uri = format!("ws://{rest}").parse().map_err(|_| wrong())?;
    let authority = uri.authority().filter(|authority| !authority.host().is_empty()).ok_or_else(wrong)?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let path = match path.strip_prefix('/') {
        Some(query) if query.is_empty() || query.starts_with('?') => format!("{PATH}{query}"),
        _ => path.to_owned(),
    };
    match scheme {
        "ws" | "http" => Ok(format!("ws://{authority}{path}")),
        "wss" | "https" => Ok(format!("wss://{authority}{path}")),
        "" if authority.port().is_none() => Ok(format!("ws://{authority}:{PORT}{path}")),
        "" => Ok(format!("ws://{authority}{path}")),
        _ => Err(wrong()),
    }
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

    /// Connects.
    ///
    /// # Errors
    /// [`Error::Client`], exit code 69 when nobody is there.
    pub async fn connect(&self) -> Result<Client, Error> {
        Ok(Client::connect(&self.url, self.options()).await?)
    }

    /// How to connect, and how long to wait.
    pub(super) fn options(&self) -> Options {
        let mut options = Options::default();
        options.token.clone_from(&self.token);
        options.request_timeout = self.timeout;
        options.connect_timeout = options.connect_timeout.min(self.timeout);
        options
    }
}

#[cfg(test)]
impl ServerArgs {
    /// Talks to the node at `url`.
    pub(super) fn at(url: String) -> Self {
        ServerArgs { url, token: None, timeout: Duration::from_secs(5) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_found_by_any_address_it_is_known_by() {
        for (text, expected) in [
            ("ws://h:1/v1/ws", "ws://h:1/v1/ws"),
            ("ws://h:1", "ws://h:1/v1/ws"),
            ("ws://h:1/?a=b", "ws://h:1/v1/ws?a=b"),
            ("http://h:1/", "ws://h:1/v1/ws"),
            ("https://shop.example", "wss://shop.example/v1/ws"),
            ("wss://shop.example/live/v1/ws", "wss://shop.example/live/v1/ws"),
            ("127.0.0.1:9000", "ws://127.0.0.1:9000/v1/ws"),
            ("[::1]:9000", "ws://[::1]:9000/v1/ws"),
            ("db1", "ws://db1:8080/v1/ws"),
        ] {
            assert_eq!(websocket(text).as_deref(), Ok(expected), "{text}");
        }
        for text in ["", "ftp://h", "ws://", "ws:///v1/ws", "a b"] {
            assert!(websocket(text).is_err_and(|said| said.contains("http://host:8080")), "{text} was taken");
        }
    }
}
