//! The operations listener of a node, as commands ask it.

use std::time::Duration;

use futures_util::future::join_all;
use http_body_util::{BodyExt as _, Collected, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode, Uri,
    body::{Bytes, Incoming},
    header,
};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::{net::TcpStream, time::timeout};

use super::{Error, pretty::harmless};
use crate::client::error::explained;

/// How long an answer may take; a node reads its databases for some.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer.
const BYTES_MAX: usize = 1 << 20;

/// A node's operations listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    host: String,
    port: u16,
    prefix: String,
}

impl std::str::FromStr for Address {
    type Err = String;

    /// Reads `http://host:8081`, or `host:8081`; a path is put before that of each request.
    fn from_str(text: &str) -> Result<Self, String> {
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = whole.parse().map_err(|_| "write it as http://host:8081".to_owned())?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err("the operations listener speaks no TLS; use http://".into()),
            _ => return Err("it is an HTTP address, such as http://127.0.0.1:8081".into()),
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or("the host is missing")?.to_owned();
        let prefix = uri.path().trim_end_matches('/').trim_end_matches("/v1/stats/events").to_owned();
        Ok(Address { host, port: uri.port_u16().unwrap_or(80), prefix })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}{}", self.host, self.port, self.prefix)
    }
}

/// What a node is asked.
pub(super) struct Asked {
    method: Method,
    path: String,
    accept: &'static str,
    body: Option<String>,
}

impl Asked {
    /// A stream of events.
    pub(super) fn events(path: &str) -> Self {
        Asked { method: Method::GET, path: path.to_owned(), accept: "text/event-stream", body: None }
    }

    /// A document.
    pub(super) fn get(path: &str) -> Self {
        Asked { method: Method::GET, path: path.to_owned(), accept: JSON, body: None }
    }

    /// A change by a JSON document.
    pub(super) fn patch(path: &str, body: String) -> Self {
        Asked { method: Method::PATCH, path: path.to_owned(), accept: JSON, body: Some(body) }
    }
}

const JSON: &str = "application/json";

/// The error that a node answers with.
#[derive(serde::Deserialize)]
struct Refused {
    error: Reason,
}

#[derive(serde::Deserialize)]
struct Reason {
    message: String,
}

impl Address {
    /// Asks the node, and returns the document that it answers.
    ///
    /// # Errors
    /// The reason why the node gave no answer.
    async fn document<T: DeserializeOwned>(&self, asked: &Asked) -> Result<T, String> {
        let read = async {
            let bytes = whole(self.ask(asked).await?).await?;
            serde_json::from_slice(&bytes)
                .map_err(|error| format!("it answers what this release does not know: {error}"))
        };
        timeout(PATIENCE, read).await.unwrap_or_else(|_| Err(format!("no answer for {} s", PATIENCE.as_secs())))
    }

    /// What the node's `/readyz` says, which takes `limit` at most.
    ///
    /// # Errors
    /// The reason why the node gave no answer.
    pub(super) async fn readiness(&self, limit: Duration) -> Result<String, String> {
        let read = async {
            let answer = self.send(&Asked::get("/readyz")).await?;
            let status = answer.status();
            let said = whole(answer.into_body()).await?;
            match status {
                StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE => Ok(String::from_utf8_lossy(&said).into_owned()),
                _ => Err(refusal(status, &said)),
            }
        };
        let spent = || format!("no answer within {}", humantime::format_duration(limit));
        timeout(limit, read).await.unwrap_or_else(|_| Err(spent()))
    }

    /// Asks the node, and returns the body of its answer.
    ///
    /// # Errors
    /// The reason why the node gave no answer.
    pub(super) async fn ask(&self, asked: &Asked) -> Result<Incoming, String> {
        let answer = self.send(asked).await?;
        match answer.status() {
            StatusCode::OK => Ok(answer.into_body()),
            status => Err(refusal(status, &whole(answer.into_body()).await.unwrap_or_default())),
        }
    }

