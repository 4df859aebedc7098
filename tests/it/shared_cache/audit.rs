//! The standing audit finds what the rules cannot: a slot that somebody has written who knows how.

use freshet::{record::Stamp, shared::Slot};
use serde_json::json;

use super::{node, price, without_local};
use crate::harness::{Node, Redis, Socket, TestDatabase, database, node as nodes, until};

/// A version that no change has reached.
const FAR: u64 = 1 << 40;

/// A node that audits every read of Redis, which has `a` and `b`; with the name of the slot of `a`.
async fn audited() -> (TestDatabase, Redis, Node, Socket, String) {
    let (database, redis) = (database().await, Redis::start().await);
    database.run("INSERT INTO products (sku, name, price) VALUES ('a', 'x', 1), ('b', 'x', 2)").await;
    let mut config = without_local(&redis.url());
    (config.tiers.audit.share, config.tiers.audit.per_second_max) = (1.0, 50);
    let node = node(&database, config).await;
    let mut socket = Socket::open(&node).await;
    let names = async || redis.command::<Vec<String>>(&["KEYS", "*:products:[ab]"]).await;
    until("the slots are filled", async || {
        for (key, expected) in [("a", 1), ("b", 2)] {
            assert_eq!(price(&mut socket, key).await, json!(expected));
        }
        names().await.len() == 2
    })
    .await;
    let name = names().await.into_iter().find(|name| name.ends_with(":a")).expect("a slot of a");
    (database, redis, node, socket, name)
}

/// What a node would have written, had it read this.
async fn altered(redis: &Redis, name: &str, alter: impl FnOnce(&mut Slot)) -> String {
    let stored: Vec<u8> = redis.command(&["GET", name]).await;
    let mut slot = Slot::decode(name, stored).expect("a slot");
    alter(&mut slot);
    String::from_utf8(slot.encode(name)).expect("text")
}

/// Writes that, again where an audit has found it before a client was answered with it.
async fn plant(redis: &Redis, name: &str, planted: &str, mut is_answered: impl AsyncFnMut() -> bool) {
    until("it is answered, since no rule speaks against it", async || {
        redis.command::<()>(&["SET", name, planted]).await;
        is_answered().await
    })
    .await;
}

async fn version(socket: &mut Socket, key: &str) -> u64 {
    socket.ok("get", json!(["products", key])).await["version"].as_u64().expect("a number")
}

fn outcome(node: &Node, outcome: &str) -> u64 {
    node.metrics().where_label("freshet_tiers_audits_total", "outcome", outcome)
}

