//! The yardstick: axum's own WebSocket, tuned (small read buffer, answers fed and flushed in batches), that answers
//! every message with fixed bytes and broadcasts them on demand.

use std::sync::Arc;

use axum::{
    Router,
    extract::{
        State,
        ws::{Message, WebSocket, WebSocketUpgrade},
    },
    routing::get,
};
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::sync::broadcast;

/// The reply, about what a `get` of the measured records answers.
const REPLY_BYTES: usize = 600;

/// Serves until the process is killed: `/v1/ws` echoes, `/watch` receives broadcasts, each message to `/say` is one.
pub async fn serve(address: &str) {
    let (say, _) = broadcast::channel::<axum::extract::ws::Utf8Bytes>(64);
    let app = Router::new()
        .route("/v1/ws", get(|ws: WebSocketUpgrade| async { tuned(ws).on_upgrade(echo) }))
        .route("/watch", get(watch_route))
        .route("/say", get(say_route))
        .with_state(Arc::new(say));
    let listener = tokio::net::TcpListener::bind(address).await.expect("bind");
    let app = axum::serve(axum::serve::ListenerExt::tap_io(listener, |tcp| drop(tcp.set_nodelay(true))), app);
    app.await.expect("serve");
}

type Say = Arc<broadcast::Sender<axum::extract::ws::Utf8Bytes>>;

async fn watch_route(ws: WebSocketUpgrade, State(say): State<Say>) -> axum::response::Response {
    let receiver = say.subscribe();
    tuned(ws).on_upgrade(|socket| watch(socket, receiver))
}

async fn say_route(ws: WebSocketUpgrade, State(say): State<Say>) -> axum::response::Response {
    tuned(ws).on_upgrade(|mut socket| async move {
        let reply: axum::extract::ws::Utf8Bytes = "x".repeat(REPLY_BYTES).into();
        while let Some(Ok(_)) = socket.next().await {
            drop(say.send(reply.clone()));
            drop(socket.send(Message::Text("ok".into())).await);
        }
    })
}

fn tuned(ws: WebSocketUpgrade) -> WebSocketUpgrade {
    ws.read_buffer_size(8 * 1024)
}

async fn echo(mut socket: WebSocket) {
    let reply: axum::extract::ws::Utf8Bytes = "x".repeat(REPLY_BYTES).into();
    while let Some(Ok(Message::Text(_))) = socket.next().await {
        if socket.feed(Message::Text(reply.clone())).await.is_err() {
            return;
        }
        while let Some(Some(Ok(Message::Text(_)))) = socket.next().now_or_never() {
            drop(socket.feed(Message::Text(reply.clone())).await);
        }
        drop(socket.flush().await);
    }
}

async fn watch(mut socket: WebSocket, mut said: broadcast::Receiver<axum::extract::ws::Utf8Bytes>) {
    loop {
        match said.recv().await {
            Ok(text) => drop(socket.feed(Message::Text(text)).await),
            Err(broadcast::error::RecvError::Lagged(_)) => continue,
            Err(broadcast::error::RecvError::Closed) => return,
        }
        while let Ok(text) = said.try_recv() {
            drop(socket.feed(Message::Text(text)).await);
        }
        if socket.flush().await.is_err() {
            return;
        }
    }
}
