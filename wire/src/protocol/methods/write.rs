//! What `put`, `patch` and `delete` are asked with.

use std::{borrow::Cow, collections::BTreeMap, str::FromStr};

use bigdecimal::BigDecimal;
use serde_json::value::RawValue;

use super::fields::{Fields, members, text, wrong};
use crate::{
    protocol::{Code, RpcError, json},
    record::{
        Patch, Stamp,
        patch::{Members, ValueError},
    },
};

/// The longest idempotency key, in bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// How deep a written value may nest: what serde_json and most other readers accept by default. Deeper ones are
/// built only to exhaust a stack.
pub const VALUE_DEPTH_MAX: usize = 128;

/// The longest text of an increment and its largest power of ten: `1e999999999` is eleven bytes on the wire and a
/// gigabyte of digits once added.
const INCREMENT_BYTES_MAX: usize = 256;
const INCREMENT_EXPONENT_MAX: i64 = 256;

/// `put`: by position `[collection, key, value, if_stamp, idempotency_key]`.
#[derive(Clone, Debug)]
pub struct PutParams<'a> {
    /// The collection's name.
    pub collection: Cow<'a, str>,
    /// The key's text.
    pub key: Cow<'a, str>,
    /// The whole new value, a JSON object, as the text it came in.
    pub value: &'a RawValue,
    /// The stamp the record must be at; [`Stamp::ABSENT`]: it must not exist.
    pub if_stamp: Option<Stamp>,
    /// Names this write, so that repeating it does nothing; 1 to 255 bytes.
    pub idempotency_key: Option<Cow<'a, str>>,
}

impl<'a> PutParams<'a> {
    /// Reads the parameters.
    ///
    /// # Errors
    /// -32602, naming the parameter; -32005 for a value nested deeper than [`VALUE_DEPTH_MAX`].
    pub fn parse(params: Option<&'a RawValue>) -> Result<Self, RpcError> {
        let fields = Fields::read(params, &["collection", "key", "value", "if_stamp", "idempotency_key"])?;
        Ok(PutParams {
            collection: fields.text("collection")?,
            key: fields.key("key")?,
            value: object(fields.required("value")?)?,
            if_stamp: fields.stamp("if_stamp")?,
            idempotency_key: idempotency_key(&fields)?,
        })
    }
}

/// `patch`: by position `[collection, key, value, increment, if_stamp, idempotency_key, return]`, the third or
/// fourth of which may be `null`, but not both.
#[derive(Clone, Debug)]
pub struct PatchParams<'a> {
    /// The collection's name.
    pub collection: Cow<'a, str>,
    /// The key's text.
    pub key: Cow<'a, str>,
    /// `value` as what to merge, and `increment`, its numbers exactly as they came.
    pub patch: Patch,
    /// The stamp the record must be at.
    pub if_stamp: Option<Stamp>,
    /// Names this write, so that repeating it does nothing; 1 to 255 bytes.
    pub idempotency_key: Option<Cow<'a, str>>,
    /// `return`: whether the answer carries the new value.
    pub returns_value: bool,
}

impl<'a> PatchParams<'a> {
    /// Reads the parameters.
    ///
    /// # Errors
    /// -32602, naming the parameter; -32005 for a value nested deeper than [`VALUE_DEPTH_MAX`].
    pub fn parse(params: Option<&'a RawValue>) -> Result<Self, RpcError> {
        const NAMES: &[&str; 7] = &["collection", "key", "value", "increment", "if_stamp", "idempotency_key", "return"];
        let fields = Fields::read(params, NAMES)?;
        Ok(PatchParams {
            collection: fields.text("collection")?,
            key: fields.key("key")?,
            patch: patch(&fields)?,
            if_stamp: fields.stamp("if_stamp")?,
            idempotency_key: idempotency_key(&fields)?,
            returns_value: fields.flag("return")?,
        })
    }
}

