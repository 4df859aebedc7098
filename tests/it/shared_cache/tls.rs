//! Redis over TLS: to a server that a named authority vouches for, and to no other.

use std::path::PathBuf;

use freshet::{config::Config, shared};
use serde_json::json;

use super::{hits, node, price, without_local};
use crate::harness::{
    Authority, MODULUS, Node, Redis, RedisCluster, Socket, TestDatabase,
    command::{Configuration, Ran},
    database, until,
};

async fn encrypted(authority: &Authority) -> Redis {
    let settings = authority.settings();
    Redis::start_with(&settings.iter().map(|(name, value)| (*name, &**value)).collect::<Vec<_>>()).await
}

/// A configuration without L1 that trusts `ca`, or else whom the system trusts.
fn trusting(url: &str, ca: Option<PathBuf>) -> Config {
    let mut config = without_local(url);
    config.redis.as_mut().expect("Redis").ca = ca;
    config
}

async fn with_a_product() -> TestDatabase {
    let database = database().await;
    database.run("INSERT INTO products (sku, name, price) VALUES ('a', 'x', 1)").await;
    database
}

/// What the node says of its parts.
async fn ready(node: &Node) -> String {
    let answer = reqwest::get(format!("http://{}/readyz?verbose", node.operations())).await.expect("an answer");
    answer.text().await.expect("text")
}

fn doctor(database: &TestDatabase, redis: &str) -> Ran {
    let configuration = Configuration::of(MODULUS).with("main", &database.url(), "");
    configuration.and(&format!("[redis]\n{redis}")).run(&["doctor"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_the_named_authority_vouches_for_answers() {
    let (database, authority) = (with_a_product().await, Authority::new());
    let redis = encrypted(&authority).await;
    let node = node(&database, trusting(&redis.tls_url(), Some(authority.file()))).await;
    let mut socket = Socket::open(&node).await;
    let before = hits(&node);
    until("Redis answers", async || {
        assert_eq!(price(&mut socket, "a").await, json!(1));
        hits(&node) > before
    })
    .await;
    let ca = format!("urls = [{:?}]\nca = {:?}", redis.tls_url(), authority.file());
    doctor(&database, &ca).says(0, &["rediss://127.0.0.1:", "answers in ", "main is kept, "]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_nobody_trusted_vouches_for_is_told_nothing_and_named() {
    let (database, authority, other) = (with_a_product().await, Authority::new(), Authority::new());
    let redis = encrypted(&authority).await;
    for ca in [Some(other.file()), None] {
        let node = Node::over(&database.url(), trusting(&redis.tls_url(), ca.clone())).await;
        let mut socket = Socket::open(&node).await;
        let refused = "invalid peer certificate: UnknownIssuer";
        until("the refusal is told", async || {
            assert_eq!(price(&mut socket, "a").await, json!(1), "the database answers");
            ready(&node).await.contains(refused)
        })
        .await;
        let named = ca.map(|ca| format!("ca = {ca:?}")).unwrap_or_default();
        let ran = doctor(&database, &format!("urls = [{:?}]\n{named}", redis.tls_url()));
        ran.says(0, &[refused, "look at urls, user, password and ca of [redis]"]);
        node.stop().await;
    }
    assert_eq!(redis.command::<u64>(&["DBSIZE"]).await, 0, "nothing went there in another way");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_members_of_a_cluster_are_reached_with_tls() {
    let (database, authority) = (with_a_product().await, Authority::new());
    let settings = authority.settings();
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, &**value)).collect();
    let cluster = RedisCluster::start_with(3, &settings).await;
    let mut config = trusting("", Some(authority.file()));
    let redis = config.redis.take().expect("Redis");
    config.redis = Some(shared::Config { urls: vec![cluster.master(0).tls_url()], cluster: true, ..redis });
    let node = node(&database, config).await;
    until("the node keeps its slices", async || node.metrics().sum("freshet_changes_kept_slices") == Some(16)).await;
    node.stop().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_cannot_be_read_is_refused_with_its_key() {
    let (database, authority) = (with_a_product().await, Authority::new());
    let missing = authority.file().with_extension("gone");
    for (ca, fault) in [(missing, "No such file"), (authority.key_file(), "holds no certificate in PEM")] {
        let configuration = Configuration::of(MODULUS).with("main", &database.url(), "");
        let redis = format!("[redis]\nurls = [\"rediss://127.0.0.1:1\"]\nca = {ca:?}");
        let ran = configuration.and(&redis).run(&["serve", "--listen", "127.0.0.1:0"]);
        ran.says(1, &["redis.ca", fault]);
    }
}
