//! The JSON-RPC envelope: one request, or a batch of them.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny},
};
use serde_json::value::RawValue;

use super::{Code, RpcError, json};

/// One request, borrowed from the text it came in.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The id as the JSON text it came in: a string, a number or `null` (answered with `null`). `None` is a
    /// notification, which gets no answer.
    pub id: Option<&'a str>,
    /// The method's name.
    pub method: Cow<'a, str>,
    /// An object or an array; `None` when left out or `null`.
    pub params: Option<&'a RawValue>,
}

/// What one text frame or HTTP body holds.
#[derive(Clone, Debug)]
pub enum Message<'a> {
    /// A single request.
    One(Request<'a>),
    /// A batch, at least one long, in the order given. Those that are no requests are answered one by one.
    Batch(Vec<Result<Request<'a>, Rejected>>),
}

/// A text that is no request, and what to answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("read a request")]
pub struct Rejected {
    /// The id to answer with, as JSON text; `None` when it could not be told, which is answered with `null`.
    pub id: Option<String>,
    /// What is wrong.
    #[source]
    pub error: RpcError,
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
        parse_one(text).map(Message::One)
    }
}

/// Reads `text` when it is one request and nothing is wrong with it; anything else is for [`parse`].
pub fn parse_single(text: &str) -> Option<Request<'_>> {
    if text.starts_with('{') { parse_one(text).ok() } else { None }
}

fn parse_batch(text: &str, batch_max: usize) -> Result<Vec<Result<Request<'_>, Rejected>>, Rejected> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let elements = Elements { limit: batch_max };
    let (texts, count) =
        reader.deserialize_seq(elements).and_then(|batch| reader.end().map(|()| batch)).map_err(|e| not_json(&e))?;
    match count {
        0 => Err(rejected(None, RpcError::new(Code::InvalidRequest, "a batch must not be empty"))),
        _ if count > batch_max => {
            let message = format!("a batch holds at most {batch_max} requests; this one has {count}");
            Err(rejected(None, RpcError::new(Code::TooLarge, message).because("batch")))
        }
        _ => Ok(texts.into_iter().map(|text| parse_one(text.get())).collect()),
    }
}

fn parse_one(text: &str) -> Result<Request<'_>, Rejected> {
    match serde_json::from_str::<Envelope<'_>>(text) {
        Ok(envelope) => envelope.check(),
        Err(error) if error.is_data() && serde_json::from_str::<IgnoredAny>(text).is_ok() => {
            Err(rejected(None, RpcError::new(Code::InvalidRequest, "a request is a JSON object")))
        }
        Err(error) => Err(not_json(&error)),
    }
}

fn rejected(id: Option<&str>, error: RpcError) -> Rejected {
    Rejected { id: id.map(str::to_owned), error }
}

fn not_json(error: &serde_json::Error) -> Rejected {
    rejected(None, RpcError::new(Code::ParseError, format!("the text is not JSON: {error}")))
}

/// A request's members as they came, unchecked.
#[derive(Default)]
struct Envelope<'a> {
    jsonrpc: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    method: Option<&'a RawValue>,
    params: Option<&'a RawValue>,
    twice: Option<&'static str>,
}

