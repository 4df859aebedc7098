//! Accepts connections, speaks HTTP/1.1 on them, and ends them.

use std::{
    io::{self, Write as _},
    pin::pin,
    time::Duration,
};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::{Edge, socket::Socket};
use crate::resilience::Backoff;

/// What one request's line and headers may take: a batch read names its keys in the request line.
const HEAD_BYTES_MAX: usize = 128 * 1024;
/// How long accepting rests when the process has no file descriptor left.
const ACCEPT_REST: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// What a connection above the limit is told.
const FULL: &str = r#"{"error":{"code":-32009,"message":"too many connections","data":{"reason":"overloaded","retry_after_ms":1000}}}"#;

/// Serves `router` on every connection until the edge's stop, and returns when the last one has ended. `sockets` says
/// how many are open.
pub(super) async fn run(listener: TcpListener, router: Router, edge: &Edge, sockets: impl Fn() -> usize) {
    let config = &edge.gateway.config;
    let server = http(config.header_limit);
    let abandoned = CancellationToken::new();
    let _abandon = abandoned.clone().drop_guard();
    let mut rest = Backoff::new(ACCEPT_REST.0, ACCEPT_REST.1);
    while let Some(accepted) = edge.stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((socket, _)) if sockets() >= config.connections_max => {
                edge.gateway.turned_away.inc();
                refuse(socket);
            }
            Ok((socket, _)) => {
                rest.reset();
                let (server, router, stop) = (server.clone(), router.clone(), edge.stop.clone());
                let serving = serve(server, socket, config.send_limit, router, stop);
                let abandoned = abandoned.clone();
                edge.tasks.spawn(async move { abandoned.run_until_cancelled(serving).await });
            }
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "accepting connections rests");
                edge.stop.run_until_cancelled(tokio::time::sleep(rest.next_wait())).await;
            }
        }
    }
    drop(listener);
    edge.tasks.close();
    edge.tasks.wait().await;
}

/// HTTP/1.1 as this edge speaks it.
fn http(header_limit: Duration) -> http1::Builder {
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(header_limit)
        .max_buf_size(HEAD_BYTES_MAX)
        // A client that has said everything may close its half and still read the answer.
        .half_close(true);
    server
}

/// Serves one connection until it ends or is upgraded.
async fn serve(
    server: http1::Builder,
    socket: TcpStream,
    send_limit: Duration,
    router: Router,
    stop: CancellationToken,
) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "a socket was gone before it was served");
        return;
    }
    let socket = TokioIo::new(Socket::new(socket, send_limit));
    let connection = server.serve_connection(socket, TowerToHyperService::new(router)).with_upgrades();
    let mut connection = pin!(connection);
    let ended = match stop.run_until_cancelled(connection.as_mut()).await {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an HTTP connection ended early");
    }
}

/// Says 503 without reading the request, and closes. One attempt that does not wait: the send buffer of a new socket
/// is empty.
fn refuse(socket: TcpStream) {
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{FULL}",
        FULL.len()
    );
    let said = socket.into_std().and_then(|mut socket| socket.write_all(answer.as_bytes()));
    if let Err(error) = said {
        tracing::debug!(%error, "a client above the limit left before it was told");
    }
}

/// Whether an error of `accept` says something of one connection only, and not of the process.
///
/// # Source
/// accept(2), "Error handling".
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
