//! What a text frame or an HTTP body holds: one request of JSON-RPC, or a batch of them.

use std::fmt;

use serde::{Deserializer as _, de};
use serde_json::value::RawValue;

use super::{Code, Rejected, Request, RpcError};

/// A client's message.
#[derive(Clone, Debug)]
pub enum Message<'a> {
    /// A single request.
    One(Request<'a>),
    /// A batch, at least one long, in the order given. Those that are no requests are answered one by one.
    Batch(Vec<Result<Request<'a>, Rejected>>),
}

/// Reads `text` as a request or a batch of at most `batch_max`.
///
/// Further members of the envelope are ignored. One that comes twice is refused rather than guessed at
/// (RFC 7493, section 2.3).
///
/// # Errors
/// [`Rejected`] with -32700 when `text` is no JSON; -32600 when it is no request, or an empty batch; -32007 with
/// reason `batch` for a batch beyond `batch_max`.
///
/// # Source
/// JSON-RPC 2.0, sections 4 to 6.
pub fn parse(text: &str, batch_max: usize) -> Result<Message<'_>, Rejected> {
    if text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('[') {
        parse_batch(text, batch_max).map(Message::Batch)
    } else {
        Request::parse(text).map(Message::One)
    }
}

/// Reads `text` when it is one request and nothing is wrong with it; anything else is for [`parse`].
pub fn parse_single(text: &str) -> Option<Request<'_>> {
    if text.starts_with('{') { Request::parse(text).ok() } else { None }
}

fn parse_batch(text: &str, batch_max: usize) -> Result<Vec<Result<Request<'_>, Rejected>>, Rejected> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let elements = Elements { limit: batch_max };
    let (texts, count) = reader
        .deserialize_seq(elements)
        .and_then(|batch| reader.end().map(|()| batch))
        .map_err(|e| Rejected::not_json(&e))?;
    match count {
        0 => Err(Rejected::new(None, RpcError::new(Code::InvalidRequest, "a batch must not be empty"))),
        _ if count > batch_max => {
            let message = format!("a batch holds at most {batch_max} requests; this one has {count}");
            Err(Rejected::new(None, RpcError::new(Code::TooLarge, message).because("batch")))
        }
        _ => Ok(texts.into_iter().map(|text| Request::parse(text.get())).collect()),
    }
}

/// Reads a batch's elements, keeping `limit` of them and counting all.
struct Elements {
    limit: usize,
}

impl<'de> de::Visitor<'de> for Elements {
    type Value = (Vec<&'de RawValue>, usize);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a batch")
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let (mut texts, mut count) = (Vec::new(), 0);
        while let Some(text) = seq.next_element()? {
            if count < self.limit {
                texts.push(text);
            }
            count += 1;
        }
        Ok((texts, count))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    use super::*;

    fn refused(text: &str) -> (Code, Option<String>) {
        let rejected = parse(text, 4).expect_err(text);
        (rejected.error.code, rejected.id)
    }

    #[test]
    fn what_is_no_json_and_what_is_no_request_differ() {
        for text in ["", "{", "nope", r#"{"jsonrpc":"2.0"} x"#, "[1,", "[1] 2", "7 7", r#"{"id":01}"#] {
            assert_eq!(refused(text), (Code::ParseError, None), "{text}");
        }
        for text in ["7", "\"x\"", "null", "[]", "{}", r#"{"jsonrpc":"2.0","id":{},"method":"m"}"#] {
            assert_eq!(refused(text), (Code::InvalidRequest, None), "{text}");
        }
    }

    #[test]
    fn a_batch_keeps_its_order_and_refuses_each_by_itself() {
        let text = r#" [{"jsonrpc":"2.0","id":1,"method":"a"}, 7, {"id":3}, {"jsonrpc":"2.0","method":"d"}]"#;
        let Ok(Message::Batch(batch)) = parse(text, 4) else { panic!("no batch") };
        assert_eq!(batch.len(), 4);
        assert_eq!(batch[0].as_ref().map(|r| r.id).ok(), Some(Some("1")));
        assert_eq!(
            batch[1].as_ref().map_err(|r| (r.error.code, r.id.clone())).err(),
            Some((Code::InvalidRequest, None))
        );
        assert_eq!(batch[2].as_ref().map_err(|r| r.id.clone()).err(), Some(Some("3".into())));
        assert_eq!(batch[3].as_ref().map(|r| r.id).ok(), Some(None));
    }

    #[test]
    fn a_batch_beyond_the_limit_is_too_large() {
        let rejected = parse("[1,2,3,4,5]", 4).expect_err("five of four");
        assert_eq!((rejected.error.code, &*rejected.error.reason), (Code::TooLarge, "batch"));
    }

    #[test]
    fn deep_nesting_is_read_without_recursion() {
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{}{}}}"#,
            "[".repeat(200_000),
            "]".repeat(200_000)
        );
        assert!(parse(&text, 4).is_ok());
        assert!(parse(&"[".repeat(200_000), 4).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_rejected(text in any::<String>()) {
            let _ = parse(&text, 4);
        }

        #[test]
        fn json_like_text_is_rejected_as_serde_would(text in r#"[\[\]{},:" 0-9a-z\\]{0,40}"#) {
            let valid = serde_json::from_str::<IgnoredAny>(&text).is_ok();
            if let Err(rejected) = parse(&text, 4) {
                prop_assert_eq!(rejected.error.code == Code::ParseError, !valid);
            }
        }
    }
}
