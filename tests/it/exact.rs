//! A record comes back byte for byte, whichever way it is read, and its key in canonical text.

use serde_json::json;

use crate::harness::{Kind, Node, Raw, both};

/// What a `json` column keeps as it was written: numbers beyond any float, spelling, order, duplicates, spaces.
const BODIES: [&str; 9] = [
    "123456789012345678901234567890123456789012345",
    "0.10",
    "1e400",
    r#"{"e":"\u00e9","emoji":"🫖 \ud83e\uded6","n":-0.0,"z":1.0E+2}"#,
    r#""\u00e9 top-level \/ \"string\"""#,
    r#"{"b": 1, "a":[ 1 ,2 ],  "b": 2}"#,
    r#"{"":"","deep":{"x":[[[]]]},"line":"\n\t"}"#,
    "true",
    r#"{"stamp":"9.9","value":null,"id":7}"#,
];

/// The exact text of `"value"` in a record, an answer or a push, whose closing braces are `tail`.
fn value_of<'a>(text: &'a str, tail: &str) -> &'a str {
    let (_, value) = text.split_once(r#","value":"#).expect("a value");
    value.strip_suffix(tail).unwrap_or_else(|| panic!("{tail:?} does not end {value}"))
}

async fn http(node: &Node, path: &str) -> (String, String) {
    let answer = reqwest::get(node.http(path)).await.expect("answers");
    let etag = answer.headers()["etag"].to_str().expect("text").to_owned();
    (answer.text().await.expect("a body"), etag)
}

#[tokio::test]
async fn a_nul_escape_that_psql_wrote_is_read_as_it_is_written() {
    let node = Node::start(Kind::Postgres).await;
    let mut raw = Raw::open(&node).await;
    raw.request(1, "subscribe", &json!(["readings", 7])).await;
    raw.text().await;
    raw.text().await;
    node.database().run(r#"INSERT INTO readings (id, body) VALUES (7, '{"nul":"a\u0000b"}')"#).await;
    let expected = r#"{"id":7,"label":null,"body":{"nul":"a\u0000b"},"amount":null,"at":null}"#;
    assert_eq!(value_of(&raw.text().await, "}}}"), expected);
    raw.request(1, "get", &json!(["readings", 7])).await;
    assert_eq!(value_of(&raw.text().await, "}}"), expected);
    node.stop().await;
}

both! {
// PostgreSQL's own functions cannot take U+0000 apart, so a write with it is refused rather than changed.
async fn a_nul_escape_in_a_json_column_is_refused_with_its_column(kind) {
    let node = Node::start(kind).await;
    let mut raw = Raw::open(&node).await;
    raw.send_text(r#"{"jsonrpc":"2.0","id":1,"method":"put","params":["readings",7,{"body":{"nul":"a\u0000b"}}]}"#).await;
    let error = raw.value().await["error"].take();
    assert_eq!((&error["code"], &error["data"]["column"]), (&json!(-32005), &json!("body")), "{error}");
    node.stop().await;
}

async fn a_json_column_comes_back_byte_for_byte_through_every_door(kind) {
    let node = Node::start(kind).await;
    let (mut writer, mut reader) = (Raw::open(&node).await, Raw::open(&node).await);
    for (at, body) in BODIES.iter().enumerate() {
        for (collection, key, quoted) in [
            ("readings", format!("{at}"), format!("{at}")),
            ("parcels", format!("a0eebc99-9c0b-4ef8-bb6d-00000000000{at}"), format!("\"a0eebc99-9c0b-4ef8-bb6d-00000000000{at}\"")),
        ] {
            let others = if collection == "readings" { (r#""label":null,"#, r#","amount":null,"at":null"#) } else { ("", r#","note":null"#) };
            let expected = format!(r#"{{"id":{quoted},{}"body":{body}{}}}"#, others.0, others.1);
            reader.request(1, "subscribe", &json!([collection, key])).await;
            assert!(reader.text().await.contains("\"result\":\"s"));
            assert!(reader.text().await.contains("\"value\":null"));

            writer.send_text(&format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"put","params":{{"collection":"{collection}","key":"{key}","value":{{"body":{body}}}}}}}"#
            )).await;
            let written = writer.value().await;
            let stamp = written["result"]["stamp"].as_str().unwrap_or_else(|| panic!("{body}: {written}"));

            assert_eq!(value_of(&reader.text().await, "}}}"), expected, "pushed");
            for _ in 0..2 {
                reader.request(1, "get", &json!([collection, key])).await;
                assert_eq!(value_of(&reader.text().await, "}}"), expected, "read");
            }
            reader.request(1, "get_many", &json!([collection, [key]])).await;
            assert_eq!(value_of(&reader.text().await, "}]}}"), expected, "read as one of many");
            let (text, etag) = http(&node, &format!("/v1/{collection}/{key}")).await;
            assert_eq!((text, etag), (expected.clone(), format!("\"{stamp}\"")), "read by HTTP");

            // Once more from the store, through another column's patch.
            let column = if collection == "readings" { "label" } else { "note" };
            let patch = json!({"collection": collection, "key": key, "value": {column: "é"}, "return": true});
            writer.request(1, "patch", &patch).await;
            let patched = expected.replace(&format!("\"{column}\":null"), &format!("\"{column}\":\"é\""));
            assert_eq!(value_of(&writer.text().await, "}}"), patched, "patched");
            assert_eq!(value_of(&reader.text().await, "}}}"), patched, "pushed after a patch");
        }
    }
    node.stop().await;
}

async fn a_key_is_one_record_however_it_is_spelt(kind) {
    let node = Node::start(kind).await;
    let mut raw = Raw::open(&node).await;
    let (upper, lower) = ("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
    for (collection, canonical, spellings) in [
        ("parcels", lower, vec![json!(upper), json!(lower), json!(format!("{{{upper}}}")), json!(upper.replace('-', ""))]),
        ("readings", "42", vec![json!("+42"), json!(42), json!("0042"), json!("42")]),
        ("readings", "-9223372036854775808", vec![json!(i64::MIN), json!("-9223372036854775808")]),
        ("readings", "0", vec![json!("-0"), json!(0)]),
    ] {
        for key in &spellings {
            raw.request(1, "subscribe", &json!({"collection": collection, "key": key})).await;
            let answer = raw.value().await;
            assert!(answer["result"].is_string(), "{key}: {answer}");
            assert_eq!(raw.value().await["params"]["result"]["key"], canonical);
            raw.request(2, "unsubscribe", &json!([answer["result"]])).await;
            assert_eq!(raw.value().await["result"], true);
        }
        for (at, key) in spellings.iter().enumerate() {
            raw.request(1, "put", &json!({"collection": collection, "key": key, "value": {"body": at}})).await;
            assert_eq!(raw.value().await["result"]["key"], canonical);
            for again in &spellings {
                raw.request(1, "get", &json!([collection, again])).await;
                let record = raw.value().await["result"].take();
                assert_eq!((&record["key"], &record["value"]["body"]), (&json!(canonical), &json!(at)), "{key} {again}");
            }
        }
        raw.request(1, "subscribe", &json!({"collection": collection, "keys": spellings})).await;
        raw.value().await;
        assert_eq!(raw.value().await["params"]["result"]["key"], canonical);
        raw.request(2, "get", &json!([collection, "1"])).await;
        assert_eq!(raw.value().await["id"], 2, "one snapshot for one key, however often it was named");
    }
    node.stop().await;
}
}
