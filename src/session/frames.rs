//! From a client's bytes to its messages.
//!
//! What nearly all clients send, whole text messages in one frame each, is read here, in place. Everything else
//! (fragments, pings, closes, and whatever breaks the protocol) is tungstenite's, whose state is kept only while it has
//! something to remember: an idle connection has none.

use std::{
    io::{self, Cursor, Read, Write},
    mem,
};

use tungstenite::{
    Error, Message,
    error::{CapacityError, ProtocolError},
    protocol::{
        Role, WebSocketConfig, WebSocketContext,
        frame::{
            FrameHeader,
            coding::{Data, OpCode},
        },
    },
};

/// What tungstenite's parser reads at once; it is handed one frame at a time.
const PARSER_BYTES: usize = 1024;

/// A message that a client has sent.
pub(super) enum Incoming<'a> {
    /// Text in one frame, unmasked where it lay.
    Text(&'a str),
    /// Any other message.
    Other(Message),
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

/// A whole frame at the beginning of some bytes.
struct Begun {
    header: FrameHeader,
    header_len: usize,
    mask: [u8; 4],
    whole_len: usize,
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
    /// What breaks the protocol or a limit, as tungstenite names it; nothing may be asked after it.
    pub(super) fn next<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        output: &mut Vec<u8>,
    ) -> Result<Option<Incoming<'a>>, Error> {
        while let Some(begun) = self.begin(input)? {
            let (frame, rest) = mem::take(input).split_at_mut(begun.whole_len);
            *input = rest;
            if self.parser.is_none() && is_whole_text(&begun.header) {
                let payload = &mut frame[begun.header_len..];
                unmask(payload, begun.mask);
                let text = str::from_utf8(payload).map_err(|error| Error::Utf8(error.to_string()))?;
                return Ok(Some(Incoming::Text(text)));
            }
            if let OpCode::Data(_) = begun.header.opcode {
                self.is_fragmented = !begun.header.is_final;
            }
            if let Some(message) = self.parse(frame, output)? {
                return Ok(Some(Incoming::Other(message)));
            }
        }
        Ok(None)
    }

    /// The frame that `bytes` begin with, once it is there as a whole.
    fn begin(&self, bytes: &[u8]) -> Result<Option<Begun>, Error> {
        let mut cursor = Cursor::new(bytes);
        let Some((header, payload_len)) = FrameHeader::parse(&mut cursor)? else { return Ok(None) };
        let (size, max_size) = (usize::try_from(payload_len).unwrap_or(usize::MAX), self.message_max());
        if size > max_size {
            return Err(Error::Capacity(CapacityError::MessageTooLong { size, max_size }));
        }
        let Some(mask) = header.mask else { return Err(Error::Protocol(ProtocolError::UnmaskedFrameFromClient)) };
        let header_len = usize::try_from(cursor.position()).expect("a header has at most 14 bytes");
        let whole_len = header_len + size;
        Ok((bytes.len() >= whole_len).then_some(Begun { header, header_len, mask, whole_len }))
    }

    fn message_max(&self) -> usize {
        self.config.max_message_size.unwrap_or(usize::MAX)
    }

    /// Hands one frame to tungstenite; `None` when it completes no message.
    fn parse(&mut self, frame: &[u8], output: &mut Vec<u8>) -> Result<Option<Message>, Error> {
        let config = self.config;
        let mut parser =
            self.parser.take().unwrap_or_else(|| Box::new(WebSocketContext::new(Role::Server, Some(config))));
        let mut feed = Feed { input: frame, output };
        let read = parser.read(&mut feed);
        // Pongs and the answer to a close leave with the next flush.
        drop(parser.flush(&mut feed));
        let message = match read {
            Ok(message) => Some(message),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => return Err(error),
        };
        if self.is_fragmented || matches!(message, Some(Message::Close(_))) {
            self.parser = Some(parser);
        }
        Ok(message)
    }
}

