//! The Rust client on a real node: its example, `clients/rust/examples/tour.rs`, and its streams. Lists are `list::client`'s.

use freshet_client::{Client, Options, Patch, WriteOptions};
use futures_util::{FutureExt as _, StreamExt as _, stream::select_all};

use crate::harness::{Node, both, until, within};

#[path = "../../clients/rust/examples/tour.rs"]
#[allow(dead_code, reason = "its `main` is the example's")]
mod example;

both! {
    async fn the_tour_reads_watches_writes_and_lists(kind) {
        let node = Node::start(kind).await;
        let client = Client::connect(&node.address().to_string(), Options::new()).await.expect("connect");
        for (key, stock) in [("85123A", 41), ("85123B", 7), ("22423", 5)] {
            let value = format!(r#"{{"name":"HEART","price":295,"stock":{stock}}}"#);
            client.put("products", key, &value, WriteOptions::new()).await.expect("put");
        }
        let mut told = Vec::new();
        within("the tour", example::tour(&client, "85123A", |line| told.push(line))).await.expect("no error");
        let told = told.join("\n");
        for part in ["HEART: 41 in stock", "sold one", "the watch shows 40 in stock", "begin with 851: 85123A, 85123B"] {
            assert!(told.contains(part), "{part:?} is not among:\n{told}");
        }
        assert!(!told.contains("22423"), "{told}");
        client.close().await;
        node.stop().await;
    }
    async fn subscriptions_are_streams_that_end_with_the_client(kind) {
        let node = Node::start(kind).await;
        let client = Client::connect(&node.url(), Options::new()).await.expect("connect");
        let mut subscriptions = Vec::new();
        for key in ["a", "b"] {
            client.put("products", key, r#"{"name":"x","price":1,"stock":9}"#, WriteOptions::new()).await.expect("put");
            subscriptions.push(client.subscribe("products", &[key], []).await.expect("subscribed"));
        }
        // What the stream's own traits make of them, polled again and again and given up each time.
        let mut states = select_all(subscriptions);
        let mut stamps = Vec::new();
        for round in 0..20 {
            let key = ["a", "b"][round % 2];
            let written = client.patch("products", key, &Patch::new().increment("price", 1), WriteOptions::new()).await;
            let stamp = written.expect("patched").stamp;
            let mut has_come = false;
            until("the state has come", async || {
                while let Some(Some(record)) = states.next().now_or_never() {
                    has_come |= record.key == key && record.stamp >= stamp;
                    stamps.push((record.key, record.stamp));
                }
                has_come
            })
            .await;
        }
        for key in ["a", "b"] {
            let of_key: Vec<_> = stamps.iter().filter(|(of, _)| of == key).map(|(_, stamp)| *stamp).collect();
            // Ten rounds each; the first one may overtake what was there before.
            assert!(of_key.len() >= 10 && of_key.is_sorted_by(|one, next| one < next), "{of_key:?}");
        }
        client.close().await;
        assert!(within("they end", states.next()).await.is_none());
        assert!(states.next().await.is_none());
        node.stop().await;
    }
}
