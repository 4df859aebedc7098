//! axum's WebSocket as its documentation shows it: one message, one answer, one flush.

use axum::{
    Router,
    extract::ws::{Message, WebSocket, WebSocketUpgrade},
    routing::get,
};

/// Serves `/v1/ws`.
pub async fn serve(address: &str) {
    let app = Router::new().route("/v1/ws", get(async |ws: WebSocketUpgrade| ws.on_upgrade(echo)));
    let listener = tokio::net::TcpListener::bind(address).await.expect("bind");
    let listener = axum::serve::ListenerExt::tap_io(listener, |tcp| drop(tcp.set_nodelay(true)));
    axum::serve(listener, app).await.expect("serve");
}

async fn echo(mut socket: WebSocket) {
    let answer = super::answer();
    while let Some(Ok(Message::Text(_))) = socket.recv().await {
        if socket.send(Message::Text(answer.clone().into())).await.is_err() {
            return;
        }
    }
}
