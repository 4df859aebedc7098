//! The reader task of a connection: every message of one read is looked at, and the answers that are at hand leave
//! in one write.

use std::{
    cell::RefCell,
    future::poll_fn,
    io::{self, Read, Write},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use tokio::{
    io::{AsyncRead as _, ReadBuf},
    net::tcp::OwnedReadHalf,
};
use tungstenite::{
    Error, Message,
    protocol::{Role, WebSocketConfig, WebSocketContext},
};

use super::{Config, Connection, requests};
use crate::protocol::CloseCode;

/// What a thread reads at once from any of its sockets.
const READ_BYTES: usize = 64 * 1024;
/// What a connection's frame parser keeps for a partial frame.
const PARSER_BYTES: usize = 1024;

/// A thread's buffers: connections use them in turn.
struct Buffers {
    input: Box<[u8]>,
    output: Vec<u8>,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> =
        RefCell::new(Buffers { input: vec![0; READ_BYTES].into_boxed_slice(), output: Vec::new() });
}

/// The parser's view of the world: bytes that were read, and a place for its pongs and close frames.
struct Feed<'a> {
    input: &'a [u8],
    output: &'a mut Vec<u8>,
}

impl Read for Feed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.input.read(buffer)
    }
}

impl Write for Feed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a connection to its end.
pub(super) async fn run(connection: Arc<Connection>, socket: OwnedReadHalf, read_ahead: Vec<u8>) {
    let parser = WebSocketContext::new(Role::Server, Some(limits(&connection.shared.config)));
    let mut reader = Reader {
        connection: connection.clone(),
        socket,
        parser,
        state: State::Open,
        rest: None,
        read_at: Instant::now(),
    };
    let _leave = Leave(connection.clone());
    if reader.read_ahead(&read_ahead) {
        connection.ended.run_until_cancelled(poll_fn(|context| reader.poll(context))).await;
    }
}

/// However reading ends, by a panic too, the connection leaves the roster and its topics.
struct Leave(Arc<Connection>);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.leave();
    }
}

fn limits(config: &Config) -> WebSocketConfig {
    let message_max = usize::try_from(config.message_max.as_u64()).unwrap_or(usize::MAX);
    WebSocketConfig::default()
        .read_buffer_size(PARSER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(64 * 1024)
        .max_message_size(Some(message_max))
        .max_frame_size(Some(message_max))
}

struct Reader {
    connection: Arc<Connection>,
    socket: OwnedReadHalf,
    parser: WebSocketContext,
    state: State,
    /// What was read and not looked at when the connection had to pause.
    rest: Option<Vec<u8>>,
    /// When the bytes at hand were read, or taken up again.
    read_at: Instant,
}

/// What is made of the bytes that come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Requests are answered.
    Open,
    /// The parser refused something and must not be asked again. Bytes are dropped until the client hangs up: a
    /// socket closed with bytes unread would be reset, and the close frame with it.
    Deaf,
}

impl Reader {
    /// Looks at bytes that came with the upgrade; false when they already ended the connection.
    fn read_ahead(&mut self, bytes: &[u8]) -> bool {
        self.read_at = self.connection.heard();
        bytes.is_empty() || BUFFERS.with_borrow_mut(|buffers| self.take(bytes, &mut buffers.output))
    }

    /// Ready when the connection is over.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.connection.must_pause(context.waker()) {
                return Poll::Pending;
            }
            let goes_on = BUFFERS.with_borrow_mut(|Buffers { input, output }| {
                if let Some(rest) = self.rest.take() {
                    self.read_at = Instant::now();
                    return Poll::Ready(self.take(&rest, output));
                }
                let mut buffer = ReadBuf::new(input);
                match ready!(Pin::new(&mut self.socket).poll_read(context, &mut buffer)) {
                    Ok(()) if !buffer.filled().is_empty() => {
                        self.read_at = self.connection.heard();
                        Poll::Ready(self.take(buffer.filled(), output))
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
    fn take(&mut self, bytes: &[u8], output: &mut Vec<u8>) -> bool {
        if self.state == State::Deaf {
            return true;
        }
        output.clear();
        let is_closed = self.connection.is_closed();
        let mut feed = Feed { input: bytes, output };
        let end = loop {
            match self.parser.read(&mut feed) {
                // Nothing is begun after our close frame: it could not be answered.
                Ok(Message::Text(_) | Message::Binary(_)) if is_closed => {}
                Ok(Message::Text(text)) => {
                    requests::take(&self.connection, text, self.read_at, feed.output);
                    // One read may bring hundreds of requests, each for a large record.
                    if self.connection.is_full(feed.output.len()) {
                        self.rest = Some(feed.input.to_vec());
                        break End::None;
                    }
                }
                Ok(Message::Binary(_)) => break End::Close(CloseCode::Unsupported),
                Ok(Message::Close(frame)) => {
                    self.connection.closed_by_client(frame.map_or(1005, |frame| frame.code.into()));
                    // The parser has put the answer together; it leaves with the next flush.
                    drop(self.parser.flush(&mut feed));
                    self.connection.close_answered(feed.output);
                    break End::Silent;
                }
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break End::None,
                Err(error) => break end_of(&error),
            }
        };
        drop(self.parser.flush(&mut feed));
        self.connection.send(feed.output);
        match end {
            End::None => true,
            End::Silent => false,
            End::Close(code) => {
                self.state = State::Deaf;
                self.connection.hang_up(code);
                true
            }
        }
    }
}

enum End {
    /// Not yet: more is to come.
    None,
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
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => End::Silent,
        Error::Capacity(_) => End::Close(CloseCode::TooBig),
        Error::Utf8(_) => End::Close(CloseCode::InvalidPayload),
        _ => End::Close(CloseCode::ProtocolError),
    }
}