/// `delete`: by position `[collection, key, if_stamp, idempotency_key]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteParams<'a> {
    /// The collection's name.
    pub collection: Cow<'a, str>,
    /// The key's text.
    pub key: Cow<'a, str>,
    /// The stamp the record must be at.
    pub if_stamp: Option<Stamp>,
    /// Names this write, so that repeating it does nothing; 1 to 255 bytes.
    pub idempotency_key: Option<Cow<'a, str>>,
}

impl<'a> DeleteParams<'a> {
    /// Reads the parameters.
    ///
    /// # Errors
    /// -32602, naming the parameter.
    pub fn parse(params: Option<&'a RawValue>) -> Result<Self, RpcError> {
        let fields = Fields::read(params, &["collection", "key", "if_stamp", "idempotency_key"])?;
        Ok(DeleteParams {
            collection: fields.text("collection")?,
            key: fields.key("key")?,
            if_stamp: fields.stamp("if_stamp")?,
            idempotency_key: idempotency_key(&fields)?,
        })
    }
}

fn object(raw: &RawValue) -> Result<&RawValue, RpcError> {
    if !raw.get().starts_with('{') {
        return Err(wrong("value", "an object"));
    }
    if !json::nests_at_most(raw.get(), VALUE_DEPTH_MAX) {
        let message = format!("\"value\" nests deeper than {VALUE_DEPTH_MAX} levels");
        return Err(RpcError::new(Code::InvalidValue, message));
    }
    Ok(raw)
}

fn patch<const N: usize>(fields: &Fields<'_, N>) -> Result<Patch, RpcError> {
    let (value, amounts) = (fields.optional("value"), fields.optional("increment"));
    if value.is_none() && amounts.is_none() {
        return Err(RpcError::invalid_params("\"value\" or \"increment\" is missing"));
    }
    let merge = value.map(merge).transpose()?.unwrap_or_default();
    let increment = amounts.map(increment).transpose()?.unwrap_or_default();
    match increment.keys().find(|column| merge.get(column).is_some()) {
        Some(column) => Err(RpcError::invalid_params(format!("{column:?} is both set and incremented"))),
        None => Ok(Patch { merge, increment }),
    }
}

fn merge(raw: &RawValue) -> Result<Members, RpcError> {
    Members::of_value(object(raw)?.get()).map_err(|error| {
        let message = error.to_string();
        match error {
            ValueError::Twice { column } => RpcError::new(Code::InvalidValue, message).with("column", column),
            _ => wrong("value", "an object whose names are text"),
        }
    })
}

