//! A server of a few lines that does exactly what a test tells it to, for tests of the client and of programs that use it.
//!
//! Every function panics where the client does not do in time what the test expects.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, accept_async,
    tungstenite::{Message, protocol::CloseFrame},
};

const LIMIT: Duration = Duration::from_secs(5);

/// Listens on a port of this machine.
pub struct Server(TcpListener);

impl Server {
    /// A server, and the URL that clients connect to.
    pub async fn start() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("ws://{}/v1/ws", listener.local_addr().expect("bound"));
        (Server(listener), url)
    }

    /// The next client.
    pub async fn accept(&self) -> Peer {
        let (socket, _) = timeout(LIMIT, self.0.accept()).await.expect("a client in time").expect("a connection");
        Peer(accept_async(socket).await.expect("an upgrade"))
    }
}

/// One connection, seen from the server.
pub struct Peer(WebSocketStream<TcpStream>);

impl Peer {
    /// The next request: its id, method and params. `None` when the client has closed.
    pub async fn request(&mut self) -> Option<(Value, String, Value)> {
        loop {
            match timeout(LIMIT, self.0.next()).await.expect("a message in time") {
                Some(Ok(Message::Text(text))) => {
                    let mut request: Value = serde_json::from_str(&text).expect("JSON");
                    let method = request["method"].as_str().expect("a method").to_owned();
                    return Some((request["id"].take(), method, request["params"].take()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// The next request, which must call `method`: its id and params.
    pub async fn expect(&mut self, method: &str) -> (Value, Value) {
        let (id, called, params) = self.request().await.expect("a request");
        assert_eq!(called, method);
        (id, params)
    }

    /// Sends a message.
    pub async fn say(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.expect("a client that reads");
    }

    /// Answers the request `id`.
    pub async fn answer(&mut self, id: Value, result: Value) {
        self.say(json!({"jsonrpc": "2.0", "id": id, "result": result})).await;
    }

    /// Refuses the request `id`.
    pub async fn refuse(&mut self, id: Value, code: i32, data: Value) {
        let error = json!({"code": code, "message": "no", "data": data});
        self.say(json!({"jsonrpc": "2.0", "id": id, "error": error})).await;
    }

    /// Sends a state to a subscription.
    pub async fn push(&mut self, subscription: &str, state: Value) {
        let params = json!({"subscription": subscription, "result": state});
        self.say(json!({"jsonrpc": "2.0", "method": "freshet_subscription", "params": params})).await;
    }

    /// Closes, and waits for the client to do so.
    pub async fn close(mut self, code: u16) {
        let frame = CloseFrame { code: code.into(), reason: "".into() };
        self.0.close(Some(frame)).await.expect("a close");
        while self.request().await.is_some() {}
    }
}
