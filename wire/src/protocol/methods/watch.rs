//! What `subscribe` and `unsubscribe` are asked with.

use std::{borrow::Cow, collections::HashMap};

use serde_json::value::RawValue;

use super::fields::{Fields, key, keys, members, stamp};
use crate::{protocol::RpcError, record::Stamp};

/// `subscribe`: by position `[collection, key or keys, since]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeParams<'a> {
    /// The collection's name.
    pub collection: Cow<'a, str>,
    /// The keys to watch, at least one, in the order asked.
    pub keys: Vec<Cow<'a, str>>,
    /// What the client has, by key as it wrote it: a key still at its stamp gets no snapshot.
    pub since: HashMap<String, Stamp>,
}

impl<'a> SubscribeParams<'a> {
    /// Reads the parameters. `key` and `keys` both take one key or an array of them, but only one may be given.
    ///
    /// # Errors
    /// -32602, naming the parameter.
    pub fn parse(params: Option<&'a RawValue>) -> Result<Self, RpcError> {
        if params.is_some_and(|params| params.get().starts_with('[')) {
            let fields = Fields::read(params, &["collection", "keys", "since"])?;
            return Self::of(&fields, fields.required("keys")?);
        }
        let fields = Fields::read(params, &["collection", "key", "keys", "since"])?;
        match (fields.optional("key"), fields.optional("keys")) {
            (Some(_), Some(_)) => Err(RpcError::invalid_params("\"key\" and \"keys\" exclude each other")),
            (Some(asked), None) | (None, Some(asked)) => Self::of(&fields, asked),
            (None, None) => Err(RpcError::invalid_params("\"key\" or \"keys\" is missing")),
        }
    }

    fn of<const N: usize>(fields: &Fields<'a, N>, asked: &'a RawValue) -> Result<Self, RpcError> {
        let list = asked.get().starts_with('[');
        let keys = if list { keys(asked, "keys")? } else { vec![key(asked, "key")?] };
        if keys.is_empty() {
            return Err(RpcError::invalid_params("\"keys\" must not be empty"));
        }
        let since = fields.optional("since").map(since).transpose()?.unwrap_or_default();
        Ok(SubscribeParams { collection: fields.text("collection")?, keys, since })
    }
}

fn since(raw: &RawValue) -> Result<HashMap<String, Stamp>, RpcError> {
    members(raw, "since")?
        .into_iter()
        .filter(|(_, raw)| raw.get() != "null")
        .map(|(key, raw)| Ok((key.into_owned(), stamp(raw, "since")?)))
        .collect()
}

/// `unsubscribe`: by position `[id]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsubscribeParams<'a> {
    /// The subscription's id as `subscribe` answered it.
    pub id: Cow<'a, str>,
}

impl<'a> UnsubscribeParams<'a> {
    /// Reads the parameters.
    ///
    /// # Errors
    /// -32602, naming the parameter.
    pub fn parse(params: Option<&'a RawValue>) -> Result<Self, RpcError> {
        Ok(UnsubscribeParams { id: Fields::read(params, &["id"])?.text("id")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.into()).expect("valid JSON")
    }

    #[test]
    fn one_key_several_and_positions_say_the_same() {
        let texts = [
            r#"{"collection":"c","key":"a","since":{"a":"1.17"}}"#,
            r#"{"since":{"a":"1.17","b":null},"keys":["a"],"collection":"c"}"#,
            r#"["c","a",{"a":"1.17"}]"#,
            r#"["c",["a"],{"a":"1.17"}]"#,
        ];
        for text in texts {
            let params = raw(text);
            let params = SubscribeParams::parse(Some(&params)).expect(text);
            assert_eq!((&*params.collection, &params.keys[..]), ("c", &[Cow::Borrowed("a")][..]));
            assert_eq!(params.since, HashMap::from([("a".to_owned(), Stamp::new(1, 17))]));
        }
    }

    #[test]
    fn refusals_name_the_parameter() {
        for (text, named) in [
            (r#"{"collection":"c"}"#, "\"key\" or \"keys\" is missing"),
            (r#"{"collection":"c","key":"a","keys":["b"]}"#, "exclude each other"),
            (r#"{"collection":"c","keys":[]}"#, "must not be empty"),
            (r#"{"key":"a"}"#, "\"collection\" is missing"),
            (r#"{"collection":"c","keys":[true]}"#, "\"keys\" must be"),
            (r#"{"collection":"c","key":"a","since":"1.17"}"#, "\"since\" must be"),
            (r#"{"collection":"c","key":"a","since":{"a":17}}"#, "\"since\" must be"),
            (r#"{"collection":"c","key":"a","since":{"a":"1.1","a":"1.2"}}"#, "twice"),
        ] {
            let params = raw(text);
            let message = SubscribeParams::parse(Some(&params)).expect_err(text).message;
            assert!(message.contains(named), "{text}: {message}");
        }
    }

    #[test]
    fn a_subscription_is_ended_by_its_id() {
        for text in [r#"{"id":"s1"}"#, r#"["s1"]"#] {
            assert_eq!(UnsubscribeParams::parse(Some(&raw(text))).expect("valid").id, "s1");
        }
    }
}
