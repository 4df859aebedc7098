//! WebSocket frame headers as a server writes them: final, text, unmasked.

/// FIN and the opcode of a text frame.
const TEXT: u8 = 0x81;
/// The header of a payload of 126 to 65,535 bytes, which most records are.
const USUAL_HEADER_BYTES: usize = 4;

/// Writes the header of a text frame with `payload_len` bytes: 2, 4 or 10 bytes.
///
/// # Source
/// RFC 6455, section 5.2.
pub fn frame_header(out: &mut Vec<u8>, payload_len: usize) {
    let (header, len) = header(payload_len);
    out.extend_from_slice(&header[..len]);
}

/// Writes a text frame around whatever `payload` writes. The payload moves only when it turns out shorter than
/// 126 bytes or longer than 65,535.
pub fn text_frame<R>(out: &mut Vec<u8>, payload: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let start = out.len();
    out.extend_from_slice(&[0; USUAL_HEADER_BYTES]);
    let result = payload(out);
    let (header, len) = header(out.len() - start - USUAL_HEADER_BYTES);
    if len == USUAL_HEADER_BYTES {
        out[start..start + len].copy_from_slice(&header[..len]);
    } else {
        out.splice(start..start + USUAL_HEADER_BYTES, header[..len].iter().copied());
    }
    result
}

fn header(payload_len: usize) -> ([u8; 10], usize) {
    let mut header = [0; 10];
    header[0] = TEXT;
    if payload_len < 126 {
        header[1] = payload_len as u8;
        (header, 2)
    } else if let Ok(len) = u16::try_from(payload_len) {
        header[1] = 126;
        header[2..4].copy_from_slice(&len.to_be_bytes());
        (header, 4)
    } else {
        header[1] = 127;
        header[2..].copy_from_slice(&(payload_len as u64).to_be_bytes());
        (header, 10)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use tungstenite::protocol::frame::FrameHeader;

    use super::*;

    #[test]
    fn headers_are_read_back_by_an_independent_parser() {
        for len in [0, 1, 125, 126, 127, 528, 65_535, 65_536, 1 << 20] {
            let mut framed = b"before".to_vec();
            text_frame(&mut framed, |out| out.resize(out.len() + len, b'x'));
            assert_eq!(&framed[..6], b"before");
            let mut cursor = Cursor::new(&framed[6..]);
            let (header, read) = FrameHeader::parse(&mut cursor).expect("valid").expect("whole");
            assert!(header.is_final && header.mask.is_none());
            assert_eq!(read, len as u64);
            let body = &framed[6 + usize::try_from(cursor.position()).expect("small")..];
            assert!(body.len() == len && body.iter().all(|&byte| byte == b'x'));
            let mut alone = Vec::new();
            frame_header(&mut alone, len);
            assert_eq!(alone, framed[6..framed.len() - len]);
        }
    }
}
