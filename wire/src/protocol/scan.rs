//! The quick way to read the most frequent request: a plain `get`.

use super::lexer::Lexer;

/// A `get` without options, borrowed from its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainGet<'a> {
    /// The id's JSON text: a string (quotes included) or an integer.
    pub id: &'a str,
    /// The collection's name.
    pub collection: &'a str,
    /// The key.
    pub key: &'a str,
}

/// Reads `text` when it is a `get` (or `freshet_get`) with an id and exactly the params `collection` and `key`, by
/// name or by position. Members may stand in any order, with whitespace between; strings must be free of escapes.
///
/// `None` says nothing about the text but "ask [`parse`](super::parse)". What is accepted, `parse` followed by
/// [`GetParams::parse`](super::GetParams::parse) reads exactly alike.
pub fn plain_get(text: &str) -> Option<PlainGet<'_>> {
    let mut lexer = Lexer::new(text);
    let mut found = Found::default();
    lexer.object(|lexer, name| found.member(lexer, name))?;
    lexer.end()?;
    let (collection, key) = found.params?;
    (found.version && found.method).then_some(PlainGet { id: found.id?, collection, key })
}

/// The envelope's members met so far.
#[derive(Default)]
struct Found<'a> {
    version: bool,
    method: bool,
    id: Option<&'a str>,
    params: Option<(&'a str, &'a str)>,
}

impl<'a> Found<'a> {
    /// Takes the member `name`; `None` for one that is unknown, comes twice or holds anything unusual.
    #[inline(always)]
    fn member(&mut self, lexer: &mut Lexer<'a>, name: &str) -> Option<()> {
        match name {
            "jsonrpc" if !self.version => self.version = lexer.string()? == "2.0",
            "method" if !self.method => self.method = matches!(lexer.string()?, "get" | "freshet_get"),
            "id" if self.id.is_none() => self.id = Some(lexer.string_or_integer()?),
            "params" if self.params.is_none() => self.params = Some(params(lexer)?),
            _ => return None,
        }
        // A wrong version or method stays false, which a second, right one must not repair.
        (name != "jsonrpc" || self.version).then_some(())?;
        (name != "method" || self.method).then_some(())
    }
}

/// Collection and key, by name or by position.
#[inline(always)]
fn params<'a>(lexer: &mut Lexer<'a>) -> Option<(&'a str, &'a str)> {
    lexer.space();
    if lexer.peek()? == b'[' {
        return positional(lexer);
    }
    let (mut collection, mut key) = (None, None);
    lexer.object(|lexer, name| {
        let slot = match name {
            "collection" => &mut collection,
            "key" => &mut key,
            _ => return None,
        };
        slot.replace(lexer.string()?).is_none().then_some(())
    })?;
    Some((collection?, key?))
}