async fn checks(node: &Node) -> String {
    let answer = reqwest::get(format!("http://{}/readyz?verbose", node.operations())).await.expect("an answer");
    assert_eq!(answer.status(), 200, "clients are served");
    answer.text().await.expect("text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_with_another_content_raises_the_alarm_and_is_removed() {
    let (_database, redis, node, mut socket, name) = audited().await;
    until("records are compared", async || {
        price(&mut socket, "b").await;
        outcome(&node, "right") > 0
    })
    .await;
    assert!(checks(&node).await.contains("audit ok: ") && outcome(&node, "wrong") == 0);
    let planted = altered(&redis, &name, |slot| {
        let value = slot.state.value.take().expect("a value");
        let altered = String::from_utf8(value.to_vec()).expect("text").replace("\"price\":1", "\"price\":9");
        slot.state.value = Some(altered.into());
    })
    .await;
    plant(&redis, &name, &planted, async || price(&mut socket, "a").await == json!(9)).await;
    until("it is found", async || {
        price(&mut socket, "a").await;
        outcome(&node, "wrong") > 0
    })
    .await;
    until("it is removed", async || price(&mut socket, "a").await == json!(1)).await;
    let said = checks(&node).await;
    assert!(said.contains("audit failed: ") && said.contains("shared held products/a as 1."), "{said}");
    assert!(said.ends_with("\ndegraded\n"), "{said}");
    // The bystander.
    assert_eq!(price(&mut socket, "b").await, json!(2));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_from_the_future_is_found_and_the_record_can_be_read_again() {
    let (database, redis, node, mut socket, name) = audited().await;
    let planted = altered(&redis, &name, |slot| slot.state.stamp = Stamp::new(slot.state.stamp.generation, FAR)).await;
    plant(&redis, &name, &planted, async || version(&mut socket, "a").await == FAR).await;
    until("it is found", async || {
        price(&mut socket, "b").await;
        outcome(&node, "wrong") > 0
    })
    .await;
    until("it is removed", async || version(&mut socket, "a").await < FAR).await;
    database.run("UPDATE products SET price = 7 WHERE sku = 'a'").await;
    until("changes are shown", async || price(&mut socket, "a").await == json!(7)).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_lacks_a_change_is_found() {
    let (database, redis, node, mut socket, name) = audited().await;
    let old: String = redis.command(&["GET", &name]).await;
    // Nobody has read it here since, so no floor will be left of it.
    database.run("UPDATE products SET price = 5 WHERE sku = 'a'").await;
    until("the keeper has removed it", async || redis.command::<u64>(&["EXISTS", &name]).await == 0).await;
    let mut config = without_local(&redis.url());
    (config.tiers.audit.share, config.tiers.audit.per_second_max) = (1.0, 50);
    let cold = super::node(&database, config).await;
    redis.command::<()>(&["SET", &name, &old]).await;
    let mut cold_socket = Socket::open(&cold).await;
    assert_eq!(price(&mut cold_socket, "a").await, json!(1), "a node that starts cold has no floor of it");
    until("it is found", async || {
        price(&mut cold_socket, "b").await;
        outcome(&cold, "wrong") > 0
    })
    .await;
    until("it is removed", async || price(&mut cold_socket, "a").await == json!(5)).await;
    assert_eq!(price(&mut socket, "a").await, json!(5), "the node that saw the change was never fooled");
    for node in [node, cold] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_change_all_the_time_are_never_called_wrong() {
    let (database, redis) = (database().await, Redis::start().await);
    database.run("INSERT INTO products (sku, name, price) SELECT 'k' || n, 'x', n FROM generate_series(0, 9) n").await;
    let mut config = super::with_redis(&redis.url());
    (config.tiers.audit.share, config.tiers.audit.per_second_max) = (1.0, 200);
    let node = node(&database, config).await;
    let mut socket = Socket::open(&node).await;
    for step in 0..600 {
        let key = format!("k{}", step % 10);
        match step % 4 {
            0 => database.run(&format!("UPDATE products SET price = price + 1 WHERE sku = '{key}'")).await,
            1 if step % 3 == 0 => database.run(&format!("DELETE FROM products WHERE sku = '{key}'")).await,
            1 => {
                let again = "INSERT INTO products (sku, name, price) VALUES ('KEY', 'x', 1) ON CONFLICT DO NOTHING";
                database.run(&again.replace("KEY", &key)).await;
            }
            _ => drop(price(&mut socket, &key).await),
        }
    }
    until("records were compared", async || {
        price(&mut socket, "k0").await;
        outcome(&node, "right") > 20
    })
    .await;
    assert_eq!(outcome(&node, "wrong"), 0, "{:?}", node.tiers().findings());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_past_the_triggers_is_found_in_l1_and_in_the_filter() {
    let database = database().await;
    database.run("INSERT INTO products (sku, name, price) VALUES ('a', 'x', 1)").await;
    let mut config = nodes::config();
    (config.tiers.audit.share, config.tiers.audit.per_second_max) = (1.0, 50);
    let node = Node::over(&database.url(), config).await;
    let mut socket = Socket::open(&node).await;
    let denied = || node.metrics().where_label("freshet_tiers_answers_total", "source", "filter");
    let mut tried = 0;
    until("L1 has the one, and the filter denies the other", async || {
        price(&mut socket, "a").await;
        // One that was read, and not denied, is absent in L1.
        tried += 1;
        price(&mut socket, &format!("n{tried}")).await;
        denied() > 0
    })
    .await;
    let other = format!("n{tried}");
    let past = format!(
        "BEGIN; SET LOCAL session_replication_role = replica; UPDATE products SET price = 9 WHERE sku = 'a'; \
         INSERT INTO products (sku, name, price, freshet_version) VALUES ('{other}', 'x', 5, 1); COMMIT"
    );
    database.run(&past).await;
    until("the change is shown", async || price(&mut socket, "a").await == json!(9)).await;
    until("the filter lets the key pass", async || price(&mut socket, &other).await == json!(5)).await;
    assert!(node.tiers().findings().wrong >= 2, "{:?}", node.tiers().findings());
    node.stop().await;
}
