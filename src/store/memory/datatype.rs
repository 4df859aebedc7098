//! The column types the memory store knows, and how each reads and prints a JSON value.
//!
//! Promises: what a type prints equals what `row_to_json` prints for the same input put through
//! `json_populate_record` on PostgreSQL 15, and a refusal is worded like PostgreSQL's. The exceptions are
//! [`DataType::Timestamptz`], which keeps its text, [`DataType::Json`], whose strings keep their escapes where
//! `json_populate_record` rewrites a column that is nothing but a string, and a few `float8` whose shortest text
//! lies halfway to a neighbour, for which PostgreSQL prints a digit more.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::record::{ColumnKind, KeyKind, patch::quoted};

use super::{
    jsonb,
    numeric::{SPACE, float8, numeric},
};

/// A column's type, named as in PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DataType {
    /// Any text without U+0000.
    Text,
    /// `true` or `false`.
    Bool,
    /// 16 bits.
    Int2,
    /// 32 bits.
    Int4,
    /// 64 bits.
    Int8,
    /// Exact decimals; the scale is kept.
    Numeric,
    /// Double precision.
    Float8,
    /// Printed in lower case with hyphens.
    Uuid,
    /// Kept as the text it came in: neither parsed nor brought to UTC.
    Timestamptz,
    /// JSON whose text is kept.
    Json,
    /// JSON, normalised.
    Jsonb,
}

impl DataType {
    /// The name PostgreSQL's messages use.
    pub const fn sql_name(self) -> &'static str {
        match self {
            DataType::Text => "text",
            DataType::Bool => "boolean",
            DataType::Int2 => "smallint",
            DataType::Int4 => "integer",
            DataType::Int8 => "bigint",
            DataType::Numeric => "numeric",
            DataType::Float8 => "double precision",
            DataType::Uuid => "uuid",
            DataType::Timestamptz => "timestamp with time zone",
            DataType::Json => "json",
            DataType::Jsonb => "jsonb",
        }
    }

    /// The type that PostgreSQL's messages call `sql_name`.
    pub fn named(sql_name: &str) -> Option<Self> {
        use DataType::{Bool, Float8, Int2, Int4, Int8, Json, Jsonb, Numeric, Text, Timestamptz, Uuid};
        [Text, Bool, Int2, Int4, Int8, Numeric, Float8, Uuid, Timestamptz, Json, Jsonb]
            .into_iter()
            .find(|known| known.sql_name() == sql_name)
    }

    /// How a column of this type takes part in a write.
    pub const fn column_kind(self) -> ColumnKind {
        match self {
            DataType::Json => ColumnKind::Json,
            DataType::Jsonb => ColumnKind::Jsonb,
            _ => ColumnKind::Plain,
        }
    }

    /// The kind of keys a key column of this type has, if it may be one.
    pub const fn key_kind(self) -> Option<KeyKind> {
        match self {
            DataType::Text => Some(KeyKind::Text),
            DataType::Uuid => Some(KeyKind::Uuid),
            DataType::Int2 => Some(KeyKind::Int2),
            DataType::Int4 => Some(KeyKind::Int4),
            DataType::Int8 => Some(KeyKind::Int8),
            _ => None,
        }
    }

    /// Whether values of this type have an order that `min` can speak of.
    pub const fn is_number(self) -> bool {
        matches!(self, DataType::Int2 | DataType::Int4 | DataType::Int8 | DataType::Numeric | DataType::Float8)
    }

    /// The JSON text a row shows for the JSON text `json`; `None` for `null`, which is SQL's NULL in every type.
    ///
    /// # Errors
    /// PostgreSQL's message when the type cannot hold the value.
    pub(in crate::store) fn print(self, json: &str) -> Result<Option<String>, String> {
        if json == "null" {
            return Ok(None);
        }
        let printed = match self {
            DataType::Json => jsonb::check_strings(json).map(|()| json.to_owned()),
            DataType::Jsonb => jsonb::normalised(json),
            scalar => scalar.print_scalar(&input(json)?),
        };
        printed.map(Some)
    }

    fn print_scalar(self, text: &str) -> Result<String, String> {
        match self {
            DataType::Bool => boolean(text).map(|value| value.to_string()),
            DataType::Int2 => integer(self, text, i16::MIN.into(), i16::MAX.into()),
            DataType::Int4 => integer(self, text, i32::MIN.into(), i32::MAX.into()),
            DataType::Int8 => integer(self, text, i64::MIN, i64::MAX),
            DataType::Numeric => numeric(text),
            DataType::Float8 => float8(text),
            DataType::Uuid => uuid(text),
            DataType::Timestamptz if !text.contains(|c: char| c.is_ascii_alphanumeric()) => {
                Err(syntax(self.sql_name(), text))
            }
            _ => Ok(quoted(text)),
        }
    }
}

/// What PostgreSQL says of a text that is no value of a type.
pub(super) fn syntax(type_name: &str, text: &str) -> String {
    format!("invalid input syntax for type {type_name}: \"{text}\"")
}

/// The text that a type's input function is handed: a string's content, anything else as it is written.
pub(in crate::store) fn input(json: &str) -> Result<Cow<'_, str>, String> {
    if !json.starts_with('"') {
        return Ok(json.into());
    }
    let text: String = serde_json::from_str(json).map_err(|_| "invalid input syntax for type json".to_owned())?;
    if text.contains('\0') { Err("unsupported Unicode escape sequence".into()) } else { Ok(text.into()) }
}