impl<'a> Envelope<'a> {
    fn check(self) -> Result<Request<'a>, Rejected> {
        let id = self.id().map_err(|message| rejected(None, RpcError::new(Code::InvalidRequest, message)))?;
        self.request(id).map_err(|message| rejected(id, RpcError::new(Code::InvalidRequest, message)))
    }

    fn id(&self) -> Result<Option<&'a str>, &'static str> {
        match self.id.map(RawValue::get) {
            _ if self.twice == Some("id") => Err("\"id\" comes twice"),
            Some(id) if id.starts_with(['{', '[', 't', 'f']) => Err("\"id\" must be a string, a number or null"),
            id => Ok(id),
        }
    }

    fn request(&self, id: Option<&'a str>) -> Result<Request<'a>, String> {
        if let Some(name) = self.twice {
            return Err(format!("\"{name}\" comes twice"));
        }
        if self.jsonrpc.and_then(json::text).as_deref() != Some("2.0") {
            return Err("\"jsonrpc\" must be \"2.0\"".into());
        }
        let method = self.method.and_then(json::text).ok_or("\"method\" must be a string")?;
        let params = self.params.filter(|params| params.get() != "null");
        match params.map(|params| params.get().as_bytes()[0]) {
            None | Some(b'{' | b'[') => Ok(Request { id, method, params }),
            Some(_) => Err("\"params\" must be an object or an array".into()),
        }
    }

    fn member(&mut self, name: &str) -> Option<(&'static str, &mut Option<&'a RawValue>)> {
        match name {
            "jsonrpc" => Some(("jsonrpc", &mut self.jsonrpc)),
            "id" => Some(("id", &mut self.id)),
            "method" => Some(("method", &mut self.method)),
            "params" => Some(("params", &mut self.params)),
            _ => None,
        }
    }

    fn set(&mut self, name: &str, value: &'a RawValue) {
        let Some((name, member)) = self.member(name) else {
            return;
        };
        // An id that comes twice is remembered above all: the answer must not carry either of them.
        if member.replace(value).is_some() && self.twice != Some("id") {
            self.twice = Some(name);
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Envelope<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Envelope<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a request")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Envelope<'de>, A::Error> {
                let mut envelope = Envelope::default();
                while let Some(json::Name(name)) = map.next_key()? {
                    envelope.set(&name, map.next_value()?);
                }
                Ok(envelope)
            }
        }
        deserializer.deserialize_map(Visitor)
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

    use super::*;

    fn one(text: &str) -> Request<'_> {
        match parse(text, 4).expect("a request") {
            Message::One(request) => request,
            Message::Batch(_) => panic!("{text} was read as a batch"),
        }
    }

    fn refused(text: &str) -> (Code, Option<String>) {
        let rejected = parse(text, 4).expect_err(text);
        (rejected.error.code, rejected.id)
    }

    #[test]
    fn ids_and_params_are_kept_as_they_came() {
        let request = one(r#" {"params":[ 1.10 ],"method":"g\u0065t","id":1.0e2,"jsonrpc":"2.0","more":{}} "#);
        assert_eq!((request.id, &*request.method), (Some("1.0e2"), "get"));
        assert_eq!(request.params.map(RawValue::get), Some("[ 1.10 ]"));
        assert_eq!(one(r#"{"jsonrpc":"2.0","id":"a\"b","method":"m"}"#).id, Some(r#""a\"b""#));
        assert_eq!(one(r#"{"jsonrpc":"2.0","id":null,"method":"m","params":null}"#).id, Some("null"));
        assert_eq!(one(r#"{"jsonrpc":"2.0","method":"m"}"#).id, None);
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
    fn an_invalid_request_is_answered_with_its_id() {
        for text in [
            r#"{"jsonrpc":"1.0","id":7,"method":"m"}"#,
            r#"{"id":7,"method":"m"}"#,
            r#"{"jsonrpc":2.0,"id":7,"method":"m"}"#,
            r#"{"jsonrpc":"2.0","id":7}"#,
            r#"{"jsonrpc":"2.0","id":7,"method":1}"#,
            r#"{"jsonrpc":"2.0","id":7,"method":"m","params":"x"}"#,
            r#"{"jsonrpc":"2.0","id":7,"method":"m","method":"m"}"#,
        ] {
            assert_eq!(refused(text), (Code::InvalidRequest, Some("7".into())), "{text}");
        }
    }

    #[test]
    fn an_id_that_comes_twice_is_answered_with_null() {
        for text in [
            r#"{"jsonrpc":"2.0","id":7,"id":8,"method":"m"}"#,
            r#"{"jsonrpc":"2.0","id":7,"id":8,"method":"m","method":"m"}"#,
            r#"{"jsonrpc":"2.0","method":"m","method":"m","id":7,"i\u0064":8}"#,
        ] {
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
