//! How a connection's end is told to its client, and counted.

use crate::protocol::CloseCode;

/// The label a close code is counted under. A client may close with any of two thousand codes of its own making: those
/// are counted as one.
pub(super) fn close_label(number: u32) -> String {
    let is_known = u16::try_from(number).is_ok_and(|number| number < 3000 || CloseCode::from_number(number).is_some());
    if is_known { number.to_string() } else { "private".into() }
}

/// A close frame as a server writes it.
///
/// # Source
/// RFC 6455, sections 5.2 and 5.5.1.
pub(super) fn close_frame(code: CloseCode) -> Vec<u8> {
    let reason = code.reason().as_bytes();
    let mut frame = vec![0x88, u8::try_from(2 + reason.len()).unwrap_or(2)];
    frame.extend_from_slice(&code.number().to_be_bytes());
    frame.extend_from_slice(reason);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_clients_make_up_share_a_label() {
        for code in CloseCode::ALL {
            assert_eq!(close_label(code.number().into()), code.number().to_string());
        }
        assert_eq!(close_label(1005), "1005");
        assert_eq!((close_label(3000), close_label(4999)), ("private".into(), "private".into()));
    }
}
