//! `freshet where` shows a record in every place.

use freshet::store::postgres;
use serde_json::json;

use super::{with_redis, without_local};
use crate::harness::{Node, Redis, Replicated, Socket, command::freshet, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_is_shown_in_each_tier_of_each_node_in_redis_and_on_each_server() {
    let (servers, redis) = (Replicated::start(1, &[]).await, Redis::start().await);
    let settings =
        || postgres::Config { replicas: vec![servers.standby_url(0)], ..postgres::Config::at(servers.url()) };
    let first = Node::on(settings(), with_redis(&redis.url())).await;
    // Each of its reads goes to Redis, from the first that a keeper is there for.
    let second = Node::on(settings(), without_local(&redis.url())).await;
    let mut sockets = [Socket::open(&first).await, Socket::open(&second).await];
    let written = sockets[0].ok("put", json!(["products", "a/ä", {"name": "x", "price": 7}])).await;
    let stamp = written["stamp"].as_str().expect("a stamp").to_owned();
    sockets[0].ok("subscribe", json!(["products", "a/ä"])).await;
    until("Redis has it", async || {
        sockets[1].ok("get", json!(["products", "a/ä"])).await;
        redis.command::<Vec<String>>(&["KEYS", "*:products:a/*"]).await.len() == 1
    })
    .await;
    let addresses = [&first, &second].map(|node| format!("http://{}", node.operations()));
    let nodes = addresses.join(",");
    let run = |format: &str, key: &str| {
        let arguments = ["where", "products", key, "--node", &nodes, "--format", format];
        tokio::task::block_in_place(|| freshet(&arguments))
    };
    until("the standby shows it", async || {
        let ran = run("json", "a/ä");
        ran.out.lines().all(|line| line.matches(&format!("\"{stamp}\"")).count() >= 4)
    })
    .await;
    let ran = run("human", "a/ä");
    let each =
        ["products/a/ä", "primary ", "replica ", "redis ", "brought to mark", "L1 ", "expires in", "filter", &stamp];
    ran.says(0, &each);
    ran.says(0, &[&format!("node {}", first.operations()), &format!("node {}", second.operations())]);
    ran.says(0, &["  1  were offered it last", "none"]);
    run("human", "nothing").says(0, &["absent"]);
    let none = ["where", "nowhere", "a", "--node", &addresses[0]];
    tokio::task::block_in_place(|| freshet(&none)).says(69, &["\"nowhere\""]);
    for node in [first, second] {
        node.stop().await;
    }
    servers.stop().await;
}
