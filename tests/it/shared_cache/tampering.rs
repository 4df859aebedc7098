//! Bytes from Redis are never trusted.

use serde_json::json;

use super::{hits, node, price, without_local};
use crate::harness::{Node, Redis, Socket, TestDatabase, database, until};

/// A node that has filled the slot of `a`, whose name is told.
async fn filled() -> (TestDatabase, Redis, Node, Socket, String) {
    let (database, redis) = (database().await, Redis::start().await);
    let fill = "INSERT INTO products (sku, name, price) VALUES ('a', 'x', 1), ('b', 'x', 2)";
    database.run(fill).await;
    let node = node(&database, without_local(&redis.url())).await;
    let mut socket = Socket::open(&node).await;
    for key in ["a", "b"] {
        let before = hits(&node);
        until("it is answered by Redis", async || {
            price(&mut socket, key).await;
            hits(&node) > before
        })
        .await;
    }
    let name = slot(&redis, "a").await;
    (database, redis, node, socket, name)
}

async fn slot(redis: &Redis, key: &str) -> String {
    let names: Vec<String> = redis.command(&["KEYS", &format!("*:products:{key}")]).await;
    names.into_iter().next().expect("a slot")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_was_altered_is_read_anew() {
    let (_database, redis, node, mut socket, name) = filled().await;
    let (whole, of_another): (String, String) =
        (redis.command(&["GET", &name]).await, redis.command(&["GET", &slot(&redis, "b").await]).await);
    let mut newer = whole.clone();
    // The version, which the checksum covers.
    newer.replace_range(24..40, "00000000000fffff");
    let planted = [
        whole.replace("\"price\":1", "\"price\":9"),
        newer,
        of_another,
        whole[..whole.len() - 3].to_owned(),
        whole[..30].to_owned(),
        String::new(),
        "€".repeat(100),
        format!("{whole}{}", "x".repeat(100_000)),
    ];
    for planted in planted {
        redis.command::<()>(&["SET", &name, &planted]).await;
        assert_eq!(price(&mut socket, "a").await, json!(1), "{}", &planted[..planted.len().min(90)]);
    }
    redis.command::<()>(&["DEL", &name]).await;
    redis.command::<u64>(&["RPUSH", &name, "no", "text"]).await;
    assert_eq!(price(&mut socket, "a").await, json!(1));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_that_was_altered_is_begun_anew() {
    let (database, redis, node, mut socket, name) = filled().await;
    let chain = name.split(":r:").next().expect("a tag").to_owned() + ":chain";
    let whole: String = redis.command(&["GET", &chain]).await;
    for planted in ["", "no chain", &whole.replace(' ', "  "), &format!("{} 99999999999", &whole[..33])] {
        redis.command::<()>(&["SET", &chain, planted]).await;
        database.run("UPDATE products SET price = price + 10 WHERE sku = 'a'").await;
        let shown: i64 = database.value("SELECT price FROM products WHERE sku = 'a'").await;
        until("the change is shown", async || price(&mut socket, "a").await == json!(shown)).await;
        let before = hits(&node);
        until("Redis answers again", async || {
            assert_eq!(price(&mut socket, "a").await, json!(shown));
            hits(&node) > before
        })
        .await;
    }
    redis.command::<()>(&["DEL", &chain]).await;
    redis.command::<u64>(&["RPUSH", &chain, "no", "text"]).await;
    let before = hits(&node);
    until("Redis answers again", async || {
        price(&mut socket, "a").await;
        hits(&node) > before
    })
    .await;
    node.stop().await;
}
