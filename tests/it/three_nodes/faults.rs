//! Nodes that are killed, drained, stopped where they stand and woken.

use std::collections::HashMap;

use freshet_client::{Client, Patch, Subscription, WriteOptions};
use serde_json::Value;

use crate::{
    harness::{Redis, TestDatabase, ThreeNodes, database, three_nodes::Health, until, within},
    verify::verify,
};

const SERVE: &[&str] = &["serve"];
const FILL: &str =
    "INSERT INTO products (sku, name, price, stock) SELECT 'k' || n, 'x', n, 0 FROM generate_series(1, 20) n";
const SCREENS: usize = 9;

/// Somebody who watches all products.
struct Screen {
    _client: Client,
    watched: Subscription,
    /// The version and the stock that is shown of each.
    shown: HashMap<String, (u64, i64)>,
}

impl Screen {
    async fn of(nodes: &ThreeNodes) -> Self {
        let client = nodes.client().await;
        let keys: Vec<String> = (1..=20).map(|n| format!("k{n}")).collect();
        let watched = client.subscribe("products", &keys, []).await.expect("subscribe");
        let mut screen = Screen { _client: client, watched, shown: HashMap::new() };
        while screen.shown.len() < keys.len() {
            screen.next().await;
        }
        screen
    }

    /// The next state, which must not be older than what is shown. Stock only rises.
    async fn next(&mut self) {
        let record = within("a state", self.watched.next()).await.expect("the subscription goes on");
        let value: Value = serde_json::from_str(record.value.expect("there").get()).expect("JSON");
        let now = (record.version, value["stock"].as_i64().expect("a stock"));
        let before = self.shown.insert(record.key.clone(), now).unwrap_or_default();
        assert!(now.0 > before.0 && now.1 >= before.1, "{} went from {before:?} to {now:?}", record.key);
    }

    /// Takes states until each product is as it stands in the database now.
    async fn until_true_to(&mut self, rows: &[(String, i64, i32)]) {
        let is_behind = |shown: &HashMap<String, (u64, i64)>| {
            rows.iter().any(|(key, version, _)| shown[key].0 < version.unsigned_abs())
        };
        while is_behind(&self.shown) {
            self.next().await;
        }
    }
}

async fn rows(database: &TestDatabase) -> Vec<(String, i64, i32)> {
    let rows = sqlx::query_as("SELECT sku, freshet_version, stock FROM products ORDER BY sku");
    rows.fetch_all(database.pool()).await.expect("rows")
}

/// Changes every product behind the nodes' back and one through them, and waits until each screen shows it.
async fn all_screens_follow(nodes: &ThreeNodes, database: &TestDatabase, screens: &mut [Screen], what: &str) {
    for _ in 0..5 {
        database.run("UPDATE products SET stock = stock + 1").await;
    }
    let patch = Patch::new().increment("stock", 1);
    let options = WriteOptions::new().idempotency_key(what);
    let client = nodes.client().await;
    client.patch("products", "k7", &patch, options).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    let rows = rows(database).await;
    for screen in &mut *screens {
        screen.until_true_to(&rows).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn screens_stay_right_while_one_node_after_another_is_killed_drained_stopped_and_woken() {
    let (database, redis) = (database().await, Redis::start().await);
    database.run(FILL).await;
    let mut nodes = ThreeNodes::start(SERVE, &database, Some(&redis.url())).await;
    let mut screens = Vec::new();
    for _ in 0..SCREENS {
        screens.push(Screen::of(&nodes).await);
    }
    let screens = &mut screens[..];
    all_screens_follow(&nodes, &database, screens, "all is well").await;

    nodes.nodes.all[0].kill().await.expect("kill");
    all_screens_follow(&nodes, &database, screens, "one is killed").await;
    nodes.nodes.all[1].drain().await.expect("drain");
    all_screens_follow(&nodes, &database, screens, "only one is left").await;
    for place in [0, 1] {
        nodes.nodes.all[place].start().expect("start");
        nodes.nodes.wait_until_ready(place).await.expect("ready");
    }

    // All screens are on it, and the system goes on to accept connections for it.
    nodes.nodes.all[2].freeze().expect("freeze");
    all_screens_follow(&nodes, &database, screens, "one is stopped").await;
    assert_eq!(nodes.nodes.balancer.health(2), Health::Silent);
    nodes.nodes.all[2].thaw().expect("thaw");
    nodes.nodes.wait_until_ready(2).await.expect("ready");
    all_screens_follow(&nodes, &database, screens, "it is woken").await;
    // What was stopped while it knew nothing of the changes is the only one left to ask.
    nodes.nodes.all[0].kill().await.expect("kill");
    nodes.nodes.all[1].kill().await.expect("kill");
    all_screens_follow(&nodes, &database, screens, "only the woken one is left").await;

    for (key, _, stock) in rows(&database).await {
        let through_nodes = if key == "k7" { 6 } else { 0 };
        assert_eq!(stock, 30 + through_nodes, "{key}: each write counts once");
    }
    nodes.nodes.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_finds_nothing_wrong_while_nodes_and_redis_come_and_go() {
    let (database, mut redis) = (database().await, Redis::start().await);
    let mut nodes = ThreeNodes::start(SERVE, &database, Some(&redis.url())).await;
    let (service, sql) = (nodes.url(), database.url());
    let words = [&service, "--database-url", &sql, "--seconds", "16", "--settle", "30s"];
    let faults = async {
        let count = async || database.value::<i64>("SELECT count(*) FROM products WHERE stock > 100").await;
        until("verify has made its records, and changes them", async || count().await > 0).await;
        let all = &mut nodes.nodes;
        all.all[1].freeze().expect("freeze");
        within("it is found to be silent", all.balancer.wait_for(1, Health::Silent)).await;
        all.all[0].kill().await.expect("kill");
        all.all[1].thaw().expect("thaw");
        redis.restart().await;
        all.all[0].start().expect("start");
        all.wait_until_ready(0).await.expect("ready");
        all.restart_in_turn(|_| {}).await.expect("restart");
    };
    let (ran, ()) = tokio::join!(verify(&words), faults);
    ran.is_clean();
    nodes.nodes.stop().await;
}