fn increment(raw: &RawValue) -> Result<BTreeMap<String, BigDecimal>, RpcError> {
    let exact = |(column, raw): (Cow<'_, str>, &RawValue)| Ok((column.clone().into_owned(), amount(&column, raw)?));
    members(raw, "increment")?.into_iter().map(exact).collect()
}

fn amount(column: &str, raw: &RawValue) -> Result<BigDecimal, RpcError> {
    let number = raw.get().starts_with(|c: char| c == '-' || c.is_ascii_digit());
    let short = raw.get().len() <= INCREMENT_BYTES_MAX;
    let exact = if number && short { BigDecimal::from_str(raw.get()).ok() } else { None };
    exact
        .filter(|amount| amount.as_bigint_and_exponent().1.abs() <= INCREMENT_EXPONENT_MAX)
        .ok_or_else(|| RpcError::invalid_params(format!("\"increment\" of {column:?} must be a number of usual size")))
}

fn idempotency_key<'a, const N: usize>(fields: &Fields<'a, N>) -> Result<Option<Cow<'a, str>>, RpcError> {
    const NAME: &str = "idempotency_key";
    let Some(raw) = fields.optional(NAME) else {
        return Ok(None);
    };
    let key = text(raw, NAME)?;
    if (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len()) && !key.contains('\0') {
        Ok(Some(key))
    } else {
        Err(wrong(NAME, "1 to 255 bytes without NUL"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.into()).expect("valid JSON")
    }

    fn patched(text: &str) -> Result<(String, Vec<(String, String)>), RpcError> {
        let params = raw(text);
        let patch = PatchParams::parse(Some(&params))?.patch;
        Ok((patch.merge.to_text(), patch.increment.into_iter().map(|(c, n)| (c, n.to_plain_string())).collect()))
    }

    #[test]
    fn a_put_keeps_the_value_as_it_came() {
        let params =
            raw(r#"{"collection":"c","key":7,"value":{ "price": 2.50 },"if_stamp":"0","idempotency_key":"k"}"#);
        let params = PutParams::parse(Some(&params)).expect("valid");
        assert_eq!((params.value.get(), params.if_stamp), (r#"{ "price": 2.50 }"#, Some(Stamp::ABSENT)));
        assert_eq!((&*params.key, params.idempotency_key.as_deref()), ("7", Some("k")));
    }

    #[test]
    fn increments_are_exact() {
        let text = r#"{"collection":"c","key":"a","increment":{"stock":-1,"price":0.10,"big":12345678901234567890.5}}"#;
        let (merge, increment) = patched(text).expect("valid");
        assert_eq!(merge, "{}");
        let expected = [("big", "12345678901234567890.5"), ("price", "0.10"), ("stock", "-1")];
        assert_eq!(increment, expected.map(|(c, n)| (c.to_owned(), n.to_owned())));
        let placed = patched(r#"["c","a",{"x":1e5},{"stock":1},null,null,true]"#).expect("valid");
        assert_eq!(placed, (r#"{"x":1e5}"#.into(), vec![("stock".into(), "1".into())]));
    }

    #[test]
    fn hostile_increments_and_depths_are_refused() {
        for increment in
            [r#"{"n":1e999999999}"#, r#"{"n":1e-999999999}"#, r#"{"n":"1"}"#, r#"{"n":null}"#, "[]", r#"{"n":1,"n":2}"#]
        {
            let text = format!(r#"{{"collection":"c","key":"a","increment":{increment}}}"#);
            assert_eq!(patched(&text).map_err(|e| e.code).err(), Some(Code::InvalidParams), "{text}");
        }
        let deep = format!("{}1{}", "{\"a\":".repeat(50_000), "}".repeat(50_000));
        for method in ["put", "patch"] {
            let params = raw(&format!(r#"["c","a",{deep}]"#));
            let code = match method {
                "put" => PutParams::parse(Some(&params)).map(drop),
                _ => PatchParams::parse(Some(&params)).map(drop),
            };
            assert_eq!(code.map_err(|e| e.code), Err(Code::InvalidValue));
        }
    }

    #[test]
    fn a_column_patched_twice_is_an_invalid_value() {
        let error = patched(r#"["c","a",{"price":1,"price":2}]"#).expect_err("refused");
        assert_eq!((error.code, &*error.message), (Code::InvalidValue, "column \"price\" is given twice"));
    }

    #[test]
    fn refusals_name_the_parameter() {
        for (text, named) in [
            (r#"["c","a"]"#, "\"value\" or \"increment\""),
            (r#"["c","a",7]"#, "\"value\" must be"),
            (r#"["c","a",{"n":1},{"n":1}]"#, "both set and incremented"),
            (r#"["c","a",{},{},null,null,1]"#, "\"return\""),
            (r#"["c","a",{},{},null,""]"#, "\"idempotency_key\""),
            (r#"["c","a",{},{},"1"]"#, "\"if_stamp\""),
        ] {
            let message = patched(text).expect_err(text).message;
            assert!(message.contains(named), "{text}: {message}");
        }
        let long = raw(&format!(r#"["c","a",null,"{}"]"#, "k".repeat(256)));
        assert!(DeleteParams::parse(Some(&long)).is_err());
        let fits = raw(&format!(r#"["c","a","1.2","{}"]"#, "k".repeat(255)));
        assert!(DeleteParams::parse(Some(&fits)).is_ok());
        assert!(PutParams::parse(Some(&raw(r#"["c","a",null]"#))).is_err());
    }
}
