//! axum's WebSocket, tuned: a small read buffer, texts shared and not copied, and one flush for all that is at hand.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{
    Router,
    extract::{
        State,
        ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade},
    },
    response::Response,
    routing::get,
};
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::sync::broadcast::{self, error::RecvError};

const READ_BUFFER_BYTES: usize = 8 * 1024;

/// What was said, and how often.
#[derive(Clone)]
struct Said {
    channel: broadcast::Sender<Utf8Bytes>,
    stock: Arc<AtomicU64>,
}

/// A slow watcher may lag so many states behind; then it skips to the oldest of them.
const STATES_KEPT: usize = 64;

/// Serves all three paths.
pub async fn serve(address: &str) {
    let app = Router::new()
        .route("/v1/ws", get(async |ws: WebSocketUpgrade| tuned(ws).on_upgrade(echo)))
        .route("/watch", get(upgrade_watcher))
        .route("/say", get(upgrade_sayer))
        .with_state(Said { channel: broadcast::channel(STATES_KEPT).0, stock: Arc::default() });
    let listener = tokio::net::TcpListener::bind(address).await.expect("bind");
    let listener = axum::serve::ListenerExt::tap_io(listener, |tcp| drop(tcp.set_nodelay(true)));
    axum::serve(listener, app).await.expect("serve");
}

async fn upgrade_watcher(ws: WebSocketUpgrade, State(said): State<Said>) -> Response {
    tuned(ws).on_upgrade(move |socket| watch(socket, said))
}

async fn upgrade_sayer(ws: WebSocketUpgrade, State(said): State<Said>) -> Response {
    tuned(ws).on_upgrade(|socket| say(socket, said))
}

fn tuned(ws: WebSocketUpgrade) -> WebSocketUpgrade {
    ws.read_buffer_size(READ_BUFFER_BYTES)
}

async fn echo(mut socket: WebSocket) {
    let answer: Utf8Bytes = super::answer().into();
    while let Some(Ok(Message::Text(_))) = socket.next().await {
        drop(socket.feed(Message::Text(answer.clone())).await);
        while let Some(Some(Ok(Message::Text(_)))) = socket.next().now_or_never() {
            drop(socket.feed(Message::Text(answer.clone())).await);
        }
        if socket.flush().await.is_err() {
            return;
        }
    }
}

async fn watch(mut socket: WebSocket, said: Said) {
    let _subscribe = socket.next().await;
    let (mut states, stock) = (said.channel.subscribe(), said.stock.load(Ordering::SeqCst));
    drop(socket.feed(Message::Text(super::SUBSCRIBED.into())).await);
    drop(socket.send(Message::Text(super::push(stock).into())).await);
    loop {
        match states.recv().await {
            Ok(text) => drop(socket.feed(Message::Text(text)).await),
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        }
        while let Ok(text) = states.try_recv() {
            drop(socket.feed(Message::Text(text)).await);
        }
        if socket.flush().await.is_err() {
            return;
        }
    }
}

async fn say(mut socket: WebSocket, said: Said) {
    while let Some(Ok(Message::Text(patch))) = socket.next().await {
        let stock = said.stock.fetch_add(1, Ordering::SeqCst) + 1;
        drop(said.channel.send(super::push(stock).into()));
        drop(socket.send(Message::Text(super::patched(&patch).into())).await);
    }
}