    async fn send(&self, asked: &Asked) -> Result<Response<Incoming>, String> {
        let host = self.host.trim_matches(['[', ']']);
        let socket = TcpStream::connect((host, self.port)).await.map_err(|error| explained(&error))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.map_err(|error| explained(&error))?;
        // Ends with the body or the sender, whichever lives longer.
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(asked.method.clone())
            .uri(format!("{}{}", self.prefix, asked.path))
            .header(header::HOST, format!("{}:{}", self.host, self.port))
            .header(header::ACCEPT, asked.accept);
        if asked.body.is_some() {
            request = request.header(header::CONTENT_TYPE, JSON);
        }
        let body = Full::new(Bytes::from(asked.body.clone().unwrap_or_default()));
        let request = request.body(body).map_err(|error| explained(&error))?;
        sender.send_request(request).await.map_err(|error| explained(&error))
    }
}

/// All of a body.
async fn whole(body: Incoming) -> Result<Bytes, String> {
    let read = Limited::new(body, BYTES_MAX).collect().await;
    read.map(Collected::to_bytes).map_err(|error| error.to_string())
}

fn refusal(status: StatusCode, said: &[u8]) -> String {
    let refused = serde_json::from_slice::<Refused>(said).ok();
    why(status, refused.map(|refused| refused.error.message))
}

/// The nodes that a command asks.
#[derive(Debug, clap::Args)]
pub(super) struct NodesArgs {
    /// The operations listeners of nodes.
    #[arg(
        long = "node",
        value_name = "NODE",
        env = "FRESHET_OPERATIONS",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:8081"
    )]
    nodes: Vec<Address>,
}

impl NodesArgs {
    /// Asks the nodes side by side; returns the answers with the nodes' names, and an error that names the nodes which gave none.
    pub(super) async fn ask<T: DeserializeOwned>(&self, asked: &Asked) -> (Vec<(String, T)>, Result<(), Error>) {
        self.each(async |node| node.document(asked).await).await
    }

    /// The same with another question.
    pub(super) async fn each<T>(
        &self,
        ask: impl AsyncFn(&Address) -> Result<T, String>,
    ) -> (Vec<(String, T)>, Result<(), Error>) {
        let asking = self.nodes.iter().map(async |node| (node.to_string(), ask(node).await));
        let (mut answers, mut unanswered) = (Vec::new(), Vec::new());
        for (node, answer) in join_all(asking).await {
            match answer {
                Ok(answer) => answers.push((node, answer)),
                Err(reason) => unanswered.push(format!("{node}: {reason}")),
            }
        }
        (answers, if unanswered.is_empty() { Ok(()) } else { Err(Error::Unanswered(unanswered.join("; "))) })
    }
}

fn why(status: StatusCode, said: Option<String>) -> String {
    match (status, said) {
        (StatusCode::MISDIRECTED_REQUEST, _) => {
            "HTTP 421: list this name in gateway.hosts of the node, or give its IP address".into()
        }
        (StatusCode::NOT_FOUND, Some(said)) if said.contains("/v1/ws") => {
            "this is the address of clients; give the operations listener (--operations of the node)".into()
        }
        (_, Some(said)) => harmless(&said),
        (StatusCode::NOT_FOUND, None) => "HTTP 404: is this the operations listener (--operations of the node)?".into(),
        (status, None) => format!("HTTP {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_wrong_ones_say_how() {
        let read = |text: &str| text.parse::<Address>().map(|address| address.to_string());
        assert_eq!(read("http://127.0.0.1:8081"), Ok("127.0.0.1:8081".into()));
        assert_eq!(read("db1:8081/"), Ok("db1:8081".into()));
        assert_eq!(read("http://[::1]:8081/node/7/v1/stats/events"), Ok("[::1]:8081/node/7".into()));
        for (text, part) in [("https://a", "no TLS"), ("ws://a/v1/ws", "HTTP address"), ("http://", "http://host:8081")]
        {
            let error = read(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn the_address_of_clients_is_recognised_and_other_refusals_are_told_as_they_are() {
        let of_clients = "there is nothing at /where/c/k; served are GET /v1/ws (WebSocket), ...";
        assert!(why(StatusCode::NOT_FOUND, Some(of_clients.into())).contains("--operations"));
        let said = "this node has no [redis] in its configuration";
        assert_eq!(why(StatusCode::NOT_FOUND, Some(said.into())), said);
        assert_eq!(why(StatusCode::BAD_GATEWAY, None), "HTTP 502 Bad Gateway");
    }
}
