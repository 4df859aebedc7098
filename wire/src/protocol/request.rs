//! One request of JSON-RPC: its envelope, read and checked.

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

impl<'a> Request<'a> {
    /// Reads `text` as one request.
    ///
    /// # Errors
    /// [`Rejected`] with -32700 when it is no JSON, -32600 when it is no request.
    pub(super) fn parse(text: &'a str) -> Result<Self, Rejected> {
        match serde_json::from_str::<Envelope<'_>>(text) {
            Ok(envelope) => envelope.check(),
            Err(error) if error.is_data() && serde_json::from_str::<IgnoredAny>(text).is_ok() => {
                Err(Rejected::new(None, RpcError::new(Code::InvalidRequest, "a request is a JSON object")))
            }
            Err(error) => Err(Rejected::not_json(&error)),
        }
    }
}

impl Rejected {
    pub(super) fn new(id: Option<&str>, error: RpcError) -> Self {
        Rejected { id: id.map(str::to_owned), error }
    }

    pub(super) fn not_json(error: &serde_json::Error) -> Self {
        Rejected::new(None, RpcError::new(Code::ParseError, format!("the text is not JSON: {error}")))
    }
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
        let id = self.id().map_err(|message| Rejected::new(None, RpcError::new(Code::InvalidRequest, message)))?;
        self.request(id).map_err(|message| Rejected::new(id, RpcError::new(Code::InvalidRequest, message)))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Request<'_> {
        Request::parse(text).expect("a request")
    }

    fn refused(text: &str) -> (Code, Option<String>) {
        let rejected = Request::parse(text).expect_err(text);
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
}