fn is_whole_text(header: &FrameHeader) -> bool {
    let is_extended = header.rsv1 || header.rsv2 || header.rsv3;
    header.is_final && !is_extended && header.opcode == OpCode::Data(Data::Text)
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

/// Takes a client's mask off.
///
/// # Source
/// RFC 6455, section 5.3, eight bytes at a time.
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let wide = u64::from_ne_bytes([mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3]]);
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tungstenite::protocol::frame::coding::Control;

    use super::*;

    const MESSAGE_MAX: usize = 300;

    /// What came of some bytes: messages, answers to control frames, and what was refused.
    #[derive(Debug, PartialEq)]
    struct Outcome {
        messages: Vec<Message>,
        answers: Vec<u8>,
        refused: Option<String>,
    }

    fn kind(error: &Error) -> String {
        match error {
            Error::Utf8(_) => "utf8".into(),
            Error::Capacity(_) => "capacity".into(),
            Error::Protocol(_) => "protocol".into(),
            other => other.to_string(),
        }
    }

    /// `bytes` through [`Frames`], in pieces of `lens`.
    fn read(bytes: &[u8], lens: &[usize]) -> Outcome {
        let mut frames = Frames::new(MESSAGE_MAX);
        let mut outcome = Outcome { messages: Vec::new(), answers: Vec::new(), refused: None };
        let (mut rest, mut lens) = (bytes, lens.iter().cycle());
        while !rest.is_empty() && outcome.refused.is_none() && !ends(&outcome) {
            let (piece, behind) = rest.split_at((*lens.next().expect("there are lens")).clamp(1, rest.len()));
            rest = behind;
            frames.with(&mut piece.to_vec(), |frames, input| {
                loop {
                    match frames.next(input, &mut outcome.answers) {
                        Ok(None) => break,
                        Ok(Some(Incoming::Text(text))) => outcome.messages.push(Message::text(text)),
                        Ok(Some(Incoming::Other(message))) => outcome.messages.push(message),
                        Err(error) => outcome.refused = Some(kind(&error)),
                    }
                    if ends(&outcome) || outcome.refused.is_some() {
                        break;
                    }
                }
            });
        }
        outcome
    }

    /// `bytes` through tungstenite alone.
    fn expected(bytes: &[u8]) -> Outcome {
        let mut parser = WebSocketContext::new(Role::Server, Some(Frames::new(MESSAGE_MAX).config));
        let mut outcome = Outcome { messages: Vec::new(), answers: Vec::new(), refused: None };
        let mut feed = Feed { input: bytes, output: &mut outcome.answers };
        while !outcome.messages.last().is_some_and(Message::is_close) {
            match parser.read(&mut feed) {
                Ok(message) => outcome.messages.push(message),
                Err(Error::Io(_)) => break,
                Err(error) => {
                    outcome.refused = Some(kind(&error));
                    break;
                }
            }
        }
        drop(parser.flush(&mut feed));
        outcome
    }

    fn ends(outcome: &Outcome) -> bool {
        outcome.messages.last().is_some_and(Message::is_close)
    }

    /// A frame as clients send it, now and then broken.
    fn frame() -> impl Strategy<Value = Vec<u8>> {
        let opcode = prop_oneof![
            6 => Just(OpCode::Data(Data::Text)),
            1 => Just(OpCode::Data(Data::Binary)),
            3 => Just(OpCode::Data(Data::Continue)),
            2 => Just(OpCode::Control(Control::Ping)),
            1 => Just(OpCode::Control(Control::Pong)),
            1 => Just(OpCode::Control(Control::Close)),
        ];
        let payload = prop_oneof![
            6 => "[a-z\u{e9}\u{20ac}]{0,70}".prop_map(String::into_bytes),
            1 => prop::collection::vec(any::<u8>(), 0..320),
        ];
        let head = (any::<[u8; 4]>(), prop::bool::weighted(0.7), prop::bool::weighted(0.98), 0..60_u8);
        (opcode, payload, head).prop_map(|(opcode, payload, (mask, is_final, is_masked, rsv))| {
            let mask = is_masked.then_some(mask);
            client_frame(FrameHeader { is_final, rsv2: rsv == 0, opcode, mask, ..FrameHeader::default() }, &payload)
        })
    }

    fn client_frame(header: FrameHeader, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        header.format(payload.len() as u64, &mut bytes).expect("a vector takes it");
        let mask = header.mask.unwrap_or_default();
        bytes.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]));
        bytes
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn whatever_is_sent_is_read_as_tungstenite_reads_it(
            sent in prop::collection::vec(frame(), 1..8),
            lens in prop::collection::vec(1..200_usize, 1..6),
        ) {
            let sent = sent.concat();
            let (read, expected) = (read(&sent, &lens), expected(&sent));
            // A frame that is refused for its header may be refused before the rest of it has come.
            if read.refused.is_some() && expected.refused.is_none() {
                prop_assert_eq!(read.messages, expected.messages);
            } else {
                prop_assert_eq!(read, expected);
            }
        }

        #[test]
        fn unmasking_is_what_the_standard_says(payload in prop::collection::vec(any::<u8>(), 0..40), mask: [u8; 4]) {
            let expected: Vec<_> = payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]).collect();
            let mut unmasked = payload;
            unmask(&mut unmasked, mask);
            prop_assert_eq!(unmasked, expected);
        }
    }

    #[test]
    fn nothing_is_held_between_messages() {
        let mut frames = Frames::new(MESSAGE_MAX);
        let opcode = OpCode::Control(Control::Ping);
        let mut ping =
            client_frame(FrameHeader { opcode, mask: Some([1, 2, 3, 4]), ..FrameHeader::default() }, b"there?");
        let mut answers = Vec::new();
        frames.with(&mut ping, |frames, input| while frames.next(input, &mut answers).expect("valid").is_some() {});
        assert_eq!(answers, b"\x8a\x06there?");
        assert!(frames.parser.is_none() && frames.held.capacity() == 0);
    }
}
