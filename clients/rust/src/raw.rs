//! One connection without the client's rules, for programs that judge a server or imitate a worse client.
//!
//! Promises: every message is handed on as it came, older and repeated states included; nothing is repeated, resumed or
//! reconnected. Pings are answered. Leaves everything else to the caller.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::tungstenite::Message;

pub use super::incoming::{Incoming, Told};
use super::{Error, Options, address, connection, incoming};

/// An open WebSocket.
#[derive(Debug)]
pub struct Raw {
    socket: connection::Socket,
}

/// What came next.
#[derive(Debug)]
pub enum Heard {
    /// A message.
    Message(Incoming),
    /// A message that breaks the protocol, and how.
    Unreadable(String),
    /// The connection is over, for that reason.
    Ended(String),
}

impl Raw {
    /// Connects to `url` within [`Options::connect_timeout`].
    ///
    /// # Errors
    /// [`Error::Connect`] or [`Error::Handshake`].
    pub async fn open(url: &str, options: &Options) -> Result<Self, Error> {
        Ok(Raw { socket: connection::open(&address::websocket(url)?, options).await? })
    }

    /// Sends `text` as one message.
    ///
    /// # Errors
    /// The reason, when the connection is over.
    pub async fn send(&mut self, text: String) -> Result<(), String> {
        self.socket.send(Message::text(text)).await.map_err(|error| error.to_string())
    }

    /// Waits for the next message.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Heard {
        loop {
            return match self.socket.next().await {
                Some(Ok(Message::Text(text))) => match incoming::read(&text) {
                    Ok(message) => Heard::Message(message),
                    Err(error) => Heard::Unreadable(format!("{error}: {}", text.chars().take(200).collect::<String>())),
                },
                Some(Ok(Message::Close(Some(frame)))) => Heard::Ended(format!("the server closed with {}", frame.code)),
                Some(Ok(Message::Close(None))) | None => Heard::Ended("the server closed".to_owned()),
                Some(Ok(_)) => continue,
                Some(Err(error)) => Heard::Ended(error.to_string()),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::Server;

    #[tokio::test]
    async fn what_a_client_would_hide_is_handed_on() {
        let (server, url) = Server::start().await;
        let (raw, mut peer) = tokio::join!(async { Raw::open(&url, &Options::new()).await }, server.accept());
        let mut raw = raw.expect("a connection");
        for version in [5, 5, 4] {
            let state = json!({"key": "k", "version": version, "stamp": format!("1.{version}"), "value": null});
            peer.push("s1", state).await;
        }
        peer.say(json!({"jsonrpc": "2.0", "method": "freshet_subscription", "params": 7})).await;
        for version in [5, 5, 4] {
            match raw.next().await {
                Heard::Message(Incoming::State(id, record)) => {
                    assert_eq!((&*id, record.version), ("s1", version));
                }
                other => panic!("no state but {other:?}"),
            }
        }
        assert!(matches!(raw.next().await, Heard::Unreadable(_)));
        raw.send(r#"{"jsonrpc":"2.0","id":1,"method":"get","params":{}}"#.to_owned()).await.expect("sent");
        peer.expect("get").await;
        tokio::join!(peer.close(1001), async move { assert!(matches!(raw.next().await, Heard::Ended(_))) });
    }
}
