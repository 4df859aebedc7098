//! A node's statistics, followed over lost connections.

use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, StatusCode, Uri, body::Bytes, header};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::mpsc, time::timeout};

use super::snapshot::Snapshot;
use crate::{client::error::explained, resilience::Backoff};

/// Where a node serves its statistics.
const PATH: &str = "/v1/stats/events";
/// How long connecting, and then each event, may take. A node sends one a second.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest event; a snapshot is some hundred bytes.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// A node's operations listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    host: String,
    port: u16,
    prefix: String,
}

impl std::str::FromStr for Address {
    type Err = String;

    /// Reads `http://host:8081`, or `host:8081`; a path is put before the one of the statistics.
    fn from_str(text: &str) -> Result<Self, String> {
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = whole.parse().map_err(|_| "write it as http://host:8081".to_owned())?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err("the operations listener speaks no TLS; use http://".into()),
            _ => return Err("it is an HTTP address, such as http://127.0.0.1:8081".into()),
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or("the host is missing")?.to_owned();
        let prefix = uri.path().trim_end_matches('/').trim_end_matches(PATH).to_owned();
        Ok(Address { host, port: uri.port_u16().unwrap_or(80), prefix })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}{}", self.host, self.port, self.prefix)
    }
}

/// What was heard of a node.
#[derive(Debug)]
pub(super) enum News {
    /// A second has passed there.
    Snapshot(Box<Snapshot>),
    /// It cannot be followed now, for the reason given; it is tried again.
    Away(String),
}

/// News of the node with that number.
pub(super) type Update = (usize, News);

/// Sends what `address` says to `to`, as the news of node `number`, until nobody listens.
pub(super) async fn follow(number: usize, address: Address, to: mpsc::Sender<Update>) {
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(4));
    loop {
        let mut snapshots = 0;
        let reason = listen(number, &address, &to, &mut snapshots).await;
        if snapshots > 0 {
            backoff.reset();
        }
        if to.send((number, News::Away(reason))).await.is_err() {
            return;
        }
        tokio::time::sleep(backoff.next_wait()).await;
    }
}

/// Sends every snapshot, counting them, until the node or the listener is lost; returns why.
async fn listen(number: usize, address: &Address, to: &mpsc::Sender<Update>, snapshots: &mut usize) -> String {
    let mut body = match timeout(PATIENCE, open(address)).await {
        Ok(Ok(body)) => body,
        Ok(Err(reason)) => return reason,
        Err(_) => return format!("no answer for {} s", PATIENCE.as_secs()),
    };
    let mut events = Events::default();
    loop {
        let frame = match timeout(PATIENCE, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => return explained(&error),
            Ok(None) => return "the node ended the stream".into(),
            Err(_) => return format!("silent for {} s", PATIENCE.as_secs()),
        };
        let Ok(data) = frame.into_data() else { continue };
        if !events.push(&data) {
            return "sends events without end: is it a Freshet node?".into();
        }
        while let Some(data) = events.next() {
            let snapshot = match serde_json::from_str(&data) {
                Ok(snapshot) => Box::new(snapshot),
                Err(error) => return format!("sends no statistics: {error}"),
            };
            if to.send((number, News::Snapshot(snapshot))).await.is_err() {
                return "nobody listens".into();
            }
            *snapshots += 1;
        }
    }
}

async fn open(address: &Address) -> Result<hyper::body::Incoming, String> {
    let host = address.host.trim_matches(['[', ']']);
    let socket = TcpStream::connect((host, address.port)).await.map_err(|error| explained(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.map_err(|error| explained(&error))?;
    // Ends with the body or the sender, whichever lives longer.
    tokio::spawn(connection);
    let request = Request::get(format!("{}{PATH}", address.prefix))
        .header(header::HOST, format!("{}:{}", address.host, address.port))
        .header(header::ACCEPT, "text/event-stream")
        .body(Empty::<Bytes>::new())
        .map_err(|error| explained(&error))?;
    let answer = sender.send_request(request).await.map_err(|error| explained(&error))?;
    match answer.status() {
        StatusCode::OK => Ok(answer.into_body()),
        StatusCode::NOT_FOUND => Err("HTTP 404: is this the operations listener (--operations of the node)?".into()),
        StatusCode::MISDIRECTED_REQUEST => {
            Err("HTTP 421: list this name in gateway.hosts of the node, or give its IP address".into())
        }
        status => Err(format!("HTTP {status}")),
    }
}

/// Server-sent events out of pieces of a stream; only their data is of interest.
///
/// # Source
/// HTML Standard, section 9.2.6 (interpreting an event stream).
#[derive(Debug, Default)]
struct Events {
    unread: Vec<u8>,
    data: String,
}

impl Events {
    /// Takes a piece in. `false` when an event has grown too long.
    fn push(&mut self, piece: &[u8]) -> bool {
        self.unread.extend_from_slice(piece);
        self.unread.len() + self.data.len() <= EVENT_BYTES_MAX
    }

    /// The data of the next event that is complete.
    fn next(&mut self) -> Option<String> {
        while let Some(end) = self.unread.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.unread.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\r', '\n']);
            if let Some(data) = line.strip_prefix("data:") {
                self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
            } else if line.is_empty() && !self.data.is_empty() {
                return Some(std::mem::take(&mut self.data));
            }
        }
        None
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
    fn events_are_found_in_any_pieces() {
        let stream = b"retry: 2000\n\n:\n\ndata: {\"a\":1}\n\nid: 7\r\ndata: {\r\ndata: }\r\n\r\ndata: open";
        for size in 1..stream.len() {
            let (mut events, mut found) = (Events::default(), Vec::new());
            for piece in stream.chunks(size) {
                assert!(events.push(piece));
                found.extend(std::iter::from_fn(|| events.next()));
            }
            assert_eq!(found, ["{\"a\":1}", "{}"]);
        }
        assert!(!Events::default().push(&vec![b'x'; EVENT_BYTES_MAX + 1]));
    }
}
