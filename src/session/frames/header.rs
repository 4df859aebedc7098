//! The head of a frame from a client, and its mask.

use std::io::Cursor;

use tungstenite::{
    error::{CapacityError, ProtocolError},
    protocol::frame::{
        FrameHeader,
        coding::{Data, OpCode},
    },
};

use super::Error;

/// The head of a frame that is there as a whole.
pub(super) struct Header {
    fields: FrameHeader,
    mask: [u8; 4],
    /// Where the payload begins.
    pub len: usize,
    /// Where the frame ends.
    pub frame_len: usize,
}

impl Header {
    /// The head of the frame that `bytes` begin with; `None` until all of the frame is there.
    ///
    /// # Errors
    /// What can be refused before the payload has come: a length above `message_max`, one in more bytes than it needs,
    /// an unmasked frame, an unknown opcode.
    ///
    /// # Source
    /// RFC 6455, section 5.1 (masking) and section 5.2: "the minimal number of bytes MUST be used to encode the length".
    /// tungstenite takes longer encodings; a proxy in between that does not would see other frames than we do.
    pub(super) fn read(bytes: &[u8], message_max: usize) -> Result<Option<Self>, Error> {
        let mut cursor = Cursor::new(bytes);
        let Some((fields, payload_len)) = FrameHeader::parse(&mut cursor)? else { return Ok(None) };
        let (size, max_size) = (usize::try_from(payload_len).unwrap_or(usize::MAX), message_max);
        if size > max_size {
            return Err(tungstenite::Error::Capacity(CapacityError::MessageTooLong { size, max_size }).into());
        }
        let Some(mask) = fields.mask else {
            return Err(tungstenite::Error::Protocol(ProtocolError::UnmaskedFrameFromClient).into());
        };
        let len = usize::try_from(cursor.position()).expect("a header has at most 14 bytes");
        if len > minimal_len(size) {
            return Err(Error::LongLength);
        }
        let frame_len = len + size;
        Ok((bytes.len() >= frame_len).then_some(Header { fields, mask, len, frame_len }))
    }

    /// Whether the frame is a text message of its own.
    pub(super) fn is_whole_text(&self) -> bool {
        let is_extended = self.fields.rsv1 || self.fields.rsv2 || self.fields.rsv3;
        self.fields.is_final && !is_extended && self.fields.opcode == OpCode::Data(Data::Text)
    }

    /// Whether the frame's message goes on behind it; `None` for control frames, which belong to no message.
    pub(super) fn goes_on(&self) -> Option<bool> {
        matches!(self.fields.opcode, OpCode::Data(_)).then_some(!self.fields.is_final)
    }

    /// Takes the mask off `payload`.
    pub(super) fn unmask(&self, payload: &mut [u8]) {
        unmask(payload, self.mask);
    }
}

/// How long the head of a masked frame with `payload_len` bytes must be.
fn minimal_len(payload_len: usize) -> usize {
    let extended = match payload_len {
        0..126 => 0,
        126..0x1_0000 => 2,
        _ => 8,
    };
    2 + extended + 4
}

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

    use super::*;

    #[test]
    fn a_length_takes_as_few_bytes_as_it_needs() {
        let head = |length: &[u8]| [&[0x81, 0x80 | length[0]], &length[1..], &[0; 4]].concat();
        let wide = |length: u64| [&[127][..], &length.to_be_bytes()].concat();
        for (length, is_minimal) in [
            (vec![125], true),
            (vec![126, 0, 125], false),
            (vec![126, 0, 0], false),
            (wide(125), false),
            (vec![126, 0, 126], true),
            (vec![126, 0xff, 0xff], true),
            (wide(126), false),
            (wide(0xffff), false),
            (wide(0x1_0000), true),
        ] {
            let read = Header::read(&head(&length), 1 << 20);
            assert_eq!(matches!(read, Ok(None)), is_minimal, "{length:?}");
            assert_eq!(matches!(read, Err(Error::LongLength)), !is_minimal, "{length:?}");
        }
    }

    proptest! {
        #[test]
        fn unmasking_is_what_the_standard_says(payload in prop::collection::vec(any::<u8>(), 0..40), mask: [u8; 4]) {
            let expected: Vec<_> = payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]).collect();
            let mut unmasked = payload;
            unmask(&mut unmasked, mask);
            prop_assert_eq!(unmasked, expected);
        }
    }
}
