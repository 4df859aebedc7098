//! What keepers tell of changes lets nodes look sooner and poll less, and does nothing else.

use freshet::store::postgres;

use super::{node, with_redis};
use crate::harness::{Node, Proxy, Redis, Socket, TestDatabase, Watcher, database, until};

const FILL: &str = "INSERT INTO products (sku, name, price) VALUES ('a', 'x', 1), ('b', 'x', 1)";
const CHANGES: u64 = 60;

/// A keeper, and another node whose messages to the database are counted.
async fn told(redis: &Redis) -> (TestDatabase, Node, Node, Proxy) {
    let database = database().await;
    database.run(FILL).await;
    let keeper = node(&database, with_redis(&redis.url())).await;
    let proxy = Proxy::to(&database.url()).await;
    let node = Node::on(postgres::Config::at(proxy.url()), with_redis(&redis.url())).await;
    (database, keeper, node, proxy)
}

/// Waits until the node polls no more than it must.
async fn polls_slowly(proxy: &Proxy) {
    until("the node is told of changes", async || {
        let before = proxy.messages("tail");
        tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
        (1..=2).contains(&(proxy.messages("tail") - before))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_reach_their_screens_without_a_poll_for_each() {
    let redis = Redis::start().await;
    let (database, keeper, node, proxy) = told(&redis).await;
    let mut watcher = Watcher::of(&node, &["a"]).await;
    polls_slowly(&proxy).await;
    let before = proxy.messages("tail");
    for _ in 0..CHANGES {
        database.run("UPDATE products SET price = price + 1 WHERE sku = 'a'").await;
        watcher.until_true_to(&database).await;
    }
    let polls = proxy.messages("tail") - before;
    assert!(polls <= CHANGES / 2, "{polls} polls for {CHANGES} changes");
    for node in [keeper, node] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_told_nothing_any_more_polls_as_before() {
    let mut redis = Redis::start().await;
    let (database, keeper, node, proxy) = told(&redis).await;
    let mut watcher = Watcher::of(&node, &["a"]).await;
    polls_slowly(&proxy).await;
    redis.kill().await;
    let before = proxy.messages("tail");
    until("it polls for each change", async || {
        database.run("UPDATE products SET price = price + 1 WHERE sku = 'a'").await;
        watcher.until_true_to(&database).await;
        proxy.messages("tail") - before > CHANGES
    })
    .await;
    redis.restart().await;
    polls_slowly(&proxy).await;
    for node in [keeper, node] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_wrongly_changes_no_screen_and_no_answer() {
    let redis = Redis::start().await;
    let (database, keeper, node, proxy) = told(&redis).await;
    polls_slowly(&proxy).await;
    let mut watcher = Watcher::of(&node, &["a", "b"]).await;
    let mut socket = Socket::open(&node).await;
    let names: Vec<String> = redis.command(&["KEYS", "*:changes"]).await;
    let chain: String = redis.command(&["GET", &names[0].replace(":changes", ":chain")]).await;
    let life = &chain[..16];
    let change = |stamp: &str, key: &str, collection: &str, rest: &str| {
        format!(r#"[{{"collection":"{collection}","key":"{key}","stamp":"{stamp}"{rest}}}]"#)
    };
    let planted = [
        change("1.9000000000", "a", "products", ""),
        change("1.9000000000", "a", "products", r#","deleted":true"#),
        change("7.1", "a", "products", ""),
        change("1.1", "a", "products", ""),
        change("1.5", "no such key", "products", ""),
        change("1.5", "a", "no such collection", ""),
        change("five", "a", "products", ""),
        "{".to_owned(),
        "[]".to_owned(),
    ];
    for (n, planted) in planted.iter().cycle().take(100).enumerate() {
        let incarnation = if n % 5 == 0 { "ffffffffffffffff" } else { life };
        let entry = ["XADD", &names[0], "*", "incarnation", incarnation, "applied", "99999999999", "changes", planted];
        redis.command::<String>(&entry).await;
        let price = 100 + n;
        database.run(&format!("UPDATE products SET price = {price} WHERE sku = 'a'")).await;
        watcher.until_true_to(&database).await;
        let read = socket.ok("get", serde_json::json!(["products", "b"])).await;
        assert_eq!((&read["value"]["price"], read.get("stale_ms")), (&serde_json::json!(1), None), "{read}");
    }
    for node in [keeper, node] {
        node.stop().await;
    }
}
