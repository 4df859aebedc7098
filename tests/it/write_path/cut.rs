//! A connection that is lost before, in or after a commit: what was answered is true.

use std::{collections::HashMap, time::Duration};

use freshet::{service::Error, store};
use futures_util::future::join_all;
use tokio::time::timeout;

use super::{patch, sharded};
use crate::harness::{Link, Node, Proxy, node::config, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_answered_while_connections_were_cut_is_what_stands() {
    let database = sharded(64).await;
    database
        .run("INSERT INTO products (sku, name, price) SELECT 'k' || n, 'made', 1 FROM generate_series(0, 199) n")
        .await;
    let proxy = Proxy::to(&database.url()).await;
    let node = Node::over(&proxy.url(), config()).await;
    let mut unknown = 0;
    for round in 1..=24_i64 {
        let cut =
            [Link::Cut, Link::CutAtCommit { heard: false }, Link::CutAtCommit { heard: true }][round as usize % 3];
        let before = prices(&database).await;
        let service = node.service().clone();
        let writing = tokio::spawn(async move {
            let text = format!(r#"{{"price": {}}}"#, 1_000 + round);
            join_all((0..200).map(|n| {
                let (service, text) = (service.clone(), text.clone());
                async move { patch(&service, &format!("k{n}"), &text).await }
            }))
            .await
        });
        let mut writing = writing;
        proxy.set_for("writes", cut);
        // A cut lasts until all is answered, or a while: then what is tried again gets through.
        let cut_short = timeout(Duration::from_millis(50), &mut writing).await;
        proxy.set_for("writes", Link::Pass);
        let written = match cut_short {
            Ok(written) => written,
            Err(_) => writing.await,
        };
        unknown += check(&database, &before, round, written.expect("joins")).await;
    }
    assert!(unknown > 0, "no commit was cut");
    until("writes go on", async || patch(node.service(), "k0", r#"{"price": 5}"#).await.is_ok()).await;
    node.stop().await;
}

async fn prices(database: &crate::harness::TestDatabase) -> HashMap<String, i64> {
    let rows: Vec<(String, i64)> =
        sqlx::query_as("SELECT sku, price FROM products").fetch_all(database.pool()).await.expect("rows");
    rows.into_iter().collect()
}

/// Holds answers against the rows; returns how many outcomes are unknown.
async fn check(
    database: &crate::harness::TestDatabase,
    before: &HashMap<String, i64>,
    round: i64,
    written: Vec<Result<store::Written, Error>>,
) -> usize {
    let after = prices(database).await;
    let mut unknown = 0;
    for (n, written) in written.iter().enumerate() {
        let key = format!("k{n}");
        match written {
            Ok(_) => assert_eq!(after[&key], 1_000 + round, "{key} was answered"),
            Err(Error::Store(store::Error::OutcomeUnknown)) => unknown += 1,
            Err(_) => assert_eq!(after[&key], before[&key], "{key} did not happen"),
        }
    }
    unknown
}
