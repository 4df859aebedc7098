//! Other programs may read what keepers tell: `examples/stock_alerts`.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use freshet_client::{Client, Options};
use redis::AsyncConnectionConfig;
use tokio::{sync::mpsc, task::JoinHandle};

use super::{node, with_redis};
use crate::harness::{Node, Redis, database, until, within};
use worker::{Alert, Worker};

#[path = "../../../examples/stock_alerts/worker.rs"]
mod worker;

const PRODUCTS: i64 = 120;

/// A worker, and what it says. Aborting the task is a kill: between any two steps.
async fn start(node: &Node, redis: &Redis, alerts: mpsc::UnboundedSender<Alert>) -> JoinHandle<()> {
    let settings = AsyncConnectionConfig::new().set_response_timeout(None);
    let client = redis::Client::open(redis.url()).expect("a url");
    let connection = client.get_multiplexed_async_connection_with_config(&settings).await.expect("connect");
    let mut worker = Worker {
        redis: connection,
        client: Client::connect(&node.url(), Options::new()).await.expect("connect"),
        group: "alerts".into(),
        name: "one".into(),
        below: 10,
        low: BTreeSet::new(),
        lives: BTreeMap::new(),
    };
    tokio::spawn(async move {
        let worked = worker.run(|alert| drop(alerts.send(alert))).await;
        panic!("{worked:?}");
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_killed_again_and_again_misses_no_product_that_runs_out() {
    let (database, redis) = (database().await, Redis::start().await);
    database
        .run(&format!("INSERT INTO products (sku, name, price, stock) SELECT 's' || n, 'x', 1, 50 FROM generate_series(0, {PRODUCTS}) n"))
        .await;
    let node = node(&database, with_redis(&redis.url())).await;
    let (alerts, mut said) = mpsc::unbounded_channel();
    let mut worker = start(&node, &redis, alerts.clone()).await;
    database.run("UPDATE products SET stock = 3 WHERE sku = 's0'").await;
    within("what came before has been told", async {
        while !matches!(said.recv().await.expect("a worker"), Alert::Low { sku, .. } if sku == "s0") {}
    })
    .await;
    for n in 1..=PRODUCTS {
        database.run(&format!("UPDATE products SET stock = 3 WHERE sku = 's{n}'")).await;
        if n % 10 == 0 {
            tokio::time::sleep(Duration::from_millis(u64::try_from(n % 7).unwrap_or(0))).await;
            worker.abort();
            drop(worker.await);
            worker = start(&node, &redis, alerts.clone()).await;
        }
    }
    let mut low = BTreeSet::from(["s0".to_owned()]);
    within("every product is told of", async {
        while low.len() <= PRODUCTS as usize {
            match said.recv().await.expect("a worker") {
                Alert::Low { sku, stock: 3, .. } => drop(low.insert(sku)),
                other => panic!("{other:?}"),
            }
        }
    })
    .await;
    worker.abort();
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_is_told_where_changes_may_be_missing() {
    let (database, redis) = (database().await, Redis::start().await);
    database.run("INSERT INTO products (sku, name, price, stock) VALUES ('a', 'x', 1, 50)").await;
    let node = node(&database, with_redis(&redis.url())).await;
    let (alerts, mut said) = mpsc::unbounded_channel();
    let worker = start(&node, &redis, alerts).await;
    let mut told = async |what: &str, wanted: &dyn Fn(&Alert) -> bool| {
        within(what, async { while !wanted(&said.recv().await.expect("a worker")) {} }).await;
    };
    database.run("UPDATE products SET stock = 3 WHERE sku = 'a'").await;
    told("a product runs out", &|alert| matches!(alert, Alert::Low { sku, .. } if sku == "a")).await;
    database.run("UPDATE products SET stock = 30 WHERE sku = 'a'").await;
    told("it is there again", &|alert| matches!(alert, Alert::Restocked { stock: 30, .. })).await;
    // More at once than is told one by one.
    database
        .run("INSERT INTO products (sku, name, price) SELECT 'bulk' || n, 'x', 1 FROM generate_series(1, 5000) n")
        .await;
    told("a bulk load", &|alert| *alert == Alert::Missed).await;
    let chain: Vec<String> = redis.command(&["KEYS", "*:chain"]).await;
    until("the chain is lost", async || redis.command::<u64>(&["DEL", &chain[0]]).await == 1).await;
    told("another life of the chain", &|alert| *alert == Alert::Missed).await;
    assert!(!worker.is_finished());
    worker.abort();
    node.stop().await;
}
