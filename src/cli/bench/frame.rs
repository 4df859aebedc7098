//! WebSocket frames by hand: those a client sends, and just enough of those it receives to count and read them.
//!
//! # Source
//! RFC 6455, section 5.2.

/// A text message.
pub(super) const TEXT: u8 = 1;
/// The server ends the connection.
pub(super) const CLOSE: u8 = 8;
/// The server asks whether we live.
pub(super) const PING: u8 = 9;
/// The answer to that.
pub(super) const PONG: u8 = 10;

/// A frame that was received whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    /// Whether a message ends here; a server may cut one into several frames.
    pub(super) is_final: bool,
    pub(super) opcode: u8,
    pub(super) payload: &'a [u8],
}

/// The frame that `bytes` begin with, and its length with the header; `None` when it is not there whole.
pub(super) fn first(bytes: &[u8]) -> Option<(Frame<'_>, usize)> {
    let (head, len) = match (*bytes.get(1)?, bytes.len()) {
        (126, 4..) => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
        (127, 10..) => (10, usize::try_from(u64::from_be_bytes(bytes[2..10].try_into().ok()?)).ok()?),
        (126 | 127, _) => return None,
        (short, _) => (2, usize::from(short)),
    };
    let end = head + len;
    let payload = bytes.get(head..end)?;
    Some((Frame { is_final: bytes[0] & 0x80 != 0, opcode: bytes[0] & 0x0f, payload }, end))
}

/// Appends a frame as a client sends it. The mask is all zeros: it costs the server what any mask does, and us nothing.
pub(super) fn masked(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.push(0x80 | opcode);
    match payload.len() {
        len @ 0..126 => out.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_when_it_is_there_whole() {
        for len in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![b'x'; len];
            let mut bytes = Vec::new();
            masked(&mut bytes, TEXT, &payload);
            // As a server sends it: without the mask's bit and its four bytes.
            bytes[1] &= 0x7f;
            let head = bytes.len() - len - 4;
            bytes.drain(head..head + 4);
            assert_eq!(first(&bytes), Some((Frame { is_final: true, opcode: TEXT, payload: &payload }, bytes.len())));
            for missing in 1..=bytes.len().min(12) {
                assert_eq!(first(&bytes[..bytes.len() - missing]), None, "{len} without {missing}");
            }
        }
    }

    #[test]
    fn what_follows_a_frame_is_left() {
        let bytes = [0x81, 2, b'h', b'i', 0x8a, 0];
        let (frame, len) = first(&bytes).expect("a frame");
        assert_eq!((frame.payload, len), (&b"hi"[..], 4));
        assert_eq!(first(&bytes[len..]).map(|(frame, len)| (frame.opcode, len)), Some((PONG, 2)));
    }
}
