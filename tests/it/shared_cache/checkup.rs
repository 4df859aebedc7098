//! `freshet doctor` with a Redis.

use std::path::Path;

use freshet::{
    config::Config,
    shared::inspect::{CLUSTER_RULE, RULE},
};

use super::{hits, node, price, with_redis};
use crate::harness::{
    MODULUS, Node, Process, Redis, RedisCluster, Socket, TestDatabase, blank_database, command::Configuration,
    database, until,
};

/// A configuration with so many keys of `[redis]`.
fn over(database: &TestDatabase, redis: &str) -> Configuration {
    Configuration::of(MODULUS).with("main", &database.url(), "").and(&format!("[redis]\n{redis}"))
}

fn at(redis: &Redis) -> String {
    format!("urls = [\"{}\"]", redis.url())
}

/// Sets a user up who may do what the documentation gives a node, and `more`.
async fn set_up_user(redis: &Redis, more: &[&str]) {
    let words = ["ACL", "SETUSER", "freshet", "on", ">secret"].into_iter().chain(RULE.split(' '));
    redis.command::<()>(&words.chain(more.iter().copied()).collect::<Vec<_>>()).await;
}

/// A node's configuration that logs in as this user.
fn limited(redis: &Redis) -> Config {
    let mut config = with_redis(&redis.url());
    if let Some(redis) = &mut config.redis {
        (redis.user, redis.password) = (Some("freshet".into()), Some("secret".into()));
    }
    config
}

/// Records that a node has put there.
fn filled(node: &Node) -> u64 {
    node.metrics().where_label("freshet_shared_lookups_total", "outcome", "filled")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_and_a_password_in_the_environment_may_look_like_other_values() {
    let (database, redis) = (database().await, Redis::start().await);
    let words = ["ACL", "SETUSER", "true", "on", ">12345"].into_iter().chain(RULE.split(' '));
    redis.command::<()>(&words.collect::<Vec<_>>()).await;
    let configuration = over(&database, &at(&redis));
    let variables = [("FRESHET__REDIS__USER", "true"), ("FRESHET__REDIS__PASSWORD", "12345")];
    let node = Process::configured_with(Path::new(&configuration.write()), &variables).await;
    until("it logs in as that user", async || node.metric("freshet_shared_open").await == 1.0).await;
    let sessions: String = redis.command(&["CLIENT", "LIST"]).await;
    assert!(sessions.contains("user=true"), "{sessions}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_user_with_the_rights_that_are_documented_serves_a_node_and_satisfies_doctor() {
    let (database, redis) = (database().await, Redis::start().await);
    database.run("INSERT INTO products (sku, name, price) SELECT 'k' || n, 'x', n FROM generate_series(1, 50) n").await;
    set_up_user(&redis, &[]).await;
    redis.command::<()>(&["ACL", "SETUSER", "default", "off"]).await;
    let (first, second) = (node(&database, limited(&redis)).await, node(&database, limited(&redis)).await);
    let (mut socket, mut other) = (Socket::open(&first).await, Socket::open(&second).await);
    let before = (filled(&first), hits(&second));
    for n in 1..=50 {
        assert_eq!(price(&mut socket, &format!("k{n}")).await, n);
    }
    until("one node has put there what it has read", async || filled(&first) >= before.0 + 50).await;
    for n in 1..=50 {
        assert_eq!(price(&mut other, &format!("k{n}")).await, n);
    }
    assert!(hits(&second) - before.1 >= 40, "the other is answered by Redis");
    let ran = over(&database, &format!("{}\nuser = \"freshet\"\npassword = \"secret\"", at(&redis))).run(&["doctor"]);
    ran.says(
        0,
        &[
            "answers in ",
            "a server by itself, as configured",
            "of 256.0 MiB in use",
            "allkeys-lru",
            "appendonly is off",
            "freshet may do what a node does",
            "main is kept, ",
            // Keepers are not counted beside the nodes that they are of.
            "2 nodes connected",
        ],
    );
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_keeps_redis_from_being_used_is_named_with_the_cure() {
    let (database, mut redis) =
        (database().await, Redis::start_with(&[("maxmemory", "0"), ("appendonly", "yes")]).await);
    let open = over(&database, &at(&redis));
    open.run(&["doctor"]).says(
        0,
        &[
            "maxmemory is not set",
            "appendonly is on",
            "default may do more than a node needs: +@all",
            &format!("-> ACL SETUSER freshet on >PASSWORD {RULE}"),
            "main is not kept: no node has begun to",
        ],
    );
    set_up_user(&redis, &["-unlink", "-evalsha"]).await;
    over(&database, &format!("{}\nuser = \"freshet\"\npassword = \"secret\"", at(&redis)))
        .run(&["doctor"])
        .says(1, &["FAIL  rights", "freshet may not run unlink, evalsha", "1 failure to mend"]);
    over(&database, &format!("{}\ncluster = true", at(&redis)))
        .run(&["doctor"])
        .says(1, &["FAIL  cluster", "it is a member of no cluster", "leave cluster out of [redis]"]);
    let replica = redis.replica().await;
    over(&database, &at(&replica)).run(&["doctor"]).says(1, &["it is a replica, and takes no writes"]);
    replica.stop().await;
    redis.kill().await;
    open.run(&["doctor"]).says(0, &["warn  reach", "nodes read from the databases in its place"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_servers_of_a_cluster_are_told_apart() {
    let (database, cluster) = (database().await, RedisCluster::start(2).await);
    let urls = cluster.urls().iter().map(|url| format!("\"{url}\"")).collect::<Vec<_>>().join(", ");
    over(&database, &format!("urls = [{urls}]\ncluster = true")).run(&["doctor"]).says(
        0,
        &[
            &format!("{}: a member of a cluster, as configured", cluster.urls()[0]),
            &format!("{}: a member of a cluster, as configured", cluster.urls()[1]),
            "+info +cluster|slots +asking",
            "main is not kept",
        ],
    );
    for master in [cluster.master(0), cluster.master(1)] {
        set_up_user(master, &CLUSTER_RULE.split(' ').collect::<Vec<_>>()).await;
    }
    over(&database, &format!("urls = [{urls}]\ncluster = true\nuser = \"freshet\"\npassword = \"secret\""))
        .run(&["doctor"])
        .says(0, &["freshet may do what a node does", "main is not kept"]);
    over(&database, &at(cluster.master(0)))
        .run(&["doctor"])
        .says(1, &["FAIL  cluster", "set cluster = true in [redis]"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_several_databases_redis_has_a_part_of_its_own() {
    let redis = Redis::start().await;
    let databases = [blank_database().await, blank_database().await];
    for (database, shards) in databases.iter().zip(["0,1", "2,3"]) {
        database.run(&format!("SELECT freshet.create_shards('products', 4, '{{{shards}}}')")).await;
    }
    let configuration = Configuration::of(4)
        .with("low", &databases[0].url(), "0-1")
        .with("high", &databases[1].url(), "2-3")
        .and(&format!("[redis]\n{}", at(&redis)));
    configuration.run(&["doctor"]).says(0, &["\nRedis\n", "low is not kept", "high is not kept"]);
    let lines = configuration.run(&["doctor", "--format", "json"]).out;
    let last: serde_json::Value = serde_json::from_str(lines.lines().last().expect("lines")).expect("JSON");
    assert_eq!(last["name"], "Redis");
}
