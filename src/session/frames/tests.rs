//! Frames beside what tungstenite makes of them.

use proptest::prelude::*;
use tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Control, Data, OpCode},
};

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
        Error::Parser(tungstenite::Error::Utf8(_)) => "utf8".into(),
        Error::Parser(tungstenite::Error::Capacity(_)) => "capacity".into(),
        Error::Parser(tungstenite::Error::Protocol(_)) | Error::LongLength => "protocol".into(),
        Error::Parser(other) => other.to_string(),
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

/// `frames` through tungstenite alone, but for the one thing that it lets pass: a length in more bytes than it needs
/// is refused, if what comes before it has not been the end.
fn expected(frames: &[Sent]) -> Outcome {
    let minimal: Vec<_> = frames.iter().take_while(|frame| frame.is_minimal).collect();
    let bytes: Vec<_> = minimal.iter().flat_map(|frame| &frame.bytes).copied().collect();
    let mut outcome = by_tungstenite(&bytes);
    if minimal.len() < frames.len() && outcome.refused.is_none() && !ends(&outcome) {
        outcome.refused = Some(kind(&Error::LongLength));
    }
    outcome
}

fn by_tungstenite(bytes: &[u8]) -> Outcome {
    let mut parser = WebSocketContext::new(Role::Server, Some(Frames::new(MESSAGE_MAX).config));
    let mut outcome = Outcome { messages: Vec::new(), answers: Vec::new(), refused: None };
    let mut feed = Feed { input: bytes, output: &mut outcome.answers };
    while !outcome.messages.last().is_some_and(Message::is_close) {
        match parser.read(&mut feed) {
            Ok(message) => outcome.messages.push(message),
            Err(tungstenite::Error::Io(_)) => break,
            Err(error) => {
                outcome.refused = Some(kind(&error.into()));
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

/// A frame, and whether its length takes as few bytes as it needs.
#[derive(Clone, Debug)]
struct Sent {
    bytes: Vec<u8>,
    is_minimal: bool,
}

/// A frame as clients send it, now and then broken.
fn frame() -> impl Strategy<Value = Sent> {
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
    let is_minimal = prop::bool::weighted(0.97);
    (opcode, payload, head, is_minimal).prop_map(|(opcode, payload, (mask, is_final, is_masked, rsv), is_minimal)| {
        // What comes first is what is refused: an unmasked frame is, whatever its length looks like.
        let mask = (is_masked || !is_minimal).then_some(mask);
        let header = FrameHeader { is_final, rsv2: rsv == 0, opcode, mask, ..FrameHeader::default() };
        let bytes = client_frame(header, &payload);
        let is_too_long = payload.len() > MESSAGE_MAX;
        match is_minimal || is_too_long {
            true => Sent { bytes, is_minimal: true },
            false => Sent { bytes: with_long_length(&bytes, payload.len()), is_minimal: false },
        }
    })
}

/// The same frame, with its length in eight bytes.
fn with_long_length(frame: &[u8], payload_len: usize) -> Vec<u8> {
    let behind_length = if payload_len < 126 { 2 } else { 4 };
    let (is_masked, len) = (frame[1] & 0x80, payload_len as u64);
    [&[frame[0], is_masked | 127], &len.to_be_bytes()[..], &frame[behind_length..]].concat()
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
        let bytes: Vec<_> = sent.iter().flat_map(|frame| &frame.bytes).copied().collect();
        let (read, expected) = (read(&bytes, &lens), expected(&sent));
        // A frame that is refused for its header may be refused before the rest of it has come.
        if read.refused.is_some() && expected.refused.is_none() {
            prop_assert_eq!(read.messages, expected.messages);
        } else {
            prop_assert_eq!(read, expected);
        }
    }
}

#[test]
fn nothing_is_held_between_messages() {
    let mut frames = Frames::new(MESSAGE_MAX);
    let opcode = OpCode::Control(Control::Ping);
    let mut ping = client_frame(FrameHeader { opcode, mask: Some([1, 2, 3, 4]), ..FrameHeader::default() }, b"there?");
    let mut answers = Vec::new();
    frames.with(&mut ping, |frames, input| while frames.next(input, &mut answers).expect("valid").is_some() {});
    assert_eq!(answers, b"\x8a\x06there?");
    assert!(frames.parser.is_none() && frames.held.capacity() == 0);
}
