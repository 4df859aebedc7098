//! Writes share transactions and nothing else: each has its own answer, and a lost commit is not guessed at.

use std::time::{Duration, Instant};

use freshet::{
    service::{Conditions, Error, Service},
    store::{self, Written, postgres},
};
use futures_util::future::join_all;

use crate::harness::{
    Kind, Link, Node, Proxy, database,
    node::{SOON, config},
    until,
};

async fn put(service: &Service, key: &str, price: i64) -> Result<Written, Error> {
    let id = service.record("products", key).expect("a key");
    service.put(id, &format!(r#"{{"name": "own", "price": {price}}}"#), Conditions::default()).await
}

async fn put_all(service: &Service, keys: &[String], price: i64) -> Vec<Result<Written, Error>> {
    join_all(keys.iter().map(|key| put(service, key, price))).await
}

fn keys(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("k{n}")).collect()
}

#[tokio::test]
async fn concurrent_writes_of_many_keys_share_a_few_transactions() {
    let node = Node::start(Kind::Postgres).await;
    put(node.service(), "first", 1).await.expect("a write");
    let written = put_all(node.service(), &keys(512), 1).await;
    assert!(written.iter().all(Result::is_ok));
    // Each outbox row names its transaction.
    let transactions = node.database().value::<i64>("SELECT count(DISTINCT xid) FROM feed.outbox").await;
    assert!(transactions <= 8, "{transactions} transactions for 513 writes");
    node.stop().await;
}

#[tokio::test]
async fn a_bad_write_fails_alone_with_its_own_reason() {
    let node = Node::start(Kind::Postgres).await;
    let keys = keys(200);
    let written = join_all(keys.iter().enumerate().map(|(n, key)| {
        let service = node.service();
        async move { put(service, key, if n % 50 == 7 { -1 } else { 1 }).await }
    }));
    for (n, written) in written.await.into_iter().enumerate() {
        match written {
            Err(Error::Store(store::Error::InvalidValue { constraint, .. })) if n % 50 == 7 => {
                assert_eq!(constraint.as_deref(), Some("products_price_not_negative"));
            }
            other => assert!(other.is_ok() && n % 50 != 7, "{n}: {other:?}"),
        }
    }
    assert_eq!(node.database().value::<i64>("SELECT count(*) FROM products").await, 196);
    node.stop().await;
}

#[tokio::test]
async fn writes_of_one_key_commit_in_the_order_they_came() {
    let node = Node::start(Kind::Postgres).await;
    let written = join_all((0..50).map(|price| put(node.service(), "k", price))).await;
    let stamps: Vec<_> = written.into_iter().map(|written| written.expect("a write").stamp).collect();
    assert!(stamps.is_sorted(), "{stamps:?}");
    assert_eq!(node.database().value::<i64>("SELECT price FROM products").await, 49);
    node.stop().await;
}

#[tokio::test]
async fn a_key_that_is_written_all_the_time_keeps_no_other_out() {
    let node = Node::start(Kind::Postgres).await;
    let hot = tokio::spawn({
        let service = node.service().clone();
        async move { put_all(&service, &vec!["hot".to_owned(); 1_000], 1).await }
    });
    until("the hot key is written", async || node.database().value::<i64>("SELECT count(*) FROM products").await > 0)
        .await;
    let written = put_all(node.service(), &keys(200), 1).await;
    assert!(written.iter().all(Result::is_ok));
    let transactions = "SELECT count(DISTINCT xid) FROM feed.outbox WHERE key <> 'hot'";
    let transactions = node.database().value::<i64>(transactions).await;
    assert!(transactions <= 8, "{transactions} transactions for 200 writes beside a hot key");
    assert!(hot.await.expect("joins").iter().all(Result::is_ok));
    node.stop().await;
}

#[tokio::test]
async fn the_oldest_write_of_a_lane_always_goes_in_its_next_group() {
    let mut database = postgres::Config::at("");
    database.write_lanes = 1;
    let node = Node::with_database(database, config()).await;
    // More than a group holds, and all there before the first is formed.
    let written = put_all(node.service(), &keys(2_048), 1).await;
    assert!(written.iter().all(Result::is_ok));
    // Keys are numbered in the order of their writes.
    let oldest = "SELECT array_agg(oldest ORDER BY xid) FROM
                      (SELECT xid, min(substr(key, 2)::bigint) oldest FROM feed.outbox GROUP BY xid) groups";
    let oldest = node.database().value::<Vec<i64>>(oldest).await;
    assert!(oldest.len() >= 4 && oldest.is_sorted(), "the oldest of each group: {oldest:?}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_beyond_the_queue_are_refused_and_those_in_it_are_made() {
    const WRITES: usize = 20_000;
    const QUEUE: usize = 8_192;
    /// What groups have taken out of the queue at the most.
    const GROUPS: usize = 8_192;
    let database = database().await;
    let proxy = Proxy::to(&database.url()).await;
    let node = Node::over(&proxy.url(), config()).await;
    put(node.service(), "first", 1).await.expect("a write");
    proxy.set_for("writes", Link::BlackHole);
    let writing = tokio::spawn({
        let service = node.service().clone();
        async move { put_all(&service, &keys(WRITES), 1).await }
    });
    let failed = || node.metrics().where_label("freshet_service_writes_total", "outcome", "failed");
    until("some are refused", async || failed() > 0).await;
    proxy.set(Link::Pass);
    let written = writing.await.expect("joins");
    let overloaded = |written: &Result<Written, Error>| matches!(written, Err(Error::Store(store::Error::Overloaded)));
    let refused = written.iter().filter(|written| overloaded(written)).count();
    let made = written.iter().filter(|written| written.is_ok()).count();
    assert_eq!(made + refused, WRITES, "{:?}", written.iter().find(|w| w.is_err() && !overloaded(w)));
    assert!((QUEUE..=QUEUE + GROUPS).contains(&made), "{made} of {WRITES} were made");
    let rows = database.value::<i64>("SELECT count(*) FROM products WHERE sku <> 'first'").await;
    assert_eq!(rows, i64::try_from(made).expect("few"));
    node.stop().await;
}

async fn a_commit_cut_off(heard: bool) {
    let database = database().await;
    let proxy = Proxy::to(&database.url()).await;
    let node = Node::over(&proxy.url(), config()).await;
    put_all(node.service(), &keys(20), 1).await.into_iter().for_each(|written| drop(written.expect("a write")));
    proxy.set_for("writes", Link::CutAtCommit { heard });
    let written = put_all(node.service(), &keys(20), 2).await;
    proxy.set(Link::Pass);
    let unknown = |written: &Result<Written, Error>| matches!(written, Err(Error::Store(store::Error::OutcomeUnknown)));
    assert!(written.iter().all(unknown), "{written:?}");
    let committed = database.value::<i64>("SELECT count(*) FROM products WHERE price = 2").await;
    assert_eq!(committed > 0, heard, "{committed} were committed");
    // What was committed unheard of comes by the feed; nothing of the rest is ever seen.
    until("the node shows what stands", async || {
        let mut right = true;
        for key in keys(20) {
            let id = node.service().record("products", &key).expect("a key");
            let read = node.service().get(&id, &freshet::tiers::ReadOptions::default()).await.expect("read");
            let stands =
                database.value::<i64>(&format!("SELECT freshet_version FROM products WHERE sku = '{key}'")).await;
            right &= read.state.stamp.version == stands.unsigned_abs();
        }
        right
    })
    .await;
    put(node.service(), "k0", 3).await.expect("writes go on");
    node.stop().await;
}

#[tokio::test]
async fn a_commit_that_never_arrived_is_answered_as_unknown() {
    a_commit_cut_off(false).await;
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_answered_as_unknown() {
    a_commit_cut_off(true).await;
}

#[tokio::test]
async fn a_write_into_a_silent_link_ends_by_its_deadline_and_did_not_happen() {
    let database = database().await;
    let proxy = Proxy::to(&database.url()).await;
    let mut config = config();
    config.service.deadline = Duration::from_secs(1);
    let node = Node::over(&proxy.url(), config).await;
    put(node.service(), "a", 1).await.expect("a write");
    proxy.set(Link::BlackHole);
    let begun = Instant::now();
    for written in put_all(node.service(), &keys(300), 2).await {
        let error = written.expect_err("nothing answers");
        assert!(matches!(error, Error::Store(store::Error::Deadline)), "{error}");
    }
    assert!(begun.elapsed() < Duration::from_secs(1) + SOON, "they took {:?}", begun.elapsed());
    proxy.set(Link::Pass);
    until("writes go on", async || put(node.service(), "a", 3).await.is_ok()).await;
    assert_eq!(database.value::<i64>("SELECT count(*) FROM products").await, 1);
    node.stop().await;
}
