//! The demo on several nodes: one of them plays the sales at a time.

use std::{collections::HashMap, fs};

use freshet::cli::demo::{catalogue, sales::Sales, stock};
use serde_json::Value;
use sqlx::Executor as _;

use crate::harness::{TestDatabase, ThreeNodes, database, until, within};

const DEMO: &[&str] = &["demo", "--readers", "0"];

/// How far the sales have come, and whether a node plays them.
fn noted(nodes: &ThreeNodes) -> (u64, bool) {
    let text = fs::read_to_string(nodes.folder().join("freshet.replay")).unwrap_or_default();
    let note: Value = serde_json::from_str(&text).unwrap_or_default();
    (note["line"].as_u64().unwrap_or_default(), !note["holder"].is_null())
}

/// Waits until so many more sales are noted.
async fn sales_go_on(nodes: &ThreeNodes, sales: u64, what: &str) {
    let (before, _) = noted(nodes);
    until(what, async || noted(nodes).0 > before + sales).await;
}

/// What time it is in the shop, as a node's page shows it.
async fn time(nodes: &ThreeNodes, place: usize) -> Option<i64> {
    let url = format!("http://{}/v1/stats/events", nodes.nodes.all[place].public);
    let mut answer = reqwest::get(url).await.ok()?;
    let mut text = String::new();
    let data = loop {
        text.push_str(&String::from_utf8(answer.chunk().await.ok()??.to_vec()).ok()?);
        if let Some(data) = text.lines().find(|line| line.starts_with("data: ") && text.ends_with('\n')) {
            break data;
        }
    };
    serde_json::from_str::<Value>(&data["data: ".len()..]).ok()?["shop"]["at"].as_i64()
}

/// The stock of every product, once the sales up to a line are made.
fn expected(line: u64) -> HashMap<String, i64> {
    let products = catalogue::embedded().expect("the catalogue");
    let skus = products.iter().map(|product| product.sku.as_str());
    let mut stocks = stock::initial(Sales::embedded().expect("the sales"), skus).expect("sound");
    for sale in
        Sales::embedded().expect("the sales").map(|sale| sale.expect("sound")).take_while(|sale| sale.line <= line)
    {
        if let Some(stock) = stocks.get_mut(&sale.sku) {
            *stock += sale.stock_change();
        }
    }
    stocks
}

async fn stocks(database: &TestDatabase) -> HashMap<String, i64> {
    let rows = sqlx::query_as::<_, (String, i64)>("SELECT sku, stock::bigint FROM products");
    rows.fetch_all(database.pool()).await.expect("rows").into_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sale_counts_once_while_nodes_take_the_lease_from_each_other() {
    let database = database().await;
    let mut nodes = ThreeNodes::start(DEMO, &database, None).await;
    sales_go_on(&nodes, 50, "one of them plays").await;
    for place in 0..3 {
        let what = format!("node {place} shows the time");
        until(&what, async || time(&nodes, place).await.is_some()).await;
    }
    // Whichever plays is stopped in one of these steps.
    for stopped in [&[0, 1][..], &[2]] {
        for &place in stopped {
            nodes.nodes.all[place].freeze().expect("freeze");
        }
        sales_go_on(&nodes, 50, "the one that is left plays").await;
        for &place in stopped {
            nodes.nodes.all[place].thaw().expect("thaw");
        }
        sales_go_on(&nodes, 50, "one that was woken does no harm").await;
    }
    nodes.nodes.all[0].kill().await.expect("kill");
    nodes.nodes.all[1].kill().await.expect("kill");
    // Further than a node came that was killed before it noted that: what counts must not be its sales alone.
    sales_go_on(&nodes, 700, "the last one plays").await;
    assert_each_counted_once(&mut nodes, 2, &database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sale_that_the_database_did_not_make_in_time_is_made_again() {
    let database = database().await;
    let mut nodes = ThreeNodes::start(DEMO, &database, None).await;
    // The node that is started below has 300 ms for each product, too little for an import on a busy machine.
    sales_go_on(&nodes, 1, "the catalogue is imported").await;
    for node in &mut nodes.nodes.all {
        node.kill().await.expect("kill");
    }
    let file = nodes.folder().join("freshet.toml");
    let config = fs::read_to_string(&file).expect("read");
    fs::write(&file, config.replace("deadline = \"20s\"", "deadline = \"300ms\"")).expect("write");
    nodes.nodes.all[0].start().expect("start");
    sales_go_on(&nodes, 50, "it plays").await;
    let mut holder = database.connect().await;
    holder.execute("BEGIN; LOCK TABLE products IN SHARE ROW EXCLUSIVE MODE").await.expect("lock");
    let log = nodes.nodes.all[0].log().to_owned();
    until("sales fail", async || fs::read_to_string(&log).expect("the log").contains("sales failed")).await;
    holder.execute("ROLLBACK").await.expect("unlock");
    sales_go_on(&nodes, 50, "it plays on").await;
    assert_each_counted_once(&mut nodes, 0, &database).await;
}

/// Drains the node that plays, and compares the stock of every product with the sales up to the line that it noted.
async fn assert_each_counted_once(nodes: &mut ThreeNodes, player: usize, database: &TestDatabase) {
    within("it drains", nodes.nodes.all[player].drain()).await.expect("drain");
    let (line, is_held) = noted(nodes);
    assert!(!is_held, "the lease is given back");
    let (expected, found) = (expected(line), stocks(database).await);
    let wrong = expected.iter().map(|(sku, stock)| (sku, stock, found.get(sku)));
    let wrong: Vec<_> = wrong.filter(|(_, stock, found)| *found != Some(*stock)).collect();
    let log = fs::read_to_string(nodes.nodes.all[player].log()).expect("the log");
    assert!(wrong.is_empty(), "after line {line}, {} are wrong, {:?} among them\n{log}", wrong.len(), wrong[0]);
}
