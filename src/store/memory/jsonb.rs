//! JSON as `jsonb` keeps it, and what `json` asks of the strings in it.

use std::collections::HashMap;

use serde_json::value::RawValue;

use crate::record::patch::quoted;

use super::{datatype::input, numeric::numeric};

/// Values nested deeper are refused; PostgreSQL's own limit is its stack, some thousands of levels.
const DEPTH_MAX: usize = 128;

/// `json` as `jsonb` prints it: members sorted by length and then bytewise, the last of equal names kept, numbers
/// as `numeric`, one blank behind colons and commas.
///
/// # Errors
/// PostgreSQL's message: a number `numeric` cannot hold, U+0000 or half a surrogate pair in a string, too deep.
///
/// # Source
/// PostgreSQL 15, section 8.14, and `lengthCompareJsonbString` for the order.
pub(super) fn normalised(json: &str) -> Result<String, String> {
    let mut out = String::with_capacity(json.len());
    write(&mut out, json, 0)?;
    Ok(out)
}

fn write(out: &mut String, json: &str, depth: usize) -> Result<(), String> {
    match json.as_bytes().first() {
        Some(b'{' | b'[') if depth == DEPTH_MAX => return Err("stack depth limit exceeded".into()),
        Some(b'{') => return write_object(out, json, depth + 1),
        Some(b'[') => return write_array(out, json, depth + 1),
        Some(b'"') => out.push_str(&quoted(&input(json)?)),
        Some(b't' | b'f' | b'n') => out.push_str(json),
        _ => out.push_str(&numeric(json)?),
    }
    Ok(())
}

fn write_object(out: &mut String, json: &str, depth: usize) -> Result<(), String> {
    let members: HashMap<String, &RawValue> = serde_json::from_str(json).map_err(refused)?;
    let mut members: Vec<_> = members.into_iter().collect();
    members.sort_unstable_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
    out.push('{');
    for (at, (name, value)) in members.into_iter().enumerate() {
        if at > 0 {
            out.push_str(", ");
        }
        if name.contains('\0') {
            return Err("unsupported Unicode escape sequence".into());
        }
        out.push_str(&quoted(&name));
        out.push_str(": ");
        write(out, value.get(), depth)?;
    }
    out.push('}');
    Ok(())
}

fn write_array(out: &mut String, json: &str, depth: usize) -> Result<(), String> {
    let items: Vec<&RawValue> = serde_json::from_str(json).map_err(refused)?;
    out.push('[');
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            out.push_str(", ");
        }
        write(out, item.get(), depth)?;
    }
    out.push(']');
    Ok(())
}

fn refused(_: serde_json::Error) -> String {
    "invalid input syntax for type json".into()
}

/// Refuses valid JSON text whose strings PostgreSQL cannot hold.
///
/// # Errors
/// PostgreSQL's message: U+0000 or half a surrogate pair in a string.
pub(in crate::store) fn check_strings(json: &str) -> Result<(), String> {
    if !json.contains("\\u") {
        return Ok(());
    }
    let mut rest = json;
    while let Some(start) = rest.find('"') {
        let end = start + string_len(&rest[start..]);
        input(&rest[start..end])?;
        rest = &rest[end..];
    }
    Ok(())
}

/// The length of the string token that `json` begins with, quotes included.
fn string_len(json: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in json.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    json.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Every expectation of this module was read off PostgreSQL 15.
    #[test]
    fn jsonb_prints_as_postgresql_does() {
        for (json, printed) in [
            (
                r#"{"bb":1e3,"a":1.50,"a":2.0, "c":[1,{}, [] ,null]}"#,
                r#"{"a": 2.0, "c": [1, {}, [], null], "bb": 1000}"#,
            ),
            (r#"{"a":null,"":1,"é":2,"ab":3}"#, r#"{"": 1, "a": null, "ab": 3, "é": 2}"#),
            (r#""\u00e9\/""#, r#""é/""#),
            ("-0.0", "0.0"),
            ("true", "true"),
        ] {
            assert_eq!(normalised(json).as_deref(), Ok(printed), "{json}");
        }
        assert_eq!(normalised("1e200000"), Err("value overflows numeric format".into()));
    }

    #[test]
    fn hostile_depth_is_refused_and_not_recursed_into() {
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(normalised(&deep(DEPTH_MAX)).is_ok());
        assert_eq!(normalised(&deep(100_000)), Err("stack depth limit exceeded".into()));
    }

    #[test]
    fn an_escaped_backslash_is_no_escape() {
        assert_eq!(check_strings(r#"{"a\\u0000":["\\u0000", "\\\"\u0041"]}"#), Ok(()));
        assert_eq!(check_strings(r#"["\\\u0000"]"#), Err("unsupported Unicode escape sequence".into()));
        assert_eq!(check_strings(r#"{"\udc00":1}"#), Err("invalid input syntax for type json".into()));
    }
}
