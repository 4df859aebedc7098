//! The reader task of a connection: every message of one read is looked at, and the answers that are at hand leave
//! in one write.

use std::{
    cell::RefCell,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use tokio::{
    io::{AsyncRead as _, ReadBuf},
    net::tcp::OwnedReadHalf,
};
use tungstenite::Message;

use super::{
    Connection,
    frames::{Error, Frames, Incoming},
    requests,
};
use crate::protocol::CloseCode;

/// What a thread reads at once from any of its sockets.
const READ_BYTES: usize = 64 * 1024;

/// A thread's buffers: connections use them in turn.
struct Buffers {
    input: Box<[u8]>,
    output: Vec<u8>,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> =
        RefCell::new(Buffers { input: vec![0; READ_BYTES].into_boxed_slice(), output: Vec::new() });
}

/// Reads a connection to its end.
pub(super) async fn run(connection: Arc<Connection>, socket: OwnedReadHalf, read_ahead: Vec<u8>) {
    let message_max = connection.shared.config.message_max.as_u64();
    let frames = Frames::new(usize::try_from(message_max).unwrap_or(usize::MAX));
    let mut reader =
        Reader { connection: connection.clone(), socket, frames, state: State::Open, read_at: Instant::now() };
    let _leave = Leave(connection.clone());
    if reader.read_ahead(read_ahead) {
        connection.ended.run_until_cancelled(poll_fn(|context| reader.poll(context))).await;
    }
}

/// However reading ends, by a panic too, the connection leaves the registry and its topics.
struct Leave(Arc<Connection>);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.leave();
    }
}

struct Reader {
    connection: Arc<Connection>,
    socket: OwnedReadHalf,
    frames: Frames,
    state: State,
    /// When the bytes at hand were read, or taken up again.
    read_at: Instant,
}

/// What is made of the bytes that come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Requests are answered.
    Open,
    /// The connection had to pause; what was read before comes first.
    Paused,
    /// Something was refused, and nothing behind it can be understood. Bytes are dropped until the client hangs up: a
    /// socket closed with bytes unread would be reset, and the close frame with it.
    Deaf,
}

impl Reader {
    /// Looks at bytes that came with the upgrade; false when they already ended the connection.
    fn read_ahead(&mut self, mut bytes: Vec<u8>) -> bool {
        self.read_at = self.connection.heard();
        BUFFERS.with_borrow_mut(|buffers| self.take(&mut bytes, &mut buffers.output))
    }

    /// Ready when the connection is over.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.connection.must_pause(context.waker()) {
                return Poll::Pending;
            }
            let goes_on = BUFFERS.with_borrow_mut(|Buffers { input, output }| {
                if self.state == State::Paused {
                    self.state = State::Open;
                    self.read_at = Instant::now();
                    return Poll::Ready(self.take(&mut [], output));
                }
                let mut buffer = ReadBuf::new(input);
                match ready!(Pin::new(&mut self.socket).poll_read(context, &mut buffer)) {
                    Ok(()) if !buffer.filled().is_empty() => {
                        self.read_at = self.connection.heard();
                        Poll::Ready(self.take(buffer.filled_mut(), output))
                    }
                    _ => Poll::Ready(false),
                }
            });
            if !ready!(goes_on) {
                return Poll::Ready(());
            }
        }
    }

    /// Handles every message that `bytes` complete, or as many as the connection's limits let begin; false when the
    /// connection is over.
    fn take(&mut self, bytes: &mut [u8], output: &mut Vec<u8>) -> bool {
        if self.state == State::Deaf {
            return true;
        }
        output.clear();
        let Reader { connection, frames, read_at, .. } = self;
        let end = frames.with(bytes, |frames, input| answer_all(connection, frames, *read_at, input, output));
        connection.send(output);
        match end {
            End::None => true,
            End::Pause => {
                self.state = State::Paused;
                true
            }
            End::Silent => false,
            End::Close(code) => {
                self.state = State::Deaf;
                self.connection.hang_up(code);
                true
            }
        }
    }
}

/// Looks at every message in `input`; the answers that are at hand are written to `output`.
fn answer_all(
    connection: &Arc<Connection>,
    frames: &mut Frames,
    read_at: Instant,
    input: &mut &mut [u8],
    output: &mut Vec<u8>,
) -> End {
    let is_closed = connection.is_closed();
    loop {
        match frames.next(input, output) {
            Ok(None) => return End::None,
            // Nothing is begun after our close frame: it could not be answered.
            Ok(Some(Incoming::Text(_) | Incoming::Other(Message::Text(_) | Message::Binary(_)))) if is_closed => {}
            Ok(Some(Incoming::Text(text))) => requests::take(connection, text, read_at, output),
            Ok(Some(Incoming::Other(Message::Text(text)))) => requests::take(connection, &text, read_at, output),
            Ok(Some(Incoming::Other(Message::Binary(_)))) => return End::Close(CloseCode::Unsupported),
            Ok(Some(Incoming::Other(Message::Close(frame)))) => {
                connection.closed_by_client(frame.map_or(1005, |frame| frame.code.into()));
                connection.close_answered(output);
                return End::Silent;
            }
            Ok(Some(Incoming::Other(_))) => {}
            Err(error) => return end_of(&error),
        }
        // One read may bring hundreds of requests, each for a large record.
        if connection.is_full(output.len()) {
            return End::Pause;
        }
    }
}

enum End {
    /// Not yet: more is to come.
    None,
    /// Nor that, but there is more to do than the connection's limits allow now.
    Pause,
    /// Both sides have closed.
    Silent,
    /// We close, with this code.
    Close(CloseCode),
}

/// The close code for what the parser refused.
///
/// # Source
/// RFC 6455, section 7.4.1.
fn end_of(error: &Error) -> End {
    use tungstenite::Error::{AlreadyClosed, Capacity, ConnectionClosed, Utf8};
    match error {
        Error::Parser(ConnectionClosed | AlreadyClosed) => End::Silent,
        Error::Parser(Capacity(_)) => End::Close(CloseCode::TooBig),
        Error::Parser(Utf8(_)) => End::Close(CloseCode::InvalidPayload),
        Error::Parser(_) | Error::LongLength => End::Close(CloseCode::ProtocolError),
    }
}
