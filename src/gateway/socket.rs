//! A client's socket, which fails when the client takes nothing for too long.
//!
//! `tokio-io-timeout` does the same, but can only be pinned, so that a socket could not be taken out of it again for a
//! WebSocket; and it holds a timer for each connection, where this one makes it when a write is held up.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Sleep,
};

/// A socket with a limit for the time in which it takes nothing that is written.
pub(super) struct Socket {
    stream: TcpStream,
    send_limit: Duration,
    /// Runs while a write is held up.
    held_up: Option<Pin<Box<Sleep>>>,
}

impl Socket {
    /// `stream`, on which a write fails that is held up for `send_limit`.
    pub(super) fn new(stream: TcpStream, send_limit: Duration) -> Self {
        Socket { stream, send_limit, held_up: None }
    }

    /// The socket without the limit.
    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// `written`, or an error when it has been pending for too long.
    fn limit<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.held_up = None;
            return written;
        }
        let limit = self.send_limit;
        let held_up = self.held_up.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        held_up.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.limit(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.limit(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
