//! A list needs every database, and says which one it misses.

use std::time::Duration;

use serde_json::json;

use super::{keys, whole};
use crate::{
    databases::{named, pair},
    harness::{Link, Node, Proxy, Socket, node::config, until},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_fails_while_a_database_is_away_and_names_it() {
    let pair = pair().await;
    let proxy = Proxy::to(&pair[1].url()).await;
    let mut config = config();
    config.service.deadline = Duration::from_secs(2);
    let node = Node::over_all(vec![named("low", pair[0].url()), named("high", proxy.url())], config.clone()).await;
    let mut socket = Socket::open(&node).await;
    for key in (0..40).map(|n| format!("k{n:02}")) {
        socket.ok("put", json!(["products", key, {"name": "x", "price": 1}])).await;
    }
    let all = whole(&mut socket, "products", None, 10).await;
    assert_eq!(all.len(), 40);
    for (link, says) in
        [(Link::Cut, "database \"high\" is unavailable, and a list needs all of them"), (Link::BlackHole, "\"high\"")]
    {
        proxy.set(link);
        let refused = socket.refused("list", json!(["products"])).await;
        assert!(refused["message"].as_str().is_some_and(|message| message.contains(says)), "{link:?}: {refused}");
        assert_eq!(refused["data"]["database"], "high", "{refused}");
        if link == Link::Cut {
            assert_eq!(
                (&refused["data"]["reason"], &refused["data"]["retry_after_ms"]),
                (&json!("unavailable"), &json!(500))
            );
            let answer = reqwest::get(node.http("/v1/products?prefix=k0")).await.expect("answered");
            assert_eq!((answer.status().as_u16(), answer.headers().contains_key("retry-after")), (503, true));
        }
        proxy.set(Link::Pass);
        until("it is listed again", async || socket.call("list", json!(["products"])).await.get("error").is_none())
            .await;
        assert_eq!(keys(&whole(&mut socket, "products", None, 7).await), keys(&all));
    }
    node.stop().await;
    // One that was away from the start is named as well.
    proxy.set(Link::Cut);
    let node = Node::over_some(vec![named("low", pair[0].url()), named("high", proxy.url())], config).await;
    let mut socket = Socket::open(&node).await;
    let refused = socket.refused("list", json!(["products"])).await;
    assert_eq!(
        (&refused["data"]["database"], &refused["data"]["reason"]),
        (&json!("high"), &json!("unavailable")),
        "{refused}"
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_no_database_has_is_named_and_not_left_out() {
    let pair = pair().await;
    let node = Node::over_all(vec![named("low", pair[0].url()), named("high", pair[1].url())], config()).await;
    let mut socket = Socket::open(&node).await;
    assert_eq!(socket.ok("list", json!(["products"])).await, json!({"records": []}));
    pair[1].run("UPDATE feed.shard_state SET state = 'moved' WHERE shard = 5").await;
    let refused = socket.refused("list", json!(["products"])).await;
    assert_eq!(
        (&refused["data"]["shard"], &refused["data"]["reason"]),
        (&json!(5), &json!("unavailable")),
        "{refused}"
    );
    node.stop().await;
}