/// # Source
/// PostgreSQL's `parse_bool_with_len`: unambiguous beginnings of the words, in any case.
fn boolean(text: &str) -> Result<bool, String> {
    let word = text.trim_matches(SPACE).to_ascii_lowercase();
    let begins = |whole: &str, least: usize| word.len() >= least && whole.starts_with(&word);
    if word == "1" || begins("true", 1) || begins("yes", 1) || word == "on" {
        Ok(true)
    } else if word == "0" || begins("false", 1) || begins("no", 1) || begins("off", 2) {
        Ok(false)
    } else {
        Err(syntax("boolean", text))
    }
}

/// Like PostgreSQL's scan, which notices that a number is too long before it meets the letter behind it.
fn integer(of: DataType, text: &str, least: i64, most: i64) -> Result<String, String> {
    let body = text.trim_matches(SPACE);
    let unsigned = body.strip_prefix(['+', '-']).unwrap_or(body);
    let digits = unsigned.len() - unsigned.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    if digits == 0 {
        return Err(syntax(of.sql_name(), text));
    }
    let number = body[..body.len() - unsigned.len() + digits].parse::<i64>().ok();
    match number.filter(|n| (least..=most).contains(n)) {
        None => Err(format!("value \"{text}\" is out of range for type {}", of.sql_name())),
        Some(_) if digits < unsigned.len() => Err(syntax(of.sql_name(), text)),
        Some(number) => Ok(number.to_string()),
    }
}

/// # Source
/// PostgreSQL's `string_to_uuid`: 32 digits, a hyphen allowed after every fourth, braces around.
fn uuid(text: &str) -> Result<String, String> {
    let refused = || syntax("uuid", text);
    let braced = text.strip_prefix('{').map(|rest| rest.strip_suffix('}').ok_or_else(refused));
    let body = braced.transpose()?.unwrap_or(text);
    let (mut digits, mut hyphen_allowed) = (String::with_capacity(32), false);
    for c in body.chars() {
        match c {
            '-' if hyphen_allowed => hyphen_allowed = false,
            c if c.is_ascii_hexdigit() => {
                digits.push(c);
                hyphen_allowed = digits.len().is_multiple_of(4) && digits.len() < 32;
            }
            _ => return Err(refused()),
        }
    }
    let id = uuid::Uuid::try_parse(&digits).map_err(|_| refused())?;
    Ok(quoted(&id.hyphenated().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use DataType::*;

    // Every expectation of this module was read off PostgreSQL 15.
    #[test]
    fn values_print_as_postgresql_prints_them() {
        for (of, json, printed) in [
            (Text, "1.50", r#""1.50""#),
            (Text, r#"{"a": 1}"#, r#""{\"a\": 1}""#),
            (Text, r#""a\"\\\/\b\f\n\r\t\u0001\u001f\u00e9\ud83d\ude00""#, r#""a\"\\/\b\f\n\r\t\u0001\u001fé😀""#),
            (Bool, r#"" Yes ""#, "true"),
            (Bool, "1", "true"),
            (Bool, r#""of""#, "false"),
            (Int2, "-32768", "-32768"),
            (Int4, r#"" 12 ""#, "12"),
            (Int4, r#""+5""#, "5"),
            (Int4, "-0", "0"),
            (Uuid, r#""{A0EEBC999C0B4EF8BB6D6BB9BD380A11}""#, r#""a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11""#),
            (Uuid, r#""a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11""#, r#""a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11""#),
            (Json, r#"{"a":  1, "a":2}"#, r#"{"a":  1, "a":2}"#),
            (Json, r#""null""#, r#""null""#),
            (Json, "1e3", "1e3"),
        ] {
            assert_eq!(of.print(json), Ok(Some(printed.into())), "{of:?} of {json}");
        }
        for of in [Text, Bool, Int8, Numeric, Float8, Uuid, Timestamptz, Json, Jsonb] {
            assert_eq!(of.print("null"), Ok(None), "{of:?}");
        }
    }

    #[test]
    fn refusals_are_worded_like_postgresql() {
        for (of, json, message) in [
            (Text, r#""\u0000""#, "unsupported Unicode escape sequence"),
            (Text, r#""\ud800""#, "invalid input syntax for type json"),
            (Bool, "2", r#"invalid input syntax for type boolean: "2""#),
            (Bool, r#""o""#, r#"invalid input syntax for type boolean: "o""#),
            (Bool, r#""""#, r#"invalid input syntax for type boolean: """#),
            (Int2, "32768", r#"value "32768" is out of range for type smallint"#),
            (Int4, "1.0", r#"invalid input syntax for type integer: "1.0""#),
            (Int4, "1e3", r#"invalid input syntax for type integer: "1e3""#),
            (Int4, r#""- 5""#, r#"invalid input syntax for type integer: "- 5""#),
            (Int4, r#""999999999999x""#, r#"value "999999999999x" is out of range for type integer"#),
            (Int8, "9223372036854775808", r#"value "9223372036854775808" is out of range for type bigint"#),
            (Uuid, "1", r#"invalid input syntax for type uuid: "1""#),
            (Timestamptz, r#""""#, r#"invalid input syntax for type timestamp with time zone: """#),
            (Json, r#"{"a":"\u0000"}"#, "unsupported Unicode escape sequence"),
        ] {
            assert_eq!(of.print(json), Err(message.into()), "{of:?} of {json}");
        }
    }
}
