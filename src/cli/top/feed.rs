//! A node's statistics, followed over lost connections.

use std::time::Duration;

use http_body_util::BodyExt as _;
use tokio::{sync::mpsc, time::timeout};

use super::snapshot::Snapshot;
use crate::{
    cli::operations::{Address, Asked},
    client::error::explained,
    resilience::Backoff,
};

/// Where a node serves its statistics.
const PATH: &str = "/v1/stats/events";
/// How long connecting, and then each event, may take. A node sends one a second.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest event; a snapshot is some hundred bytes.
const EVENT_BYTES_MAX: usize = 1 << 20;

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
    let mut body = match timeout(PATIENCE, address.ask(&Asked::events(PATH))).await {
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
