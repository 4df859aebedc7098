//! What a server's message says, looked at without parsing the record in it.

use serde::Deserialize;

/// A message from the server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming<'a> {
    /// The result of request `id`, from its first byte.
    Result { id: usize, result: &'a [u8] },
    /// Request `id` was refused.
    Refused { id: Option<usize> },
    /// A push.
    Notification,
}

/// What every answer begins with.
const START: &[u8] = br#"{"jsonrpc":"2.0","id":"#;
const RESULT: &[u8] = br#","result":"#;

/// Reads a message's first bytes; anything unexpected is parsed properly.
pub(super) fn read(text: &[u8]) -> Option<Incoming<'_>> {
    if let Some(rest) = text.strip_prefix(START) {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if let (Some(id), Some(result)) = (number(&rest[..digits]), rest[digits..].strip_prefix(RESULT)) {
            return Some(Incoming::Result { id, result });
        }
    }
    read_any(text)
}

/// A decimal number at the start of `bytes`.
pub(super) fn number(bytes: &[u8]) -> Option<usize> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit());
    let mut any = false;
    let number = digits.fold(0_usize, |number, digit| {
        any = true;
        number.wrapping_mul(10).wrapping_add(usize::from(digit - b'0'))
    });
    any.then_some(number)
}

fn read_any(text: &[u8]) -> Option<Incoming<'_>> {
    #[derive(Deserialize)]
    struct Any<'a> {
        id: Option<usize>,
        method: Option<serde::de::IgnoredAny>,
        #[serde(borrow)]
        result: Option<&'a serde_json::value::RawValue>,
    }
    let any: Any<'_> = serde_json::from_slice(text).ok()?;
    match any {
        Any { id: Some(id), result: Some(result), .. } => {
            Some(Incoming::Result { id, result: result.get().as_bytes() })
        }
        Any { method: Some(_), .. } => Some(Incoming::Notification),
        Any { id, .. } => Some(Incoming::Refused { id }),
    }
}

/// The error's object of a refusal, for people.
pub(super) fn refusal(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.split_once(r#""error":"#).map_or(text.as_ref(), |(_, error)| error).chars().take(300).collect()
}

/// A record in an answer.
#[derive(Debug, Deserialize)]
pub(super) struct Record<'a> {
    #[serde(borrow)]
    pub(super) key: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    pub(super) value: Option<&'a serde_json::value::RawValue>,
}

/// The record that `result` begins with; what encloses the result may follow it.
pub(super) fn record(result: &[u8]) -> Result<Record<'_>, serde_json::Error> {
    Record::deserialize(&mut serde_json::Deserializer::from_slice(result))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_refusals_and_pushes_are_told_apart() {
        let usual = br#"{"jsonrpc":"2.0","id":17,"result":{"key":"a","value":{"x":1}}}"#;
        let Some(Incoming::Result { id: 17, result }) = read(usual) else { panic!("a result") };
        assert_eq!(record(result).expect("a record").value.map(serde_json::value::RawValue::get), Some(r#"{"x":1}"#));
        let other_order = br#"{"id":3,"result":true,"jsonrpc":"2.0"}"#;
        assert_eq!(read(other_order), Some(Incoming::Result { id: 3, result: b"true" }));
        let refused = br#"{"jsonrpc":"2.0","id":4,"error":{"code":-32010,"message":"no"}}"#;
        assert_eq!(read(refused), Some(Incoming::Refused { id: Some(4) }));
        assert_eq!(refusal(refused), r#"{"code":-32010,"message":"no"}}"#);
        let push = br#"{"jsonrpc":"2.0","method":"freshet_subscription","params":{"subscription":"s1"}}"#;
        assert_eq!(read(push), Some(Incoming::Notification));
        assert_eq!(read(b"nonsense"), None);
    }

    #[test]
    fn numbers_are_read_up_to_the_first_other_byte() {
        assert_eq!([number(b"12,"), number(b"7"), number(b"x"), number(b"")], [Some(12), Some(7), None, None]);
    }
}
