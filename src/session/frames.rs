//! From a client's bytes to its messages.
//!
//! What nearly all clients send, whole text messages in one frame each, is read here, in place. Everything else
//! (fragments, pings, closes, and whatever breaks the protocol) is tungstenite's, whose state is kept only while it has
//! something to remember: an idle connection has none. For those text frames tungstenite's parser took a third of a get's time
//! in the process, and 1 KiB of each idle connection. `whatever_is_sent_is_read_as_tungstenite_reads_it` compares the two on
//! frames good and bad, cut anywhere.

mod header;

use std::{
    io::{self, Read, Write},
    mem,
};

use tungstenite::{
    Message,
    protocol::{Role, WebSocketConfig, WebSocketContext},
};

use self::header::Header;

/// What tungstenite's parser reads at once; it is handed one frame at a time.
const PARSER_BYTES: usize = 1024;

/// A message that a client has sent.
pub(super) enum Incoming<'a> {
    /// Text in one frame, unmasked where it lay.
    Text(&'a str),
    /// Any other message.
    Other(Message),
}

/// Why nothing more can be read from a client.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// A frame's length is encoded in more bytes than it needs.
    #[error("a frame's length takes more bytes than it needs")]
    LongLength,
    /// Anything else that breaks the protocol or a limit.
    #[error(transparent)]
    Parser(#[from] tungstenite::Error),
}

/// The receiving side of one connection.
pub(super) struct Frames {
    config: WebSocketConfig,
    /// The beginning of what is to come: a frame that is not complete yet, or frames that had to wait.
    held: Vec<u8>,
    /// There while a fragmented message is under way, and after a close.
    parser: Option<Box<WebSocketContext>>,
    /// The last data frame was not the final one of its message.
    is_fragmented: bool,
}

impl Frames {
    /// Messages may have up to `message_max` bytes.
    pub(super) fn new(message_max: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(PARSER_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(64 * 1024)
            .max_message_size(Some(message_max))
            .max_frame_size(Some(message_max));
        Frames { config, held: Vec::new(), parser: None, is_fragmented: false }
    }

    /// Runs `work` on what was held back and `bytes` behind it; what it leaves is held back.
    pub(super) fn with<R>(&mut self, bytes: &mut [u8], work: impl FnOnce(&mut Self, &mut &mut [u8]) -> R) -> R {
        let mut held = mem::take(&mut self.held);
        if held.is_empty() {
            let mut input = bytes;
            let result = work(self, &mut input);
            self.held = input.to_vec();
            return result;
        }
        held.extend_from_slice(bytes);
        let mut input = &mut held[..];
        let result = work(self, &mut input);
        let left = input.len();
        held.drain(..held.len() - left);
        self.held = if left == 0 { Vec::new() } else { held };
        result
    }

    /// The next message in `input`, which moves past it; `None` when there is no whole one. Answers to pings and closes
    /// are written to `output`.
    ///
    /// # Errors
    /// What breaks the protocol or a limit; nothing may be asked after it.
    pub(super) fn next<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        output: &mut Vec<u8>,
    ) -> Result<Option<Incoming<'a>>, Error> {
        while let Some(header) = Header::read(input, self.message_max())? {
            let (frame, rest) = mem::take(input).split_at_mut(header.frame_len);
            *input = rest;
            if self.parser.is_none() && header.is_whole_text() {
                let payload = &mut frame[header.len..];
                header.unmask(payload);
                let text = str::from_utf8(payload).map_err(|error| tungstenite::Error::Utf8(error.to_string()))?;
                return Ok(Some(Incoming::Text(text)));
            }
            self.is_fragmented = header.goes_on().unwrap_or(self.is_fragmented);
            if let Some(message) = self.parse(frame, output)? {
                return Ok(Some(Incoming::Other(message)));
            }
        }
        Ok(None)
    }

    fn message_max(&self) -> usize {
        self.config.max_message_size.unwrap_or(usize::MAX)
    }

    /// Hands one frame to tungstenite; `None` when it completes no message.
    fn parse(&mut self, frame: &[u8], output: &mut Vec<u8>) -> Result<Option<Message>, tungstenite::Error> {
        let config = self.config;
        let mut parser =
            self.parser.take().unwrap_or_else(|| Box::new(WebSocketContext::new(Role::Server, Some(config))));
        let mut feed = Feed { input: frame, output };
        let read = parser.read(&mut feed);
        // Pongs and the answer to a close leave with the next flush.
        drop(parser.flush(&mut feed));
        let message = match read {
            Ok(message) => Some(message),
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => return Err(error),
        };
        if self.is_fragmented || matches!(message, Some(Message::Close(_))) {
            self.parser = Some(parser);
        }
        Ok(message)
    }
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

#[cfg(test)]
mod tests;
