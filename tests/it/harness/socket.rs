//! A WebSocket that shows every frame as it came: what a careful client hides, these tests look at.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

use super::node::{Node, within};

/// An open WebSocket.
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next_id: u64,
    /// Notifications that came while an answer was waited for.
    pushed: std::collections::VecDeque<Value>,
}

impl Socket {
    /// Connects to `node`.
    pub async fn open(node: &Node) -> Self {
        Self::at(&node.url()).await
    }

    /// Connects to the node whose WebSocket is at `url`.
    pub async fn at(url: &str) -> Self {
        let (stream, _) = within("connect", connect_async(url)).await.expect("connect");
        Socket { stream, next_id: 1, pushed: std::collections::VecDeque::new() }
    }

    /// Sends `text` as it is.
    pub async fn send(&mut self, text: impl Into<String>) {
        self.stream.send(Message::text(text.into())).await.expect("send");
    }

    /// The next frame; `None` when the connection is over.
    pub async fn frame(&mut self) -> Option<Message> {
        within("a frame", self.stream.next()).await.and_then(Result::ok)
    }

    /// The next text, parsed. Pings are passed over.
    pub async fn text(&mut self) -> Value {
        loop {
            match self.frame().await {
                Some(Message::Text(text)) => return serde_json::from_str(&text).expect("JSON"),
                Some(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("no text but {other:?}"),
            }
        }
    }

    /// Calls a method and returns its whole answer; notifications that come first are kept.
    pub async fn call(&mut self, method: &str, params: Value) -> Value {
        let id = self.next_id;
        self.next_id += 1;
        self.send(json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()).await;
        loop {
            let text = self.text().await;
            if text["id"] == json!(id) {
                return text;
            }
            self.pushed.push_back(text);
        }
    }

    /// Calls a method that must succeed.
    pub async fn ok(&mut self, method: &str, params: Value) -> Value {
        let mut answer = self.call(method, params).await;
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].take()
    }

    /// Calls a method that must fail; returns the error object.
    pub async fn refused(&mut self, method: &str, params: Value) -> Value {
        let mut answer = self.call(method, params).await;
        assert!(answer.get("result").is_none(), "{method}: {answer}");
        answer["error"].take()
    }

    /// The record of the next push. What is told of freshness is passed over.
    pub async fn push(&mut self) -> Value {
        loop {
            let (method, mut params) = self.notification().await;
            match &*method {
                "freshet_subscription" => return params["result"].take(),
                "freshet_freshness" => {}
                other => panic!("no push but {other} {params}"),
            }
        }
    }

    /// What the next notification says of freshness.
    pub async fn freshness(&mut self) -> Value {
        let (method, params) = self.notification().await;
        assert_eq!(method, "freshet_freshness", "{params}");
        params
    }

    /// The next notification: its method and params.
    pub async fn notification(&mut self) -> (String, Value) {
        let mut text = match self.pushed.pop_front() {
            Some(text) => text,
            None => self.text().await,
        };
        (text["method"].as_str().expect("a notification").to_owned(), text["params"].take())
    }
}
