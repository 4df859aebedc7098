//! Redis that is lost, slow, or goes back in time.

use std::time::Duration;

use serde_json::json;

use super::{hits, node, price, with_redis, without_local};
use crate::harness::{Link, Node, Proxy, Redis, Socket, TestDatabase, database, node::SOON, until};

async fn two_nodes(database: &TestDatabase, url: &str) -> [Node; 2] {
    [node(database, without_local(url)).await, node(database, without_local(url)).await]
}

/// Changes the record, and waits until each node shows it.
async fn change_and_show(database: &TestDatabase, sockets: &mut [Socket], to: i64) {
    database.run(&format!("UPDATE products SET price = {to} WHERE sku = 'a'")).await;
    for socket in sockets {
        until("the change is shown", async || price(socket, "a").await == json!(to)).await;
    }
}

/// Waits until Redis answers reads of the node.
async fn is_answered(node: &Node, socket: &mut Socket) {
    let before = hits(node);
    until("Redis answers", async || {
        price(socket, "a").await;
        hits(node) > before
    })
    .await;
}

fn claims(nodes: &[Node], how: &str) -> u64 {
    nodes.iter().map(|node| node.metrics().where_label("freshet_changes_claims_total", "how", how)).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_loses_everything_is_filled_again_and_shows_nothing_old() {
    let (database, mut redis) = (database().await, Redis::start().await);
    database.run("INSERT INTO products (sku, name, price) VALUES ('a', 'x', 1)").await;
    let nodes = two_nodes(&database, &redis.url()).await;
    let mut sockets = [Socket::open(&nodes[0]).await, Socket::open(&nodes[1]).await];
    change_and_show(&database, &mut sockets, 2).await;
    redis.command::<()>(&["FLUSHALL"]).await;
    change_and_show(&database, &mut sockets, 3).await;
    is_answered(&nodes[1], &mut sockets[1]).await;
    redis.kill().await;
    change_and_show(&database, &mut sockets, 4).await;
    redis.restart().await;
    change_and_show(&database, &mut sockets, 5).await;
    is_answered(&nodes[0], &mut sockets[0]).await;
    assert_eq!(price(&mut sockets[0], "a").await, json!(5));
    assert!(claims(&nodes, "anew") >= 3, "one at the start, two for what was lost");
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_goes_back_in_time_is_brought_up_from_where_it_is() {
    let (database, mut redis) = (database().await, Redis::start().await);
    database.run("INSERT INTO products (sku, name, price) VALUES ('a', 'x', 1)").await;
    let nodes = two_nodes(&database, &redis.url()).await;
    let mut sockets = [Socket::open(&nodes[0]).await, Socket::open(&nodes[1]).await];
    change_and_show(&database, &mut sockets, 2).await;
    is_answered(&nodes[0], &mut sockets[0]).await;
    let resumed = claims(&nodes, "resumed");
    // The slot of price 2 is in the file; what follows is not.
    redis.save().await;
    change_and_show(&database, &mut sockets, 3).await;
    redis.restart().await;
    until("a keeper has taken it up", async || claims(&nodes, "resumed") > resumed).await;
    is_answered(&nodes[1], &mut sockets[1]).await;
    for socket in &mut sockets {
        assert_eq!(price(socket, "a").await, json!(3));
    }
    // A node that knows nothing of the change is not told the old state, either.
    let cold = node(&database, with_redis(&redis.url())).await;
    assert_eq!(price(&mut Socket::open(&cold).await, "a").await, json!(3));
    cold.stop().await;
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_node_takes_a_slice_up_when_its_keeper_is_gone() {
    let (database, redis) = (database().await, Redis::start().await);
    database.run("INSERT INTO products (sku, name, price) VALUES ('a', 'x', 1)").await;
    let [first, second] = two_nodes(&database, &redis.url()).await;
    let kept = |node: &Node| node.metrics().sum("freshet_changes_kept_slices") == Some(1);
    assert!(kept(&first) && !kept(&second));
    let mut socket = Socket::open(&second).await;
    is_answered(&second, &mut socket).await;
    first.stop().await;
    database.run("UPDATE products SET price = 2 WHERE sku = 'a'").await;
    until("the other one keeps it", async || kept(&second)).await;
    assert_eq!(claims(std::slice::from_ref(&second), "resumed"), 1, "what Redis holds counts further");
    until("the change is shown", async || price(&mut socket, "a").await == json!(2)).await;
    is_answered(&second, &mut socket).await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_keepers_of_a_slice_do_no_harm() {
    let (database, redis) = (database().await, Redis::start().await);
    database.run("INSERT INTO products (sku, name, price) VALUES ('a', 'x', 1)").await;
    let nodes = two_nodes(&database, &redis.url()).await;
    let mut sockets = [Socket::open(&nodes[0]).await, Socket::open(&nodes[1]).await];
    let names: Vec<String> = redis.command(&["KEYS", "*:keeper"]).await;
    for to in 2..40 {
        // The right goes from one to the other, which both may believe to have for a while.
        redis.command::<()>(&["DEL", &names[0]]).await;
        change_and_show(&database, &mut sockets, to).await;
    }
    is_answered(&nodes[1], &mut sockets[1]).await;
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_says_nothing_costs_readers_little_and_is_used_again() {
    let (database, redis) = (database().await, Redis::start().await);
    database.run("INSERT INTO products (sku, name, price) VALUES ('a', 'x', 1)").await;
    let proxy = Proxy::to(&redis.url()).await;
    let mut config = without_local(&proxy.url());
    config.redis.as_mut().expect("Redis").limit = Duration::from_millis(300);
    let node = node(&database, config).await;
    let mut socket = Socket::open(&node).await;
    is_answered(&node, &mut socket).await;
    for link in [Link::BlackHole, Link::Delay(Duration::from_secs(1)), Link::Cut] {
        proxy.set(link);
        let begun = std::time::Instant::now();
        // At first some wait for the limit; then Redis is not asked.
        for _ in 0..200 {
            assert!(price(&mut socket, "a").await.is_number());
        }
        assert!(begun.elapsed() < SOON, "{link:?}: {:?}", begun.elapsed());
        change_and_show(&database, std::slice::from_mut(&mut socket), 10 + i64::from(link == Link::Cut)).await;
        proxy.set(Link::Pass);
        is_answered(&node, &mut socket).await;
        assert!(price(&mut socket, "a").await.as_i64() >= Some(10));
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_starts_and_serves_without_its_redis() {
    let (database, mut redis) = (database().await, Redis::start().await);
    database.run("INSERT INTO products (sku, name, price) VALUES ('a', 'x', 1)").await;
    redis.kill().await;
    let node = Node::over(&database.url(), without_local(&redis.url())).await;
    let mut socket = Socket::open(&node).await;
    assert_eq!(price(&mut socket, "a").await, json!(1));
    redis.restart().await;
    is_answered(&node, &mut socket).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_redis_is_kept_current_all_the_same() {
    for policy in ["noeviction", "allkeys-lru", "allkeys-random", "volatile-ttl"] {
        let settings = [("maxmemory", "3mb"), ("maxmemory-policy", policy)];
        let (database, redis) = (database().await, Redis::start_with(&settings).await);
        let fill = "INSERT INTO products (sku, name, price) SELECT 'k' || n, repeat('x', 20000), n FROM generate_series(1, 300) n";
        database.run(fill).await;
        database.run("INSERT INTO products (sku, name, price) VALUES ('a', 'x', 1)").await;
        let node = node(&database, without_local(&redis.url())).await;
        let mut socket = Socket::open(&node).await;
        for n in 1..=300 {
            assert_eq!(price(&mut socket, &format!("k{n}")).await, json!(n));
        }
        for to in 2..20 {
            change_and_show(&database, std::slice::from_mut(&mut socket), to).await;
            let n = to * 7;
            assert_eq!(price(&mut socket, &format!("k{n}")).await, json!(n), "{policy}");
        }
        node.stop().await;
    }
}
