//! What `get`, `get_many`, `list` and `describe` are asked with.

use std::{borrow::Cow, time::Duration};

use serde_json::value::RawValue;

use super::fields::{Fields, keys};
use crate::{protocol::RpcError, record::Stamp};

/// `get`: by position `[collection, key, min_stamp, max_stale_ms]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetParams<'a> {
    /// The collection's name.
    pub collection: Cow<'a, str>,
    /// The key's text; a JSON integer is taken as its digits.
    pub key: Cow<'a, str>,
    /// The answer must not be older than this.
    pub min_stamp: Option<Stamp>,
    /// How long past its freshness a value may be, when nothing fresher can answer.
    pub max_stale: Option<Duration>,
}

impl<'a> GetParams<'a> {
    /// Reads the parameters.
    ///
    /// # Errors
    /// -32602, naming the parameter.
    pub fn parse(params: Option<&'a RawValue>) -> Result<Self, RpcError> {
        let fields = Fields::read(params, &["collection", "key", "min_stamp", "max_stale_ms"])?;
        Ok(GetParams {
            collection: fields.text("collection")?,
            key: fields.key("key")?,
            min_stamp: fields.stamp("min_stamp")?,
            max_stale: fields.millis("max_stale_ms")?,
        })
    }
}

/// `get_many`: by position `[collection, keys, min_stamp, max_stale_ms]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetManyParams<'a> {
    /// The collection's name.
    pub collection: Cow<'a, str>,
    /// The keys in the order asked; may be empty or repeat.
    pub keys: Vec<Cow<'a, str>>,
    /// No answer may be older than this.
    pub min_stamp: Option<Stamp>,
    /// How long past its freshness a value may be, when nothing fresher can answer.
    pub max_stale: Option<Duration>,
}

impl<'a> GetManyParams<'a> {
    /// Reads the parameters.
    ///
    /// # Errors
    /// -32602, naming the parameter.
    pub fn parse(params: Option<&'a RawValue>) -> Result<Self, RpcError> {
        let fields = Fields::read(params, &["collection", "keys", "min_stamp", "max_stale_ms"])?;
        Ok(GetManyParams {
            collection: fields.text("collection")?,
            keys: keys(fields.required("keys")?, "keys")?,
            min_stamp: fields.stamp("min_stamp")?,
            max_stale: fields.millis("max_stale_ms")?,
        })
    }
}

/// `list`: by position `[collection, prefix, limit, cursor]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListParams<'a> {
    /// The collection's name.
    pub collection: Cow<'a, str>,
    /// What keys begin with.
    pub prefix: Option<Cow<'a, str>>,
    /// The most records of the page.
    pub limit: Option<usize>,
    /// Where to go on, as the page before said.
    pub cursor: Option<Cow<'a, str>>,
}

impl<'a> ListParams<'a> {
    /// Reads the parameters.
    ///
    /// # Errors
    /// -32602, naming the parameter.
    pub fn parse(params: Option<&'a RawValue>) -> Result<Self, RpcError> {
        let fields = Fields::read(params, &["collection", "prefix", "limit", "cursor"])?;
        Ok(ListParams {
            collection: fields.text("collection")?,
            prefix: fields.optional_text("prefix")?,
            limit: fields.count("limit")?,
            cursor: fields.optional_text("cursor")?,
        })
    }
}

/// `describe`: by position `[collection]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribeParams<'a> {
    /// The collection's name.
    pub collection: Cow<'a, str>,
}

impl<'a> DescribeParams<'a> {
    /// Reads the parameter.
    ///
    /// # Errors
    /// -32602, naming the parameter.
    pub fn parse(params: Option<&'a RawValue>) -> Result<Self, RpcError> {
        let fields = Fields::read(params, &["collection"])?;
        Ok(DescribeParams { collection: fields.text("collection")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Code;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.into()).expect("valid JSON")
    }

    fn refusal(text: &str) -> String {
        let error = GetParams::parse(Some(&raw(text))).expect_err(text);
        assert_eq!(error.code, Code::InvalidParams);
        error.message
    }

    #[test]
    fn names_and_positions_say_the_same() {
        let named = raw(r#"{"max_stale_ms":50,"key":"a\u0062","collection":"products","min_stamp":"1.17"}"#);
        let placed = raw(r#"["products","ab","1.17",50]"#);
        let named = GetParams::parse(Some(&named)).expect("valid");
        assert_eq!(named, GetParams::parse(Some(&placed)).expect("valid"));
        assert_eq!((&*named.key, named.min_stamp), ("ab", Some(Stamp::new(1, 17))));
        let short = raw(r#"["products","ab",null]"#);
        assert_eq!(GetParams::parse(Some(&short)).expect("valid").min_stamp, None);
    }

    #[test]
    fn integer_keys_are_passed_on_as_text() {
        let params = raw(r#"{"collection":"c","keys":[7,-12,"7",12345678901234567890123]}"#);
        let params = GetManyParams::parse(Some(&params)).expect("valid");
        assert_eq!(params.keys, ["7", "-12", "7", "12345678901234567890123"]);
    }

    #[test]
    fn a_list_needs_a_collection_and_a_limit_that_is_a_count() {
        let all = raw(r#"["c","85",10,"x"]"#);
        let all = ListParams::parse(Some(&all)).expect("valid");
        assert_eq!((all.prefix.as_deref(), all.limit, all.cursor.as_deref()), (Some("85"), Some(10), Some("x")));
        let least = raw(r#"{"collection":"c","limit":null}"#);
        assert_eq!(ListParams::parse(Some(&least)).expect("valid").limit, None);
        for limit in ["0", "-1", "1.5", "\"10\""] {
            let params = raw(&format!(r#"{{"collection":"c","limit":{limit}}}"#));
            let refused = ListParams::parse(Some(&params)).expect_err(limit);
            assert_eq!(refused.message, "\"limit\" must be a whole number from 1 on");
        }
    }

    #[test]
    fn refusals_name_the_parameter() {
        for (text, named) in [
            (r#"{"key":"a"}"#, "\"collection\" is missing"),
            (r#"{"collection":"c"}"#, "\"key\" is missing"),
            (r#"{"collection":"c","key":1.5}"#, "\"key\" must be"),
            (r#"{"collection":"c","key":null}"#, "\"key\" must be"),
            (r#"{"collection":"c","key":["a"]}"#, "\"key\" must be"),
            (r#"{"collection":7,"key":"a"}"#, "\"collection\" must be"),
            (r#"{"collection":"c","key":"a","colour":1}"#, "unknown parameter \"colour\""),
            (r#"{"collection":"c","key":"a","key":"b"}"#, "\"key\" comes twice"),
            (r#"{"collection":"c","key":"a","min_stamp":"x"}"#, "\"min_stamp\""),
            (r#"{"collection":"c","key":"a","min_stamp":1}"#, "\"min_stamp\""),
            (r#"{"collection":"c","key":"a","max_stale_ms":-1}"#, "\"max_stale_ms\""),
            (r#"{"collection":"c","key":"a","max_stale_ms":1.5}"#, "\"max_stale_ms\""),
            (r#"["c","a",null,null,1]"#, "at most 4"),
            ("[]", "\"collection\" is missing"),
        ] {
            let message = refusal(text);
            assert!(message.contains(named), "{text}: {message}");
        }
        assert!(GetParams::parse(None).is_err());
    }
}
