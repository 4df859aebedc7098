//! Pages while others write, what a prefix selects, and what a page may hold.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::{keys, page, whole};
use crate::harness::{Node, Socket, both};

/// Keys that stay, and keys between them that come and go.
const STAYING: usize = 150;

both! {
    async fn no_key_that_stays_is_missed_or_doubled_while_others_come_and_go(kind) {
        let node = Node::start(kind).await;
        let mut socket = Socket::open(&node).await;
        let staying: Vec<String> = (0..STAYING).map(|n| format!("k{n:03}")).collect();
        for key in &staying {
            socket.ok("put", json!(["products", key, {"name": "x", "price": 1}])).await;
        }
        let is_done = AtomicBool::new(false);
        let mut writer = Socket::open(&node).await;
        let churn = async {
            let mut changes = 0;
            while !is_done.load(Ordering::Relaxed) {
                let key = format!("k{:03}x", changes * 7 % STAYING);
                writer.ok("put", json!(["products", key, {"name": "x", "price": 2}])).await;
                writer.ok("delete", json!(["products", key])).await;
                let key = format!("k{:03}y", changes * 11 % STAYING);
                writer.ok("put", json!(["products", key, {"name": "x", "price": 2}])).await;
                let key = format!("k{:03}y", (changes + 1) * 11 % STAYING);
                writer.ok("delete", json!(["products", key])).await;
                changes += 1;
            }
            changes
        };
        let lists = async {
            let mut seen = 0;
            for limit in [1, 3, 10, 10, 10, 40] {
                let records = whole(&mut socket, "products", None, limit).await;
                let found = keys(&records);
                assert!(found.is_sorted_by(|one, next| one < next), "{found:?}");
                let stayed: Vec<_> = found.iter().filter(|key| key.len() == 4).collect();
                assert_eq!(stayed, staying.iter().collect::<Vec<_>>());
                seen += found.len() - stayed.len();
            }
            is_done.store(true, Ordering::Relaxed);
            seen
        };
        let (changes, seen) = tokio::join!(churn, lists);
        assert!(changes > 0 && seen > 0, "{changes} changes, of which {seen} keys were seen");
        node.stop().await;
    }

    async fn a_prefix_selects_what_begins_with_it_and_nothing_else(kind) {
        let node = Node::start(kind).await;
        let mut socket = Socket::open(&node).await;
        let mut all = [
            "a", "a%", "a%b", "a_b", "a\\", "a\\b", "a'b", "a\"b", "ab", "axb", "A", "aé", "aéb", "ae", "e\u{301}", "é", "a\u{10ffff}",
            "a\u{10ffff}z", "b", "\u{d7ff}", "\u{e000}", "日本", "日曜", "a b", "a+b", "a*", "a[b", "a\n",
        ];
        all.sort_unstable();
        for key in all {
            socket.ok("put", json!(["products", key, {"name": "x", "price": 1}])).await;
        }
        for prefix in ["", "a", "a%", "a_", "a\\", "a'", "a\"", "é", "aé", "e", "a\u{10ffff}", "\u{d7ff}", "日", "nothing", "a ", "a+", "a*"] {
            let expected: Vec<&str> = all.iter().copied().filter(|key| key.starts_with(prefix)).collect();
            let records = whole(&mut socket, "products", Some(prefix), 2).await;
            assert_eq!(keys(&records), expected, "{prefix:?}");
            let url = format!("{}?limit=1000&prefix={}", node.http("/v1/products"), percent(prefix));
            let answer = reqwest::get(url).await.expect("answered");
            assert_eq!(answer.headers()["cache-control"], "no-cache");
            let mut body: Value = answer.json().await.expect("JSON");
            assert_eq!(body["records"].take(), json!(records), "{prefix:?} over HTTP");
            assert_eq!(body.get("cursor"), None);
        }
        node.stop().await;
    }

    async fn a_page_of_large_records_ends_before_it_is_too_large_and_the_list_goes_on(kind) {
        let node = Node::start(kind).await;
        let mut socket = Socket::open(&node).await;
        let large = "x".repeat(900_000);
        for n in 0..12 {
            socket.ok("put", json!(["products", format!("k{n:02}"), {"name": large, "price": 1}])).await;
        }
        let (records, cursor) = page(&mut socket, json!(["products"])).await;
        assert!((1..=5).contains(&records.len()) && cursor.is_some(), "{} records", records.len());
        let all = whole(&mut socket, "products", None, 100).await;
        assert_eq!(keys(&all), (0..12).map(|n| format!("k{n:02}")).collect::<Vec<_>>());
        // The same over HTTP, and small ones afterwards on what was left of the connections.
        let page: Value = reqwest::get(node.http("/v1/products")).await.expect("answered").json().await.expect("JSON");
        assert_eq!(page["records"].as_array().map(Vec::len), Some(records.len()));
        assert_eq!(keys(&whole(&mut socket, "products", Some("k1"), 1).await), ["k10", "k11"]);
        node.stop().await;
    }
}

fn percent(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