fn positional<'a>(lexer: &mut Lexer<'a>) -> Option<(&'a str, &'a str)> {
    lexer.byte(b'[')?;
    let collection = lexer.string()?;
    lexer.byte(b',')?;
    let key = lexer.string()?;
    lexer.byte(b']')?;
    Some((collection, key))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;
    use crate::protocol::{GetParams, Message, parse};

    const PLAIN: &str = r#"{"jsonrpc":"2.0","id":7,"method":"get","params":{"collection":"products","key":"85123A"}}"#;

    /// What the full path makes of `text`: id, collection and key of a get without options.
    fn full(text: &str) -> Option<(String, String, String)> {
        let Ok(Message::One(request)) = parse(text, 8) else { return None };
        let params = GetParams::parse(request.params).ok()?;
        let plain = params.min_stamp.is_none() && params.max_stale.is_none();
        let get = plain && matches!(&*request.method, "get" | "freshet_get");
        get.then(|| (request.id.unwrap_or("none").into(), params.collection.into(), params.key.into()))
    }

    fn agrees(text: &str) -> bool {
        plain_get(text).is_none_or(|get| full(text) == Some((get.id.into(), get.collection.into(), get.key.into())))
    }

    #[test]
    fn the_plain_shape_is_taken_in_any_order_and_spacing() {
        let expected = Some(PlainGet { id: "7", collection: "products", key: "85123A" });
        assert_eq!(plain_get(PLAIN), expected);
        let other = " {\"params\" : {\"key\":\"85123A\",\n\"collection\":\"products\"}\t,\"method\":\"freshet_get\",\"id\" :7,\"jsonrpc\":\"2.0\" } \r\n";
        assert_eq!(plain_get(other), expected);
        let positional = PLAIN.replace(r#"{"collection":"products","key":"85123A"}"#, r#" [ "products" , "85123A" ] "#);
        assert_eq!(plain_get(&positional), expected);
        assert_eq!(plain_get(&PLAIN.replace('7', "\"a7\"")).map(|get| get.id), Some("\"a7\""));
        assert_eq!(plain_get(&PLAIN.replace('7', "-0")).map(|get| get.id), Some("-0"));
    }

    #[test]
    fn everything_else_is_left_to_the_full_path() {
        for (from, to) in [
            ("7", "07"),
            ("7", "-"),
            ("7", "1.0"),
            ("7", "1e3"),
            ("7", "null"),
            ("7", "{}"),
            ("7", ""),
            ("\"id\":7,", ""),
            ("\"id\":7,", "\"id\":7,\"id\":7,"),
            ("\"id\":7,", "\"x\":7,"),
            ("2.0", "2.1"),
            ("\"jsonrpc\":\"2.0\"", "\"jsonrpc\":\"1\",\"jsonrpc\":\"2.0\""),
            ("\"method\":\"get\"", "\"method\":\"put\",\"method\":\"get\""),
            ("get", "g\\u0065t"),
            ("\"85123A\"", "85123"),
            ("85123A", "85\\n"),
            ("85123A", "85\n"),
            ("\"key\"", "\"min_stamp\""),
            ("\"85123A\"}", "\"85123A\",\"key\":\"b\"}"),
            ("\"85123A\"}", "\"85123A\",}"),
            ("}}", "}"),
            ("}}", "}}}"),
            ("}}", "}},"),
            ("{", "[{"),
        ] {
            let text = PLAIN.replacen(from, to, 1);
            assert_ne!(text, PLAIN);
            assert_eq!(plain_get(&text), None, "{text}");
        }
    }

    fn part() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("\"jsonrpc\":\"2.0\"".to_owned()),
            Just("\"method\":\"get\"".to_owned()),
            prop_oneof!["-?[0-9]{0,3}", "\"[a-z\\\\\u{e9}]{0,3}\"", Just("null".to_owned())]
                .prop_map(|id| format!("\"id\":{id}")),
            ("[a-c\\\\\"\u{1}\u{e9}]{0,3}", 0..3_u8).prop_map(|(key, shape)| match shape {
                0 => format!("\"params\":{{\"key\":\"{key}\",\"collection\":\"c\"}}"),
                1 => format!("\"params\" : {{ \"collection\" :\"c\",\"key\":\"{key}\" }}"),
                _ => format!("\"params\" : [ \"c\" ,\"{key}\"]"),
            }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn quick_scan_agrees_with_serde(parts in prop::collection::vec(part(), 3..6), ends in "[ \n]{0,2}") {
            let text = format!("{ends}{{{}}}{ends}", parts.join(","));
            prop_assert!(agrees(&text), "{}", text);
        }

        #[test]
        fn quick_scan_agrees_with_serde_on_mutated_text(
            edits in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![
                any::<char>(), prop::sample::select(r#"{}[]:,"\ 0-.e"#.chars().collect::<Vec<_>>()),
            ], 0..3_u8), 1..4),
        ) {
            let mut text: Vec<char> = PLAIN.chars().collect();
            for (at, with, how) in edits {
                let at = at.index(text.len());
                match how {
                    0 => text[at] = with,
                    1 => text.insert(at, with),
                    _ => drop(text.remove(at)),
                }
            }
            let text: String = text.into_iter().collect();
            prop_assert!(agrees(&text), "{}", text);
        }

        #[test]
        fn plain_ids_keys_and_collections_are_accepted(id in 0..u64::MAX, collection in "[a-z_]{1,12}", key in "[^\"\\\\\u{0}-\u{1f}]{0,12}") {
            let text = format!(
                r#"{{"jsonrpc":"2.0","id":{id},"method":"get","params":{{"collection":"{collection}","key":"{key}"}}}}"#
            );
            let id = id.to_string();
            prop_assert_eq!(plain_get(&text), Some(PlainGet { id: &id, collection: &collection, key: &key }));
            prop_assert!(agrees(&text));
        }
    }

    /// Prints ns a message; run with `cargo test --release -- --ignored --nocapture scan_beside_serde`.
    #[test]
    #[ignore = "a measurement"]
    fn scan_beside_serde() {
        const ROUNDS: u32 = 2_000_000;
        for _ in 0..3 {
            let start = Instant::now();
            for _ in 0..ROUNDS {
                assert!(plain_get(std::hint::black_box(PLAIN)).is_some());
            }
            let scan = start.elapsed() / ROUNDS;
            let start = Instant::now();
            for _ in 0..ROUNDS {
                let Ok(Message::One(request)) = parse(std::hint::black_box(PLAIN), 8) else { panic!("no request") };
                assert!(GetParams::parse(request.params).is_ok());
            }
            println!("scan {scan:?}, serde {:?}", start.elapsed() / ROUNDS);
        }
    }
}
