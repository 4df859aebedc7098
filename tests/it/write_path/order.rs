//! The writes of one key that one connection sends are carried out in the order it sent them.

use freshet::service::Conditions;
use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use super::node_with_products;
use crate::harness::{Node, Socket, until};

const KEYS: usize = 40;
const PUTS: usize = 200;

fn request(id: usize, method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()
}

/// Puts each of a few keys many times, all sent before the first answer is read.
async fn pipeline(node: &Node, first_key: usize) {
    let mut socket = Socket::open(node).await;
    for n in 0..PUTS {
        let key = format!("k{}", first_key + n % 4);
        let value = json!({"name": "put", "price": n, "stock": n});
        socket.send(request(n, "put", &json!({"collection": "products", "key": key, "value": value}))).await;
    }
    for _ in 0..PUTS {
        let answer = socket.text().await;
        assert!(answer.get("error").is_none(), "{answer}");
    }
}

/// Sends writes that are refused until `done`, up to 64 of them under way.
async fn poison(node: &Node, done: &tokio::sync::Notify) {
    let mut socket = Socket::open(node).await;
    let mut sent = 0;
    let bad = |n: usize| {
        let value = [json!({"stock": -1}), json!({"price": "free"}), json!({"name": null})][n % 3].clone();
        request(n, "patch", &json!({"collection": "products", "key": format!("k{}", n % KEYS), "value": value}))
    };
    for _ in 0..64 {
        socket.send(bad(sent)).await;
        sent += 1;
    }
    loop {
        tokio::select! {
            () = done.notified() => return,
            answer = socket.text() => {
                assert_eq!(answer["error"]["data"]["reason"], "invalid_value", "{answer}");
                socket.send(bad(sent)).await;
                sent += 1;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pipelined_puts_end_on_the_last_beside_a_poisoner() {
    for shards in [1, 64] {
        let (node, database) = node_with_products(shards, KEYS as u32).await;
        let done = tokio::sync::Notify::new();
        let writers = async {
            join_all((0..KEYS).step_by(4).map(|key| pipeline(&node, key))).await;
            done.notify_one();
        };
        tokio::join!(writers, poison(&node, &done));
        let last: Vec<i64> = (0..4).map(|n| (PUTS - 4 + n) as i64).collect();
        let wrong = "SELECT count(*) FROM products WHERE price <> $1";
        let wrong = wrong.replace("$1", &format!("({} + substr(sku, 2)::int % 4)", last[0]));
        assert_eq!(database.value::<i64>(&wrong).await, 0, "{shards} shards");
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_kind_of_write_keeps_its_place_in_the_line() {
    let (node, _database) = node_with_products(64, 1).await;
    let mut socket = Socket::open(&node).await;
    for round in 0..30 {
        let key = json!("new");
        let steps = [
            ("put", json!({"collection": "products", "key": key, "value": {"name": "a", "price": round}})),
            ("patch", json!({"collection": "products", "key": key, "increment": {"price": 1}})),
            ("delete", json!({"collection": "products", "key": key})),
            ("put", json!({"collection": "products", "key": key, "value": {"name": "b", "price": 100 * round}})),
            ("patch", json!({"collection": "products", "key": key, "value": {"stock": 5}, "increment": {"price": 7}})),
        ];
        for (n, (method, params)) in steps.iter().enumerate() {
            socket.send(request(n, method, params)).await;
        }
        let mut versions = [0; 5];
        for _ in 0..5 {
            let answer = socket.text().await;
            let n = answer["id"].as_u64().expect("an id") as usize;
            versions[n] = answer["result"]["version"].as_u64().unwrap_or_else(|| panic!("{answer}"));
        }
        assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
        let read = socket.ok("get", json!(["products", "new"])).await;
        assert_eq!((&read["value"]["price"], &read["value"]["stock"]), (&json!(100 * round + 7), &json!(5)));
        socket.ok("delete", json!(["products", "new"])).await;
    }
    node.stop().await;
}

/// The deletion finds nothing and waits for nothing; the put behind it waits for a key that somebody else inserts.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_write_that_does_not_wait_keeps_its_place_before_one_of_its_key_that_does() {
    let (node, database) = node_with_products(64, 1).await;
    for round in 0..20 {
        let key = format!("new{round}");
        let id = || node.service().record("products", &key).expect("a key");
        let mut session = database.connect().await;
        let mut inserting = session.begin().await.expect("begin");
        let insert = format!("INSERT INTO products (sku, name, price) VALUES ('{key}', 'theirs', 1)");
        inserting.execute(AssertSqlSafe(insert)).await.expect("insert");
        let writes = async {
            let deletion = node.service().delete(id(), Conditions::default()).into_future();
            let put = node.service().put(id(), r#"{"name": "ours", "price": 2}"#, Conditions::default()).into_future();
            let (deleted, put) = tokio::join!(deletion, put);
            (deleted.expect("a deletion").stamp, put.expect("a put").stamp)
        };
        let holding = async {
            let waits = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'freshet waiting writes'
                         AND wait_event_type = 'Lock' AND datname = current_database()";
            until("the put waits", async || database.value::<i64>(waits).await > 0).await;
            inserting.rollback().await.expect("let go");
        };
        let ((deleted, put), ()) = tokio::join!(writes, holding);
        assert!(
            deleted < put,
            "round {round}: the deletion, sent first, was carried out at {deleted}, the put at {put}"
        );
        let standing = format!("SELECT count(*) FROM products WHERE sku = '{key}'");
        assert_eq!(database.value::<i64>(&standing).await, 1, "round {round}: the put was the last");
    }
    node.stop().await;
}
