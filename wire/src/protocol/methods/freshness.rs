//! What `freshness` is asked with.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::fields::{Fields, key, keys};
use crate::protocol::RpcError;

/// `freshness`: by position `[collection, key or keys]`, by name also with a subscription alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreshnessParams<'a> {
    /// What is meant.
    pub asked: Asked<'a>,
}

/// Of which records the freshness is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked<'a> {
    /// Keys of a collection, at least one.
    Keys(Cow<'a, str>, Vec<Cow<'a, str>>),
    /// All keys of a subscription, by its id.
    Subscription(Cow<'a, str>),
}

impl<'a> FreshnessParams<'a> {
    /// Reads the parameters.
    ///
    /// # Errors
    /// -32602, naming the parameter.
    pub fn parse(params: Option<&'a RawValue>) -> Result<Self, RpcError> {
        if params.is_some_and(|params| params.get().starts_with('[')) {
            let fields = Fields::read(params, &["collection", "keys"])?;
            return Self::of_keys(&fields, fields.required("keys")?);
        }
        let fields = Fields::read(params, &["collection", "key", "keys", "subscription"])?;
        match (fields.optional("key"), fields.optional("keys"), fields.optional("subscription")) {
            (Some(asked), None, None) | (None, Some(asked), None) => Self::of_keys(&fields, asked),
            (None, None, Some(_)) if fields.optional("collection").is_none() => {
                Ok(FreshnessParams { asked: Asked::Subscription(fields.text("subscription")?) })
            }
            (None, None, None) => Err(RpcError::invalid_params("\"key\", \"keys\" or \"subscription\" is missing")),
            _ => Err(RpcError::invalid_params(
                "\"key\", \"keys\" and \"subscription\" exclude each other, and a subscription has its \"collection\"",
            )),
        }
    }

    fn of_keys<const N: usize>(fields: &Fields<'a, N>, asked: &'a RawValue) -> Result<Self, RpcError> {
        let is_list = asked.get().starts_with('[');
        let keys = if is_list { keys(asked, "keys")? } else { vec![key(asked, "key")?] };
        if keys.is_empty() {
            return Err(RpcError::invalid_params("\"keys\" must not be empty"));
        }
        Ok(FreshnessParams { asked: Asked::Keys(fields.text("collection")?, keys) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<String, String> {
        let params = RawValue::from_string(text.into()).expect("valid JSON");
        FreshnessParams::parse(Some(&params)).map(|params| format!("{:?}", params.asked)).map_err(|error| error.message)
    }

    #[test]
    fn keys_or_a_subscription_are_meant() {
        let keys = parsed(r#"{"collection":"c","keys":["a",7]}"#);
        assert_eq!(keys, parsed(r#"["c",["a",7]]"#));
        assert_eq!(keys.expect("valid"), r#"Keys("c", ["a", "7"])"#);
        assert_eq!(parsed(r#"{"collection":"c","key":"a"}"#), parsed(r#"["c","a"]"#));
        assert_eq!(parsed(r#"{"subscription":"s1"}"#).expect("valid"), r#"Subscription("s1")"#);
    }

    #[test]
    fn refusals_name_the_parameter() {
        for (text, named) in [
            (r#"{"collection":"c"}"#, "is missing"),
            (r#"{"collection":"c","keys":[]}"#, "must not be empty"),
            (r#"{"key":"a"}"#, "\"collection\" is missing"),
            (r#"{"collection":"c","key":"a","subscription":"s1"}"#, "exclude each other"),
            (r#"{"collection":"c","subscription":"s1"}"#, "has its \"collection\""),
            (r#"{"subscription":1}"#, "\"subscription\" must be"),
        ] {
            let message = parsed(text).expect_err(text);
            assert!(message.contains(named), "{text}: {message}");
        }
    }
}
